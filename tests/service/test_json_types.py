"""What msgspec has to know of the service's types is there before threads decode into them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from service.stores import STORES

ASK = """
import pathlib, tempfile
from msgspec import _utils
import msgspec
from service.app import create_app
from service.runtime import json_types
from service.settings import Settings
{before}
with tempfile.TemporaryDirectory() as folder:
    create_app(Settings(data=pathlib.Path(folder), store={store!r}, first_event=None))
    worked_out = []
    right = _utils._eval_type
    _utils._eval_type = lambda *given: worked_out.append(given[0]) or right(*given)
    kinds = [each for each in json_types._below(msgspec.Struct) if each.__module__.startswith("service.")]
    assert "NewOrder" in {{each.__name__ for each in kinds}}
    for kind in kinds:
        msgspec.json.Decoder(kind)
    print(len(worked_out))
"""
"""In a process of its own: what is known of a type is kept until the process ends."""


def worked_out_later(store: str, before: str = "") -> int:
    command = [sys.executable, "-c", ASK.format(store=store, before=before)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.parametrize("store", [name for name, traits in STORES.items() if not traits.schemes])
def test_after_an_office_is_made_no_type_is_left_to_be_worked_out(store: str) -> None:
    assert worked_out_later(store) == 0


def test_without_that_the_types_of_requests_are_worked_out_at_the_first_request() -> None:
    """The negative control."""
    assert worked_out_later("json", "import service.sales.opening; service.sales.opening.prepare_types = int") > 0
