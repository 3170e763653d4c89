"""Holds in the journal: known without reading closed segments, checked by ``verify``, and journals from before them."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from disks import no_descriptor_left

from service.commands.journal import journal
from service.errors import Problem
from service.rules.inventory import (
    Cancel,
    Command,
    Confirm,
    Event,
    Hold,
    Outcome,
    Record,
    Refusal,
    Release,
    Sell,
    Sweep,
    decide_all,
)
from service.settings import Settings
from service.stores.journal.ledger import Ledger
from service.stores.journal.lines import FORMAT, SegmentHead, decode, encode
from service.stores.journal.store import Journal

START = datetime(2026, 11, 23, 8, tzinfo=UTC)
GALA = Event("gala", "Gala", 100, lab=True, max_per_buyer=9)


@pytest.fixture(autouse=True)
def short_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.stores.journal.ledger.SEGMENT_RECORDS", 3)


@pytest.fixture
def store(tmp_path: Path) -> Journal:
    made = Journal(Settings(data=tmp_path))
    made.create(GALA)
    return made


def ask(store: Journal, *commands: Command, after_s: float = 0) -> Sequence[Outcome]:
    now = START + timedelta(seconds=after_s)
    view = store.view("gala", commands, now)
    outcomes = decide_all(view, commands, now)
    if view.fresh:
        store.append([view])
    return outcomes


def hold(name: str, seconds: float = 60, quantity: int = 2, buyer: str | None = "ann") -> Hold:
    return Hold(f"k-{name}", "r", name, quantity, seconds, buyer)


def sell_some(store: Journal, name: str, count: int = 7) -> None:
    for number in range(count):
        ask(store, Sell(f"{name}-{number}", "r", f"o-{name}-{number}", 1, f"buyer-{name}-{number}"))


def folder(tmp_path: Path) -> Path:
    return tmp_path / "journal" / "gala"


def segments(tmp_path: Path) -> list[Path]:
    return sorted(folder(tmp_path).glob("*.jsonl"))


def code(outcome: Outcome) -> str:
    return outcome.code if isinstance(outcome, Refusal) else outcome.kind if isinstance(outcome, Record) else "other"


def test_an_open_hold_is_known_though_its_segment_is_closed_and_unread(tmp_path: Path, store: Journal) -> None:
    ask(store, hold("h1", 60))
    sell_some(store, "a")
    assert len(segments(tmp_path)) == 3
    # Not even readable any more: who opens a journal reads the active segment, and its head says what is open.
    segments(tmp_path)[0].write_bytes(b"x" * segments(tmp_path)[0].stat().st_size)
    fresh = Ledger(folder(tmp_path))
    view = fresh.view([], None, START + timedelta(seconds=60))
    assert [(held.hold, held.tickets, held.buyer) for held in view.due] == [("h1", (1, 2), "ann")]
    assert (view.held, fresh.next_expiry()) == (2, START + timedelta(seconds=60))


def test_a_hold_from_a_closed_segment_is_confirmed_released_or_expires(store: Journal) -> None:
    for name in ("h1", "h2", "h3"):
        ask(store, hold(name, 60, 1))
    sell_some(store, "a")
    [confirmed] = ask(store, Confirm("c", "r", "h1", "o1"))
    assert isinstance(confirmed, Record)
    assert confirmed.tickets == (1,)
    assert code(ask(store, Release("r", "r", "h2"))[0]) == "released"
    assert code(ask(store, Cancel("n", "r", "none"), after_s=60)[0]) == "unknown_order"
    assert store.view("gala").held == 0
    assert store.next_expiry("gala") is None


def test_what_became_of_a_hold_is_found_through_the_index(tmp_path: Path, store: Journal) -> None:
    for name in ("h1", "h2", "h3", "h4"):
        ask(store, hold(name, 60, 1))
    ask(store, Confirm("c1", "r", "h1", "o1"), Release("r2", "r", "h2"))
    ask(store, Confirm("c3", "r", "h3", "o3"), after_s=60)
    sell_some(store, "a")
    for opened in (store, Journal(Settings(data=tmp_path))):
        view = opened.view("gala", [Release("x", "r", name) for name in ("h1", "h2", "h3", "h4")])
        assert {name: held.status for name, held in view.holds.items()} == {
            "h1": "confirmed", "h2": "released", "h3": "sold", "h4": "expired",
        }  # fmt: skip
        assert view.bought["ann"] == 2
    [late] = ask(store, Confirm("c4", "r", "h4", "o4"))
    assert (code(late), store.view("gala", [Cancel("y", "r", "o4")]).orders["o4"].status) == ("sold", "sold")


def test_the_head_of_the_next_segment_has_all_open_holds_in_the_order_of_their_ends(
    tmp_path: Path, store: Journal
) -> None:
    ask(store, hold("late", 90, 1), hold("early", 30, 1), hold("gone", 10, 1))
    ask(store, Release("r", "r", "gone"))
    sell_some(store, "a", 3)
    heads = [decode(path.read_bytes().splitlines(keepends=True)[0]) for path in segments(tmp_path)]
    assert [[held.hold for held in head.open] for head in heads if isinstance(head, SegmentHead)] == [
        [], ["gone", "early", "late"], ["early", "late"],
    ]  # fmt: skip


def test_a_conflict_or_a_crash_before_the_append_leaves_what_was_due_due(store: Journal) -> None:
    ask(store, hold("h1", 60))
    now = START + timedelta(seconds=60)
    for _ in range(2):
        view = store.view("gala", (), now)
        decide_all(view, [Sweep()], now)
        assert [record.kind for record in view.fresh] == ["expired"]
    ask(store, Sweep(), after_s=60)
    assert store.view("gala", (), now).due == ()


def test_thousands_of_open_holds_cost_a_purchase_nothing(store: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks whether any is due looks at one of them."""
    monkeypatch.setattr("service.stores.journal.ledger.SEGMENT_RECORDS", 16_384)
    store.create(Event("hall", "Hall", 10_000, lab=True))
    view = store.view("hall", (), START)
    decide_all(view, [Hold(f"k{n}", "r", f"h{n}", 1, 60 + n) for n in range(5_000)], START)
    store.append([view])
    looked: list[str] = []

    class Known(dict):  # type: ignore[type-arg]
        def __getitem__(self, name: str) -> object:
            looked.append(name)
            return super().__getitem__(name)

    holds = store._ledger("hall")._holds
    holds._known = Known(holds._known)
    assert store.view("hall", [Sell("a", "r", "o", 1)], START).due == ()
    assert len(looked) <= 1
    assert [held.hold for held in store.view("hall", (), START + timedelta(seconds=61)).due] == ["h0", "h1"]


