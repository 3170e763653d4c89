"""Who fights over holds: judged from what each was told, and with planted bugs, which must be seen.

Two confirmations of one hold at once, a release between them, payments that come when the hold has ended, and a clock
that goes back: every buyer has an answer that an honest clerk could have given, and nobody's order is lost.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from flask import Flask
from hold_crowd import Fight
from servers import address_of, settings_without_engine

from service.app import create_app
from service.guards import fitting, guard_class
from service.rules import inventory
from service.rules.inventory import Confirm, Held, Record, View
from service.settings import Settings, Think
from service.stores import STORES, open_store

ALL = {"sold", "sold late", "cancelled", "held", "confirmed", "released", "expired"}


def office(folder: Path, **settings: Any) -> Flask:
    given: dict[str, Any] = {"data": folder / "data", "first_event": None, "think": Think(0, 1), "lock_timeout_s": 30.0}
    given["store_url"] = address_of(settings.get("store", ""), folder)
    return create_app(Settings(**(given | settings)))


def test_without_a_guard_the_fight_goes_wrong(tmp_path: Path) -> None:
    assert Fight(office(tmp_path, guard="none", allow_unsafe=True), tmp_path).hold().verdict == "invalid"


def _confirmed_again(view: View, command: Confirm, right: Callable[..., Any] = inventory._confirm) -> Any:
    held = view.holds.get(command.hold)
    if held is not None and held.status == "confirmed":
        view.holds[command.hold] = msgspec.structs.replace(held, status="held")
    return right(view, command)


def _sold_under_the_old_numbers(view: View, command: Confirm, held: Held) -> Record:
    return Record(
        view.version + 1, "sold", command.key, command.order, held.quantity, held.tickets,
        view.remaining - held.quantity, command.request, held.buyer, held.hold,
    )  # fmt: skip


BUGS: dict[str, tuple[str, Callable[..., Any]]] = {
    "a hold becomes two orders": ("_confirm", _confirmed_again),
    "a late payment gets the tickets that were held": ("_sell_late", _sold_under_the_old_numbers),
    "holds expire in the wrong order": (
        "expire",
        lambda view, right=inventory.expire: (setattr(view, "due", list(reversed(view.due))), right(view)),
    ),
    "late payments are refused though the places are there": (
        "_sell_late",
        lambda view, command, held: inventory.Refusal("hold_expired", view.version, view.remaining),
    ),
}


@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_judged_invalid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bug: str) -> None:
    name, wrong = BUGS[bug]
    monkeypatch.setattr(inventory, name, wrong)
    verdict = Fight(office(tmp_path, store="memory", guard="thread"), tmp_path).hold()
    assert verdict.verdict == "invalid", verdict


@pytest.mark.slow
@pytest.mark.parametrize("store", list(STORES))
def test_under_every_guard_that_excludes_each_has_an_answer_that_an_honest_clerk_could_have_given(
    tmp_path: Path, store: str
) -> None:
    kinds: set[str] = set()
    for guard in _safe_guards(store, tmp_path):
        folder = tmp_path / guard
        folder.mkdir()
        fight = Fight(office(folder, store=store, guard=guard), folder)
        verdict = fight.hold()
        assert verdict.verdict == "valid", (guard, verdict)
        kinds |= fight.kinds()
    assert kinds == ALL


def _safe_guards(store: str, folder: Path) -> list[str]:
    opened = open_store(settings_without_engine(store, folder))
    return [name for name in fitting(opened) if guard_class(name).safe(opened.scope, 1)]
