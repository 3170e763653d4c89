"""Carts under every guard over every store that sells them: whole or not at all, whoever else buys.

The negative controls come first: without a guard carts are lost, and an office that sells half of one is found out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from cart_crowd import CAPACITY, EVENTS, Ask, CartCrowd
from typed import ADMIN, Typed, send

from loadtests.lab.checks.verdict import Verdict
from loadtests.lab.protocol.adapter import Request
from service.app import create_app
from service.rules.inventory import Event, View
from service.settings import Settings, Think
from service.stores.journal.store import Journal
from service.stores.json.document import JsonDocuments
from service.stores.sqlite.store import Sqlite

SAFE = [
    ("json", "file"), ("json", "thread"), ("journal", "file"), ("journal", "thread"), ("journal", "optimistic"),
    ("sqlite", "immediate"), ("sqlite", "optimistic"), ("sqlite", "atomic"),
]  # fmt: skip
SERVED = [
    ("journal", "file", "-w 3"), ("journal", "file", "-k gevent -w 2"),
    ("journal", "optimistic", "-k gthread --threads 4 -w 2"), ("journal", "optimistic", "-k gevent -w 2"),
    ("json", "file", "-w 3"), ("json", "file", "-k gthread --threads 4 -w 2"), ("json", "file", "-k gevent -w 2"),
    ("sqlite", "immediate", "-k gthread --threads 4 -w 2"), ("sqlite", "optimistic", "-k gevent -w 2"),
    ("sqlite", "atomic", "-w 3"),
]  # fmt: skip


def in_this_process(folder: Path, **settings: Any) -> Ask:
    given = {"data": folder / "data", "first_event": None, "lock_timeout_s": 30.0, "admin_token": "t"}
    app = create_app(Settings(**(given | settings)))
    for event in EVENTS:
        app.extensions["office"].create(Event(event, event, CAPACITY, lab=True))

    def ask(request: Request) -> tuple[int, bytes, Mapping[str, str]]:
        headers = {**request.headers, "Authorization": "Bearer t"}
        answer = app.test_client().open(request.path, method=request.method, headers=headers, data=request.body or b"")
        return answer.status_code, answer.data, answer.headers

    return ask


def violations(verdict: Verdict) -> set[str]:
    return {violation for check in verdict.checks for violation in check.violations}


@pytest.mark.parametrize("store", ["json", "journal", "sqlite"])
def test_without_a_guard_carts_are_lost(tmp_path: Path, store: str) -> None:
    ask = in_this_process(tmp_path, store=store, guard="none", allow_unsafe=True, think=Think(1, 3))
    verdict = CartCrowd(ask, tmp_path).fight()
    assert verdict.verdict == "invalid"
    assert violations(verdict) & {"lost sale", "double-booked", "torn audit"}


def _half(right: Any) -> Any:
    """An office that forgets the last event of a cart, and tells its buyer that he has it."""

    def append(self: Any, views: Sequence[View]) -> Sequence[object]:
        if len(views) == 1:
            return right(self, views)  # type: ignore[no-any-return]
        return [*right(self, views[:-1]), None if isinstance(self, Sqlite) else views[-1].source]

    return append


@pytest.mark.parametrize("store", [JsonDocuments, Journal, Sqlite])
def test_half_a_cart_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: Any) -> None:
    ask = in_this_process(tmp_path, store=store.name)
    monkeypatch.setattr(store, "append", _half(store.append))
    verdict = CartCrowd(ask, tmp_path, buyers=2, turns=6).fight()
    assert verdict.verdict == "invalid"
    assert "half a cart" in violations(verdict)


@pytest.mark.slow
@pytest.mark.parametrize(("store", "guard"), SAFE)
def test_under_a_guard_every_cart_is_whole(tmp_path: Path, store: str, guard: str) -> None:
    crowd = CartCrowd(in_this_process(tmp_path, store=store, guard=guard, think=Think(0, 1)), tmp_path)
    verdict = crowd.fight()
    assert verdict.verdict == "valid", verdict.why
    assert {"", "sold_out"} <= set(crowd.codes)


@pytest.mark.servers
@pytest.mark.parametrize(("store", "guard", "worker"), SERVED)
def test_under_gunicorn_every_cart_is_whole(tmp_path: Path, store: str, guard: str, worker: str) -> None:
    with Typed(
        f"{worker} service:app", tmp_path / "office", LASTSEAT_STORE=store, LASTSEAT_GUARD=guard, LASTSEAT_EVENT="",
        LASTSEAT_LOCK_TIMEOUT_S="20",
    ) as server:  # fmt: skip
        for event in EVENTS:
            made = {"event": event, "capacity": CAPACITY, "lab": True}
            assert server.call("POST", "/events", made).status == 201

        def ask(request: Request) -> tuple[int, bytes, Mapping[str, str]]:
            headers = {**request.headers, **ADMIN}
            answer = send(server.port, request.method, request.path, request.body, headers, timeout_s=30)
            return answer.status, answer.content, answer.headers

        crowd = CartCrowd(ask, tmp_path)
        verdict = crowd.fight()
        assert verdict.verdict == "valid", verdict.why
        assert {"", "sold_out"} <= set(crowd.codes)
        assert "Traceback" not in server.said