# -- verify and repair ------------------------------------------------------------------------------------------------


def run(tmp_path: Path, *arguments: str) -> Result:
    return CliRunner().invoke(journal, [*arguments, "--data", str(tmp_path)], standalone_mode=False)


def test_a_journal_with_every_kind_of_record_is_whole_and_shown(tmp_path: Path, store: Journal) -> None:
    ask(store, hold("h1"), hold("h2"), hold("h3"), hold("h4", 600))
    ask(store, Confirm("c", "r", "h1", "o1"), Release("r", "r", "h2"), Cancel("x", "r", "o1"))
    ask(store, Confirm("l", "r", "h3", "o3"), after_s=60)
    sell_some(store, "a")
    ran = run(tmp_path, "verify")
    assert ran.return_value == 0, ran.output
    assert "9 of 100 sold, 2 held" in ran.output
    shown = run(tmp_path, "show", "gala").output
    for kind in ("held", "confirmed", "released", "cancelled", "expired", "sold"):
        assert f'"kind":"{kind}"' in shown


def test_a_head_that_forgets_an_open_hold_is_damage(tmp_path: Path, store: Journal) -> None:
    ask(store, hold("h1", 600))
    sell_some(store, "a", 3)
    path = segments(tmp_path)[1]
    head, *rest = path.read_bytes().splitlines(keepends=True)
    meaning = decode(head)
    assert isinstance(meaning, SegmentHead)
    path.write_bytes(encode(SegmentHead(meaning.journal, meaning.id, GALA, 2, meaning.before)) + b"".join(rest))
    ran = run(tmp_path, "verify")
    assert ran.return_value == 1
    assert "it says other holds are open than stood before" in ran.output


