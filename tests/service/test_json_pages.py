"""Store ``json`` after many orders: a small head, sealed pages behind it, and files of the version before."""

from __future__ import annotations

import itertools
import json
import os
import resource
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from before_pages import DocumentBefore, write_as_before
from differential import NOW, SECOND, TELLING, Told, batches, by_the_rules, counters, events
from hypothesis import example, given, settings

from service.errors import Problem
from service.rules.inventory import (
    Cancel,
    Command,
    Event,
    Hold,
    Outcome,
    Record,
    Release,
    Sell,
    View,
    decide_all,
)
from service.runtime.files import CommitFailed
from service.settings import Settings
from service.stores.json import document
from service.stores.json.document import JsonDocuments

SHOW = Event("show", "Show", 1_000_000, lab=True)
FEW = 4
"""Records in a head, so that a few purchases make several pages."""

few = pytest.mark.usefixtures("few_recent")


@pytest.fixture
def few_recent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(document, "RECENT", FEW)


@pytest.fixture
def store(tmp_path: Path) -> JsonDocuments:
    made = opened(tmp_path)
    made.create(SHOW)
    return made


def opened(data: Path) -> JsonDocuments:
    """As another process has it."""
    return JsonDocuments(Settings(data=data))


def sell(key: str, **more: object) -> Sell:
    return Sell(key, "r", f"o-{key}", 1, **more)  # type: ignore[arg-type]


def ask(store: JsonDocuments, *commands: Command, event: str = "show", after_s: float = 0) -> Sequence[Outcome]:
    now = NOW + after_s * SECOND
    view = store.view(event, commands, now)
    outcomes = decide_all(view, commands, now)
    if view.fresh:
        write(store, view)
    return outcomes


def write(store: JsonDocuments, view: View) -> None:
    [position] = store.append([view])
    store.make_durable(view.event.event, position)


def fill(store: JsonDocuments, count: int, *, start: int = 0, at_once: int = 1) -> list[str]:
    """Sell so many; returns the keys."""
    keys = [f"k{number:07d}" for number in range(start, start + count)]
    for begin in range(0, count, at_once):
        ask(store, *map(sell, keys[begin : begin + at_once]))
    return keys


def head_of(data: Path) -> Path:
    return data / "events" / "show.json"


def pages_of(data: Path) -> list[Path]:
    return sorted((data / "events" / "show.pages").glob("*"))


def all_files(data: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in (data / "events").rglob("*") if path.is_file()}


# -- what is kept -----------------------------------------------------------------------------------------------------


@few
@settings(deadline=None)
@given(events, batches)
@example(Event("show", "Show", 9, max_per_order=4, max_per_buyer=5), TELLING)
def test_two_processes_that_take_turns_decide_as_the_rules_do_with_everything_in_view(
    tmp_path_factory: pytest.TempPathFactory, event: Event, told: Told
) -> None:
    data = tmp_path_factory.mktemp("turns")
    processes = [opened(data), opened(data)]
    processes[0].create(event)
    found: list[Outcome] = []
    for store, (after_s, commands) in zip(itertools.cycle(processes), told, strict=False):
        found += ask(store, *commands, after_s=after_s)
    outcomes, records, view = by_the_rules(event, told)
    assert found == outcomes
    for store in (*processes, opened(data)):
        assert list(store.audit("show")[1]) == records
        assert counters(store.view("show")) == counters(view)
        store.close()


@few
def test_the_head_is_small_and_all_its_files_are_json_with_a_line_a_record(
    store: JsonDocuments, tmp_path: Path
) -> None:
    fill(store, 3 * FEW + 1)
    head = json.loads(head_of(tmp_path).read_bytes())
    assert (head["version"], head["sealed"]["records"], len(head["recent"])) == (13, 12, 1)
    assert len(pages_of(tmp_path)) == head["sealed"]["pages"] == 3
    for page in pages_of(tmp_path):
        title, *records = map(json.loads, page.read_bytes().splitlines())
        assert (title["event"], title["records"], len(records)) == ("show", FEW, FEW)
    assert len(head_of(tmp_path).read_bytes().splitlines()) == 9 + 1 + 1
    assert store.names() == ["show"]


