"""The guard's switch in the store's engine: all nodes follow it, and no straggler writes under a guard that is over."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pause import FAR, Pause
from servers import address_of
from typed import wait_for

from service.errors import Problem
from service.rules.inventory import Event, Sell, decide_all, records_of
from service.runtime.epoch import Mode, taking_part
from service.sales.box_office import BoxOffice, Done
from service.sales.transaction_manager import TransactionManager
from service.settings import Settings
from service.stores import STORES, SharesSwitch, open_store, store_class
from service.switch import engine
from service.switch.engine import EngineControl

pytestmark = pytest.mark.servers
ENGINES = [name for name in STORES if issubclass(store_class(name), SharesSwitch)]


Node = Callable[..., BoxOffice]


@pytest.fixture(params=ENGINES)
def node(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Node]:
    """Opens an office on the same engine, each with a directory of its own: another host."""
    opened = []

    def make(name: str = "a", guard: str = "none", *, given: bool = True, **settings: Any) -> BoxOffice:
        address = address_of(request.param, tmp_path)
        (tmp_path / name).mkdir(exist_ok=True)
        wanted = Settings(data=tmp_path / name, store=request.param, store_url=address, **settings)
        store = open_store(wanted)
        assert isinstance(store, SharesSwitch)
        control = EngineControl(store, wanted.data)
        control.start(guard, f"master-{len(opened)}", FAR, given=given)
        opened.append(BoxOffice(wanted, store, control, 1))
        return opened[-1]

    yield make
    for office in opened:
        office.store.close()
        office.control.close()


def buy(office: BoxOffice, key: str) -> Done:
    return office.buy("show", key=key, request="", quantity=1, buyer=None)


def keys(office: BoxOffice) -> list[str]:
    return [record.key for record in office.audit("show")[1]]


SHOW = Event("show", "Show", 10, lab=True)


def test_without_the_look_at_the_epoch_a_straggler_takes_a_seat_that_is_sold(node: Node) -> None:
    """The negative control: it read under guard none, the switch is over, and it writes what it had decided."""
    office = node()
    office.create(SHOW)
    straggler = Sell("straggler", "", "o-straggler", 1)
    view = office.store.view("show", [straggler])
    [late] = records_of(decide_all(view, [straggler], datetime.now(UTC)))
    office.switch("on")
    guarded = buy(office, "guarded")
    assert taking_part.get() is None, "so the store does not look"
    office.store.append([view])
    assert guarded.record.tickets == late.tickets == (1,)


def test_a_straggler_is_decided_again_under_the_new_guard(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    office, pause = node("a"), Pause(monkeypatch)
    office.create(SHOW)
    with ThreadPoolExecutor(1) as pool:
        straggler = pool.submit(buy, office, "straggler")
        assert pause.reached.wait(FAR)
        epoch = office.switch("on").epoch
        guarded = buy(office, "guarded")
        pause.go.set()
        late = straggler.result(FAR)
    assert (guarded.record.tickets, late.record.tickets) == ((1,), (2,))
    assert guarded.times.epoch == late.times.epoch == epoch
    assert keys(office) == ["guarded", "straggler"]


def test_another_node_follows_at_once_whatever_it_remembers(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "REMEMBERED_S", 3_600)
    first, second = node("a"), node("b", given=False)
    first.create(Event("show", "Show", 2, lab=True))
    assert buy(second, "before").times.epoch == second.control.mode().epoch
    epoch = first.switch("on").epoch
    assert second.control.mode().epoch < epoch, "it should remember the older one"
    assert buy(second, "after").times.epoch == epoch
    epoch = first.switch("off").epoch
    with pytest.raises(Problem) as refused:
        buy(second, "one too many")
    assert refused.value.code == "sold_out"
    assert refused.value.extra["times"].epoch == epoch  # type: ignore[attr-defined]


def test_what_was_asked_before_a_switch_is_not_remembered_after_it(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "REMEMBERED_S", 3_600)
    office = node("a")
    office.control.refresh()
    ask = office.store.mode  # type: ignore[attr-defined]
    asked, go = threading.Event(), threading.Event()

    def held_up() -> Mode | None:
        answer: Mode | None = ask()
        if not asked.is_set():
            asked.set()
            assert go.wait(FAR)
        return answer

    monkeypatch.setattr(office.store, "mode", held_up)
    with ThreadPoolExecutor(1) as pool:
        older = pool.submit(office.control.mode)
        assert asked.wait(FAR)
        switched = office.switch("on")
        go.set()
        assert older.result(FAR).epoch < switched.epoch
    assert office.control.mode() == switched
    assert office.control.epoch == switched.epoch


def test_a_node_that_is_given_a_guard_begins_an_epoch_and_one_that_is_not_follows(node: Node) -> None:
    first = node("a", "none")
    assert first.control.mode()[:2] == ("none", 1)
    assert node("b", "optimistic", given=False).control.mode()[:2] == ("none", 1)
    assert node("c", "optimistic").control.mode()[:2] == ("optimistic", 2)
    wait_for(lambda: first.control.mode()[:2] == ("optimistic", 2), "the first node to hear of it")


def test_the_first_node_of_an_engine_without_an_epoch_begins_one_unasked(node: Node) -> None:
    assert node("a", "optimistic", given=False).control.mode() == Mode("optimistic", 1, 0)


def test_a_deleted_event_is_forgotten_by_every_node(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lab event may be sold without a guard; the shop's event of the same name may not."""
    monkeypatch.setattr(engine, "REMEMBERED_S", 3_600)
    first, second = node("a"), node("b", given=False)
    first.create(SHOW)
    assert buy(second, "lab").record.version == 1
    first.delete("show")
    first.create(Event("show", "Show", 10))
    used: list[str] = []
    before = TransactionManager.guard

    def note(transactions: TransactionManager, name: str) -> Any:
        used.append(name)
        return before(transactions, name)

    monkeypatch.setattr(TransactionManager, "guard", note)
    assert buy(second, "shop").record.version == 1
    assert used[-1] == second.store.safe_guard


@pytest.mark.parametrize("node", ["postgres"], indirect=True)
def test_the_switch_waits_for_a_transaction_that_holds_its_lock_and_not_longer_than_its_limit(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    office, impatient, pause = node("a", "row"), node("b", given=False, lock_timeout_s=1.0), Pause(monkeypatch)
    office.create(SHOW)
    with ThreadPoolExecutor(1) as pool:
        holder = pool.submit(buy, office, "holder")
        assert pause.reached.wait(FAR)
        with pytest.raises(Problem) as refused:
            impatient.switch("none")
        assert (refused.value.code, refused.value.kind.definite) == ("switch_timeout", True)
        pause.go.set()
        assert holder.result(FAR).times.epoch == 1
    assert office.switch("none").epoch == 2