def test_a_repaired_journal_whose_hold_is_lost_opens_and_knows_it_no_more(tmp_path: Path, store: Journal) -> None:
    ask(store, hold("h1"))
    ask(store, Confirm("c", "r", "h1", "o1"))
    path = segments(tmp_path)[0]
    head, held, confirmed = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(head + held.replace(b"h1", b"h2", 1) + confirmed)
    assert run(tmp_path, "verify").return_value == 1
    assert run(tmp_path, "repair", "gala", "--yes").return_value == 0
    opened = Journal(Settings(data=tmp_path))
    assert opened.view("gala", [Release("r", "r", "h1")]).holds == {}
    assert code(ask(opened, Confirm("d", "r", "h1", "o2"))[0]) == "unknown_hold"


# -- a journal of format 1 --------------------------------------------------------------------------------------------

OLD = (
    b'{"journal":1,"id":"c2fe0ce95a68684b","about":{"event":"gala","name":"Gala","capacity":100,"lab":true},'
    b'"segment":1,"before":{"count":0,"version":0,"highest":0,"sold":0,"next_ticket":1},"crc":"%08x"}\n'
)


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A data directory as the version without holds left it."""
    import zlib

    shutil.rmtree(tmp_path / "journal", ignore_errors=True)
    folder(tmp_path).mkdir(parents=True)
    text = OLD[: OLD.index(b',"crc"')]
    sold = (
        b'{"version":1,"kind":"sold","key":"a","order":"oa","quantity":2,"tickets":[1,2],"remaining":98,"request":"r"'
    )
    lines = [b'%b,"crc":"%08x"}\n' % (line, zlib.crc32(line)) for line in (text, sold)]
    (folder(tmp_path) / "00000001.jsonl").write_bytes(b"".join(lines))
    return tmp_path


def test_a_journal_from_before_holds_is_read_and_goes_on_in_a_segment_of_the_new_format(old: Path) -> None:
    store = Journal(Settings(data=old))
    assert (store.view("gala").sold, len(segments(old))) == (2, 1)
    before = segments(old)[0].read_bytes()
    assert code(ask(store, hold("h1"))[0]) == "held"
    assert len(segments(old)) == 2
    # What stood there stands there; behind it came the seal alone.
    assert segments(old)[0].read_bytes() == before + segments(old)[0].read_bytes()[len(before) :]
    assert segments(old)[0].read_bytes()[len(before) :].startswith(b'{"sealed":1')
    head = decode(segments(old)[1].read_bytes().splitlines(keepends=True)[0])
    assert isinstance(head, SegmentHead)
    assert (head.journal, head.before.sold, head.before.held, head.open) == (FORMAT, 2, 0, ())
    assert run(old, "verify").return_value == 0
    again = Journal(Settings(data=old))
    assert [record.kind for record in again.audit("gala")[1]] == ["sold", "held"]
    assert again.view("gala", [Sell("a", "r", "x", 2)]).keys["a"].order == "oa"


def test_an_empty_journal_from_before_holds_goes_on_too(old: Path) -> None:
    path = segments(old)[0]
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])
    store = Journal(Settings(data=old))
    assert code(ask(store, hold("h1"))[0]) == "held"
    assert [record.version for record in Journal(Settings(data=old)).audit("gala")[1]] == [1]


def test_a_round_over_idle_events_opens_none_of_them_and_misses_no_hold_that_another_process_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.stores.journal.store.MOST_OPEN", 2)
    data = tmp_path / "many"
    data.mkdir()
    here, elsewhere = Journal(Settings(data=data)), Journal(Settings(data=data))
    names = [f"e{number}" for number in range(6)]
    for name in names:
        here.create(Event(name, name, 10))
    assert [here.next_expiry(name) for name in names] == [None] * 6
    with no_descriptor_left():
        assert [here.next_expiry(name) for name in names] == [None] * 6
    view = elsewhere.view("e0", [], START)
    decide_all(view, [hold("h1", 60)], START)
    elsewhere.append([view])
    assert [here.next_expiry(name) for name in names] == [START + timedelta(seconds=60), *[None] * 5]
    view = elsewhere.view("e0", [Release("k", "r", "h1")], START)
    decide_all(view, [Release("k", "r", "h1")], START)
    elsewhere.append([view])
    assert here.next_expiry("e0") is None
    here.delete("e0")
    with pytest.raises(Problem):
        elsewhere.next_expiry("e0")
