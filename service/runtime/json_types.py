"""The preparation of msgspec's types, which must be complete before several threads decode into them.

msgspec 0.22 does so when a type is first used. Where two threads use it first at the same time, one finds the other's
half-finished work, and the process ends with a segmentation fault: a worker of gunicorn's, at its first two requests.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

_prepared: set[type] = set()


def prepare_types() -> None:
    """Prepare every ``Struct`` of the service that is defined by now. To be called before there are threads."""
    for kind in _below(msgspec.Struct):
        if kind not in _prepared and kind.__module__.partition(".")[0] == "service":
            msgspec.json.Decoder(kind)
            _prepared.add(kind)


def _below(kind: Any) -> Iterator[type]:
    for each in kind.__subclasses__():
        yield each
        yield from _below(each)
