"""kill -9 of whoever seals a page of store ``json``, before every single call that reaches the disk."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path

import pytest
from before_pages import NOW, write_as_before
from killed_calls import kill_at, killed_in_a_child

from service.rules.inventory import Event, Outcome, Record, Replay, Sell, decide_all
from service.settings import Settings
from service.stores.json import document
from service.stores.json.document import JsonDocuments

SHOW = Event("show", "Show", 1_000, lab=True)
NEW = Sell("new", "r", "o-new", 1)
MOST_CALLS = 60


@pytest.fixture(autouse=True)
def few_recent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(document, "RECENT", 8)


def opened(data: Path) -> JsonDocuments:
    return JsonDocuments(Settings(data=data))


def buy(store: JsonDocuments, *wanted: Sell) -> list[Outcome]:
    view = store.view("show", wanted, NOW)
    outcomes = decide_all(view, wanted, NOW)
    if view.fresh:
        [position] = store.append([view])
        store.make_durable("show", position)
    return outcomes


def killed(data: Path, number: int) -> bool:
    """Buy in another process, which is killed at that call; whether it came so far."""

    def steps() -> None:
        store = opened(data)
        kill_at(number)
        buy(store, NEW)

    return killed_in_a_child(steps)


@pytest.mark.parametrize("before", ["sealed before", "nothing sealed yet", "a file of the version before"])
def test_whoever_is_killed_while_sealing_has_sold_or_has_not_and_nothing_else_is_lost(
    tmp_path: Path, before: str
) -> None:
    prepared = tmp_path / "prepared"
    if before == "a file of the version before":
        write_as_before(prepared, SHOW, 20)
    else:
        prepared.mkdir()
        store = opened(prepared)
        store.create(SHOW)
        for number in range(16 if before == "sealed before" else 8):
            buy(store, Sell(f"k{number}", "r", f"o-k{number}", 1))
    sold: list[Record] = list(opened(prepared).audit("show")[1])
    came_of_it = set()
    for number in itertools.count():
        assert number < MOST_CALLS
        data = tmp_path / str(number)
        shutil.copytree(prepared, data)
        alive = not killed(data, number)
        found = list(opened(data).audit("show")[1])
        assert found[: len(sold)] == sold
        came_of_it.add(len(found) - len(sold))
        [again] = buy(opened(data), NEW)
        assert isinstance(again, Replay) == (len(found) > len(sold))
        found = list(opened(data).audit("show")[1])
        assert [record.key for record in found[len(sold) :]] == ["new"]
        opened(data).tidy()
        assert list(opened(data).audit("show")[1]) == found
        head, _ = opened(data)._read("show")
        assert head.sealed is not None
        assert len(list((data / "events" / "show.pages").iterdir())) == head.sealed.pages
        if alive:
            break
    assert came_of_it == {0, 1}
    assert number > 8
