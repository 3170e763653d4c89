"""One client that sets the whole house aside: without a limit nobody else buys, with one everybody does."""

from __future__ import annotations

from pathlib import Path

import pytest
from typed import TOKEN, Typed

from loadtests.lab.studies.hoarding import OTHERS, QUARTER, hoard

pytestmark = pytest.mark.servers


def test_one_client_holds_the_house_without_a_limit_and_a_quarter_of_it_with_one(tmp_path: Path) -> None:
    with Typed("-k gthread --threads 4 service:app", tmp_path / "office", LASTSEAT_STORE="memory") as office:
        url = f"http://127.0.0.1:{office.port}"
        everything = hoard(url, TOKEN, 0)
        assert everything.held == 200
        assert everything.bought == 0
        some = hoard(url, TOKEN, 0, max_held=QUARTER)
        assert some.held == QUARTER
        assert some.bought == OTHERS


def test_a_rate_limit_alone_only_delays_it(tmp_path: Path) -> None:
    with Typed("service:app", tmp_path / "office", LASTSEAT_STORE="memory", LASTSEAT_RATE="0.01:5") as office:
        found = hoard(f"http://127.0.0.1:{office.port}", TOKEN, 0)
        assert found.held == 50
        assert found.bought == OTHERS