@few
def test_a_hold_that_outlives_many_pages_is_due_and_can_be_released(store: JsonDocuments, tmp_path: Path) -> None:
    ask(store, Hold("a", "r", "h1", 2, 60.0), Hold("b", "r", "h2", 3, 30.0), Hold("c", "r", "h3", 1, 90.0))
    fill(store, 5 * FEW)
    assert store.next_expiry("show") == NOW + 30 * SECOND
    for each in (store, opened(tmp_path)):
        assert [hold.hold for hold in each.view("show", (), NOW + 60 * SECOND).due] == ["h2", "h1"]
    [released] = ask(opened(tmp_path), Release("d", "r", "h1"), after_s=1)
    assert isinstance(released, Record)
    assert [hold.hold for hold in store.view("show", (), NOW + 60 * SECOND).due] == ["h2"]


@few
def test_what_a_person_wrote_anew_by_hand_is_read_and_is_a_line_a_record_after_the_next_write(
    store: JsonDocuments, tmp_path: Path
) -> None:
    fill(store, 2)
    head_of(tmp_path).write_text(json.dumps(json.loads(head_of(tmp_path).read_bytes()), indent=2))
    fill(store, 1, start=2)
    lines = head_of(tmp_path).read_bytes().splitlines()
    assert [json.loads(line.rstrip(b","))["version"] for line in lines[-4:-1]] == [1, 2, 3]


@few
def test_a_head_that_a_person_put_in_another_order_is_read_by_who_knew_it_before(
    store: JsonDocuments, tmp_path: Path
) -> None:
    fill(store, 2)
    before = list(store.audit("show")[1])
    head = json.loads(head_of(tmp_path).read_bytes())
    third = {**head["recent"][1], "version": 3, "key": "third", "order": "o-third", "tickets": [3]}
    lines = b",\n".join([*head_of(tmp_path).read_bytes().splitlines()[-3:-1], json.dumps(third).encode()])
    lines = lines.replace(b",,", b",")
    front = json.dumps({name: head[name] for name in ("format", "about", "sold", "held", "sealed")})[:-1].encode()
    head_of(tmp_path).write_bytes(
        b'%b,"recent":[\n%b\n],"version":3,"next_ticket":4,"open":[\n]}\n' % (front, lines)
    )  # fmt: skip
    assert [record.key for record in store.audit("show")[1]] == [*(record.key for record in before), "third"]


@few
def test_a_field_that_is_not_known_is_passed_over_and_a_later_format_is_refused(
    store: JsonDocuments, tmp_path: Path
) -> None:
    fill(store, FEW + 1)
    head = json.loads(head_of(tmp_path).read_bytes())
    head_of(tmp_path).write_text(json.dumps({"colour": "red", **head}))
    assert opened(tmp_path).view("show").version == FEW + 1
    later = json.dumps({**head, "format": 4})
    head_of(tmp_path).write_text(later)
    with pytest.raises(Problem, match="format") as refused:
        ask(opened(tmp_path), sell("more"))
    assert refused.value.code == "corrupt_document"
    assert head_of(tmp_path).read_text() == later


# -- what it costs ----------------------------------------------------------------------------------------------------


class Bytes:
    """What this process reads and writes, by the kernel's account of its system calls."""

    def __init__(self) -> None:
        self._before = self._count()

    def since(self) -> int:
        before, self._before = self._before, self._count()
        return self._before - before

    @staticmethod
    def _count() -> int:
        lines = Path("/proc/self/io").read_text().splitlines()
        return sum(int(line.split()[1]) for line in lines if line.startswith(("rchar", "wchar")))


