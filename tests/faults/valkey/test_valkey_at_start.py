"""What a Valkey has to be before an office sells from it, and what is said of one that is not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from valkey_offices import PASSWORD, beside, buy, open_store

from loadtests.lab.engines import NoEngine, set_up
from loadtests.lab.valkey_server import ValkeyServer
from service.errors import RefusedToStart
from service.stores.redis import Redis
from service.stores.redis_engine import Engine

pytestmark = pytest.mark.servers


def test_an_engine_that_is_not_there_is_refused_at_start_with_its_place(
    open_office: Callable[..., FlaskClient], tmp_path: Path
) -> None:
    with pytest.raises(RefusedToStart, match=r"nowhere.*Nothing was written.*name an engine that runs"):
        open_office(f"unix://{tmp_path}/nowhere?password={PASSWORD}")


def test_an_engine_without_an_office_is_refused_with_the_command_that_makes_one(
    open_office: Callable[..., FlaskClient], server: ValkeyServer
) -> None:
    with pytest.raises(RefusedToStart, match="lastseat store init"):
        open_office(server.url)
    assert beside(server).dbsize() == 0


def test_an_office_of_another_format_is_refused_and_left_as_it_is(
    open_office: Callable[..., FlaskClient], server: ValkeyServer, url: str
) -> None:
    beside(server).hset("{fresh-1}:office", "format", "2")
    for call in (lambda: open_office(url), lambda: open_store(url, Path()).set_up()):
        with pytest.raises(RefusedToStart, match="has format 2, and this service reads 1"):
            call()


def test_setting_up_twice_changes_nothing_and_says_so(server: ValkeyServer, url: str) -> None:
    before = beside(server).hgetall("{fresh-1}:office")
    assert "nothing was changed" in set_up(url)
    assert beside(server).hgetall("{fresh-1}:office") == before


@pytest.mark.parametrize("given", ["", ":wrong@", f":{PASSWORD}x@", f"nobody:{PASSWORD}@"])
def test_a_wrong_password_is_refused_at_start_and_never_shown(
    open_office: Callable[..., FlaskClient], tmp_path: Path, given: str
) -> None:
    with ValkeyServer(tmp_path / "valkey", ["requirepass", PASSWORD]) as server:
        right = f"unix://:{PASSWORD}@{server.socket}"
        set_up(right)
        assert buy(open_office(right)).status_code == 201
        with pytest.raises(RefusedToStart, match="password") as refused:
            open_office(f"unix://{given}{server.socket}")
        assert PASSWORD not in str(refused.value)
        assert "wrong" not in str(refused.value)
        with pytest.raises(NoEngine, match="password"):
            set_up(f"unix://{given}{server.socket}")


@pytest.mark.parametrize(
    "bad", ["redis://h:port/0", "redis://h/0?nonsense=1", "unix:///x?prefix=a:b", "redis://h/0?db=x"]
)
def test_an_address_that_cannot_be_meant_is_refused_without_what_it_says(bad: str) -> None:
    with pytest.raises(RefusedToStart, match="LASTSEAT_STORE") as refused:
        Engine(bad.replace("//", f"//u:{PASSWORD}@", 1), 1, 1.0)
    assert PASSWORD not in str(refused.value)


def test_an_engine_that_throws_sales_away_when_it_is_full_is_refused(
    open_office: Callable[..., FlaskClient], server: ValkeyServer, url: str
) -> None:
    beside(server).config_set("maxmemory", "100mb")
    beside(server).config_set("maxmemory-policy", "allkeys-lru")
    with pytest.raises(RefusedToStart, match="CONFIG SET maxmemory-policy noeviction"):
        open_office(url)


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("appendonly no", "all sales since its last snapshot"),
        ("appendfsync everysec", "the last second of sales"),
        ("appendfsync no", "some seconds of sales"),
        ("no-appendfsync-on-rewrite yes", "while it rewrites"),
        ("maxmemory-policy volatile-ttl", "leases away early"),
    ],
)
def test_an_engine_that_may_lose_what_it_acknowledged_is_named_in_a_warning(
    store: Redis, server: ValkeyServer, caplog: pytest.LogCaptureFixture, setting: str, says: str
) -> None:
    store.check()
    assert not caplog.records
    beside(server).config_set(*setting.split())
    store.check()
    assert says in caplog.text
