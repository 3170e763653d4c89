"""What the tests of a Valkey that fails share: an office's buyers, and somebody else at the engine."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import redis
from flask.testing import FlaskClient
from typed import as_admin

from loadtests.lab.servers.valkey import ValkeyServer
from service.rules.inventory import Sell, View, decide_all
from service.settings import Settings
from service.stores.redis.store import Redis

FAR = 90.0
SHORT_S = 1.0
PASSWORD = "s3cret-w0rd"
GUARDS = ["none", "thread", "optimistic", "atomic", "lease", "fenced"]
WRITERS = [guard for guard in GUARDS if guard not in {"none", "thread"}]


def open_store(url: str, data: Path, **settings: Any) -> Redis:
    return Redis(Settings(data=data, store="redis", store_url=url, **settings))


def beside(server: ValkeyServer) -> redis.Redis:
    """Somebody else at the engine."""
    return redis.Redis.from_url(server.url)


def buy(client: FlaskClient, key: str = "", event: str = "show") -> Any:
    headers = {"Idempotency-Key": key} if key else {}
    return client.post(f"/events/{event}/orders", json={"quantity": 1}, headers=headers)


def told(answer: Any) -> tuple[int, str, bool]:
    return answer.status_code, answer.json["code"], answer.json["definite"]


def keys(client: FlaskClient) -> list[str]:
    """The keys in the audit, in order."""
    answer = client.get("/events/show/audit", headers=as_admin(client))
    assert answer.status_code == 200, answer.json
    return [line["key"] for line in map(json.loads, answer.data.splitlines()[1:])]


def sell(store: Redis, key: str, quantity: int = 1) -> list[View]:
    """A view with what was decided on it; to be written."""
    command = Sell(key, "r", f"o-{key}", quantity)
    view = store.view("show", [command])
    decide_all(view, [command], datetime.now(UTC))
    return [view]
