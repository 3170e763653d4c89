"""A private Valkey for each test, to be killed, and an office over HTTP that sells from it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from servers import set_up
from valkey_offices import open_store

from loadtests.lab.servers.valkey import ValkeyServer
from service.rules.inventory import Event
from service.stores.redis.store import Redis


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ValkeyServer]:
    with ValkeyServer(tmp_path / "valkey") as running:
        yield running


@pytest.fixture
def url(server: ValkeyServer) -> str:
    made = server.fresh_database()
    set_up(made)
    return made


@pytest.fixture
def open_office(make_client: Callable[..., FlaskClient]) -> Callable[..., FlaskClient]:
    return lambda url, **settings: make_client(
        store="redis", store_url=url, **({"lock_timeout_s": 5.0, "lease_ms": 300} | settings)
    )


@pytest.fixture
def store(url: str, tmp_path: Path) -> Iterator[Redis]:
    opened = open_store(url, tmp_path)
    opened.create(Event("show", "Show", 10, lab=True))
    yield opened
    opened.close()