def dearest(store: JsonDocuments, start: int) -> int:
    """The most bytes that one of so many purchases read and wrote that a page is sealed on the way."""
    costs = []
    counted = Bytes()
    for number in range(document.RECENT + 2):
        fill(store, 1, start=start + number)
        costs.append(counted.since())
    return max(costs)


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="counts bytes where Linux shows them")
def test_a_purchase_reads_and_writes_no_more_after_many_orders_than_after_few(
    store: JsonDocuments, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(document, "RECENT", 32)
    fill(store, 1_000, at_once=256)
    dearest(store, 1_000)
    few = dearest(store, 2_000)
    fill(store, 20_000, start=10_000, at_once=256)
    dearest(store, 40_000)
    many = dearest(store, 41_000)
    assert many < 1.1 * few
    assert many < 1_000 * document.RECENT


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="counts bytes where Linux shows them")
def test_a_purchase_that_seals_nothing_for_a_long_time_is_found_out(
    store: JsonDocuments, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The canary of the test before."""
    monkeypatch.setattr(document, "RECENT", 10**9)
    fill(store, 1_000, at_once=256)
    counted = Bytes()
    fill(store, 1, start=1_000)
    few = counted.since()
    fill(store, 20_000, start=10_000, at_once=256)
    counted.since()
    fill(store, 1, start=40_000)
    assert counted.since() > 10 * few


# -- without a guard --------------------------------------------------------------------------------------------------


@few
def test_a_key_of_a_head_that_was_overwritten_is_not_answered_again_and_its_order_is_lost(
    store: JsonDocuments, tmp_path: Path
) -> None:
    """Two writers without a guard: what the one had sold, and sealed, is in nobody's past any more."""
    other = opened(tmp_path)
    fill(store, FEW)
    late = other.view("show", [sell("late")], NOW)
    lost = fill(store, 3 * FEW, start=100)
    wanted = [sell(key) for key in lost]
    assert sorted(store.view("show", wanted, NOW).keys) == lost, "all of them were known"
    decide_all(late, [sell("late")], NOW)
    write(other, late)
    for each in (store, other, opened(tmp_path)):
        view = each.view("show", wanted, NOW, order=f"o-{lost[0]}")
        assert (view.version, view.sold, view.next_ticket) == (FEW + 1, FEW + 1, FEW + 2)
        assert (view.keys, view.orders) == ({}, {})
        assert [record.key for record in each.audit("show")[1]] == [
            "k0000000",
            "k0000001",
            "k0000002",
            "k0000003",
            "late",
        ]
    assert ask(store, sell(lost[0]))[0].version == FEW + 2


@few
def test_two_heads_with_different_pages_are_each_whole(store: JsonDocuments, tmp_path: Path) -> None:
    """They replace each other again and again, and each time what is found is of the head that was read."""
    other = opened(tmp_path)
    fill(store, FEW + 1)
    theirs = head_of(tmp_path).read_bytes()
    mine_keys = fill(store, 3 * FEW, start=100)
    mine = head_of(tmp_path).read_bytes()
    head_of(tmp_path).write_bytes(theirs)
    their_keys = fill(other, 2 * FEW, start=200)
    theirs = head_of(tmp_path).read_bytes()
    wanted = [sell(key) for key in (*mine_keys, *their_keys)]
    for content, keys in ((mine, mine_keys), (theirs, their_keys)) * 3:
        head_of(tmp_path).write_bytes(content)
        for each in (store, other):
            assert sorted(each.view("show", wanted, NOW).keys) == keys


@few
def test_pages_that_no_head_leads_to_stay_while_the_office_runs_and_are_gone_after_the_next_start(
    store: JsonDocuments, tmp_path: Path
) -> None:
    late = store.view("show", [sell("late")], NOW)
    fill(store, 3 * FEW)
    decide_all(late, [sell("late")], NOW)
    write(store, late)
    orphans = pages_of(tmp_path)
    assert len(orphans) == 2
    fill(store, 2 * FEW, start=100)
    opened(tmp_path).view("show", [sell("x")], NOW)
    assert set(orphans) < set(pages_of(tmp_path))
    (tmp_path / "events" / "show.pages" / "x.jsonl.0.tmp").write_bytes(b"{")
    before = list(store.audit("show")[1])
    opened(tmp_path).tidy()
    assert set(pages_of(tmp_path)).isdisjoint(orphans)
    assert len(pages_of(tmp_path)) == 2
    assert list(opened(tmp_path).audit("show")[1]) == before


@few
def test_a_start_leaves_every_page_of_an_event_that_cannot_be_read(store: JsonDocuments, tmp_path: Path) -> None:
    fill(store, 3 * FEW)
    damaged, *_ = pages_of(tmp_path)
    damaged.write_bytes(b"")
    before = all_files(tmp_path)
    opened(tmp_path).tidy()
    assert all_files(tmp_path) == before
    head_of(tmp_path).write_bytes(b"{")
    opened(tmp_path).tidy()
    assert set(pages_of(tmp_path)) < set(before)


# -- removed, missing, damaged ----------------------------------------------------------------------------------------


@few
def test_a_removed_event_takes_its_pages_with_it_and_a_new_one_of_its_name_never_meets_old_ones(
    store: JsonDocuments, tmp_path: Path
) -> None:
    keys = fill(store, 3 * FEW)
    left = all_files(tmp_path)
    store.delete("show")
    assert list((tmp_path / "events").iterdir()) == []
    store.create(SHOW)
    # As if whoever removed it had been killed on the way.
    (tmp_path / "events" / "show.pages").mkdir()
    for path, content in left.items():
        if path != head_of(tmp_path):
            path.write_bytes(content)
    for each in (store, opened(tmp_path)):
        view = each.view("show", [sell(key) for key in keys], NOW, order=f"o-{keys[0]}")
        assert (view.version, view.keys, view.orders) == (0, {}, {})
    assert ask(store, sell(keys[0]))[0].version == 1
    store.delete("show")
    (tmp_path / "events" / "show.pages").mkdir()
    opened(tmp_path).tidy()
    assert list((tmp_path / "events").iterdir()) == []


DAMAGES: dict[str, Callable[[Path, Path], object]] = {
    "missing": lambda page, _: page.unlink(),
    "empty": lambda page, _: page.write_bytes(b""),
    "cut": lambda page, _: page.write_bytes(page.read_bytes()[:-20]),
    "a flipped bit": lambda page, _: page.write_bytes(page.read_bytes().replace(b'"quantity":1', b'"quantity":0', 1)),
    "another page": lambda page, other: page.write_bytes(other.read_bytes()),
}


@few
@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("number", range(3))
def test_a_page_that_is_missing_or_damaged_refuses_its_event_and_nothing_is_written(
    store: JsonDocuments, tmp_path: Path, damage: str, number: int
) -> None:
    keys = fill(store, 3 * FEW + 1)
    pages = pages_of(tmp_path)
    DAMAGES[damage](pages[number], pages[number - 1])
    before = all_files(tmp_path)
    fresh = opened(tmp_path)
    calls: list[Callable[[], object]] = [
        lambda: ask(fresh, sell("more")),
        lambda: ask(fresh, Cancel("c", "r", f"o-{keys[0]}")),
        lambda: opened(tmp_path).view("show"),
        lambda: list(fresh.audit("show")[1]),
        lambda: list(store.audit("show")[1]),
    ]
    for call in calls:
        with pytest.raises(Problem, match=f"events/show.pages/{pages[number].name}") as refused:
            call()
        assert refused.value.code == "corrupt_document"
        assert "Nothing was written" in str(refused.value.detail)
    assert all_files(tmp_path) == before


# -- a disk that refuses ----------------------------------------------------------------------------------------------


@contextmanager
def files_no_larger_than(size: int) -> Iterator[None]:
    """As with ``ulimit -f``."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@few
def test_a_page_that_the_disk_refuses_is_a_purchase_refused_and_nothing_is_changed(
    store: JsonDocuments, tmp_path: Path
) -> None:
    """The next head would have room: it is the page that has none."""
    fill(store, FEW)
    before = all_files(tmp_path)
    with files_no_larger_than(500), pytest.raises(Problem) as refused:
        ask(store, sell("more"))
    assert refused.value.code == "storage_refused"
    assert all_files(tmp_path) == before
    with files_no_larger_than(1_000):
        assert ask(store, sell("more"))[0].version == FEW + 1


@few
def test_a_page_whose_name_cannot_be_synced_closes_the_store_before_a_head_leads_to_it(
    store: JsonDocuments, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(store, FEW)
    before = head_of(tmp_path).read_bytes()

    def fail(_: int) -> None:
        raise OSError(5, os.strerror(5))

    view = store.view("show", [sell("more")], NOW)
    decide_all(view, [sell("more")], NOW)
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(CommitFailed):
        store.append([view])
    assert head_of(tmp_path).read_bytes() == before


# -- the version before -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [2, 3_000])
def test_a_file_of_the_version_before_is_read_and_the_next_write_makes_a_head_of_it(tmp_path: Path, count: int) -> None:
    written = write_as_before(tmp_path, SHOW, count)
    content = head_of(tmp_path).read_bytes()
    store = opened(tmp_path)
    store.tidy()
    assert list(store.audit("show")[1]) == written
    view = store.view("show", [sell("k0000000")], NOW + 30 * SECOND, order="o-k0000001")
    assert counters(view) == (count + 4, count - 1, 3, count + 6)
    assert (list(view.keys), view.orders["o-k0000001"].status) == (["k0000000"], "cancelled")
    assert [hold.hold for hold in view.due] == ["h2"]
    assert head_of(tmp_path).read_bytes() == content, "reading upgrades nothing"
    [sold] = ask(store, sell("new"))
    for each in (store, opened(tmp_path)):
        assert list(each.audit("show")[1]) == [*written, sold]
        view = each.view("show", [sell("k0000000"), sell("new")], NOW + 30 * SECOND, order="o-k0000001")
        assert sorted(view.keys) == ["k0000000", "new"]
        assert (view.orders["o-k0000001"].status, [hold.hold for hold in view.due]) == ("cancelled", ["h2"])
    head = json.loads(head_of(tmp_path).read_bytes())
    assert "records" not in head
    assert len(head["recent"]) <= document.RECENT
    assert all(len(page.read_bytes().splitlines()) <= 1_025 for page in pages_of(tmp_path))


def test_a_process_of_the_version_before_refuses_a_head_instead_of_finding_nothing_sold(
    store: JsonDocuments, tmp_path: Path
) -> None:
    (tmp_path / "before").mkdir()
    write_as_before(tmp_path / "before", SHOW, 2)
    assert msgspec.json.decode(head_of(tmp_path / "before").read_bytes(), type=DocumentBefore).sold == 1
    for count in (0, 1):
        fill(store, count)
        with pytest.raises(msgspec.ValidationError, match="records"):
            msgspec.json.decode(head_of(tmp_path).read_bytes(), type=DocumentBefore)


@pytest.mark.parametrize(
    "content", [b"{}", b'{"records":[]}', b'{"about":{"event":"show","name":"S","capacity":1},"sold":0,"records":[{}]}']
)
def test_a_file_that_is_of_neither_version_is_refused(tmp_path: Path, content: bytes) -> None:
    store = opened(tmp_path)
    head_of(tmp_path).write_bytes(content)
    with pytest.raises(Problem) as refused:
        store.view("show")
    assert refused.value.code == "corrupt_document"
