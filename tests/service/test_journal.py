"""The journal: segments, indexes, torn tails, damage, the durable mark, and two processes that share one."""

from __future__ import annotations

import logging
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.errors import Problem
from service.rules.inventory import Cancel, Command, Event, Record, Sell, View, decide_all, records_of, replay
from service.settings import Settings
from service.stores.base import Conflict
from service.stores.journal import store as journal
from service.stores.journal.index import open_indexes
from service.stores.journal.ledger import Ledger
from service.stores.journal.lines import FORMAT, Counters, Damaged, SegmentHead, decode, encode
from service.stores.journal.mark import DurableMark
from service.stores.journal.segments import begin_segment, segment_numbers

NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)
SHOW = Event("show", "Show", 10_000, lab=True, max_per_buyer=9_999)
SMALL = 4
"""Records in a segment, so that a few purchases make several."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    begin_segment(tmp_path, SegmentHead(FORMAT, "id-1", SHOW, 1, Counters()))
    return tmp_path


def sell(key: str, quantity: int = 1, buyer: str = "ann") -> Sell:
    return Sell(key, "r", f"o-{key}", quantity, buyer)


def commit(ledger: Ledger, *commands: Command) -> list[Record]:
    view = ledger.view(commands, None)
    records = records_of(decide_all(view, commands, NOW))
    if records:
        ledger.sync(ledger.append(records, halfway=None))
    return records


def all_records(ledger: Ledger) -> list[Record]:
    return list(ledger.records(ledger.audit()[1]))


def fill(ledger: Ledger, count: int, start: int = 0) -> list[Record]:
    return [record for number in range(start, start + count) for record in commit(ledger, sell(f"k{number}"))]


def test_a_line_is_json_with_its_own_checksum_and_any_flipped_bit_is_noticed() -> None:
    line = encode(commitable())
    assert line.startswith(b'{"version":1,"kind":"sold"')
    assert decode(line) == commitable()
    for at in range(len(line)):
        flipped = bytearray(line)
        flipped[at] ^= 1
        with pytest.raises(Damaged):
            decode(bytes(flipped))


def commitable() -> Record:
    [record] = records_of(decide_all(View(SHOW), [sell("a")], NOW))
    return record


def test_segments_follow_each_other_and_everything_is_found_in_all_of_them(folder: Path) -> None:
    ledger = Ledger(folder, SMALL)
    written = fill(ledger, 30)
    assert len(segment_numbers(folder)) == 8
    assert all_records(ledger) == written
    for opened in (ledger, Ledger(folder, SMALL)):
        view = opened.view([sell("k0"), sell("k17"), sell("k29"), sell("new")], "o-k5")
        assert (view.version, view.sold, view.next_ticket) == (30, 30, 31)
        assert [view.keys[key] for key in ("k0", "k17", "k29")] == [written[0], written[17], written[29]]
        assert "new" not in view.keys
        assert view.orders["o-k5"].tickets == (6,)
        assert view.bought["ann"] == 30


def test_an_order_of_an_old_segment_is_cancelled_once(folder: Path) -> None:
    ledger = Ledger(folder, SMALL)
    fill(ledger, 10)
    [cancelled] = commit(ledger, Cancel("c", "r", "o-k1"))
    assert (cancelled.kind, cancelled.tickets) == ("cancelled", (2,))
    fill(ledger, 10, start=10)
    assert commit(ledger, Cancel("d", "r", "o-k1")) == []
    assert Ledger(folder, SMALL).view([], "o-k1").orders["o-k1"].status == "cancelled"


def test_two_processes_see_what_the_other_appended_over_segments_too(folder: Path) -> None:
    one, other = Ledger(folder, SMALL), Ledger(folder, SMALL)
    for number in range(20):
        [record] = commit((one, other)[number % 2], sell(f"k{number}"))
        assert record.version == number + 1
    assert all_records(one) == all_records(other)


def test_indexes_are_merged_so_that_there_are_few_and_rebuilt_where_they_are_missing(folder: Path) -> None:
    ledger = Ledger(folder, SMALL)
    fill(ledger, 70)
    assert len(open_indexes(folder)) <= 4
    for index in folder.glob("index-*"):
        index.unlink()
    view = Ledger(folder, SMALL).view([sell("k3")], "o-k40")
    assert view.keys["k3"].tickets == (4,)
    assert view.orders["o-k40"].tickets == (41,)


def test_a_damaged_index_is_built_again(folder: Path) -> None:
    ledger = Ledger(folder, SMALL)
    fill(ledger, 20)
    for index in folder.glob("index-*"):
        index.write_bytes(b"nonsense")
    assert Ledger(folder, SMALL).view([sell("k3")], None).keys["k3"].tickets == (4,)


@pytest.mark.parametrize("torn", [b'{"version":4', b"\0" * 40, b'{"version":4,"kind":\0\0\0,"crc":"00000000"}\n'])
def test_a_torn_tail_is_ignored_by_readers_and_cut_kept_and_reported_by_the_next_writer(
    folder: Path, torn: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    written = fill(Ledger(folder), 3)
    segment = folder / "00000001.jsonl"
    end = segment.stat().st_size
    with segment.open("ab") as file:
        file.write(torn)
    ledger = Ledger(folder)
    assert all_records(ledger) == written
    assert segment.stat().st_size == end + len(torn)
    with caplog.at_level(logging.WARNING):
        written += fill(ledger, 1, start=3)
    assert all_records(Ledger(folder)) == written
    assert (folder / f"00000001.torn-{end}").read_bytes() == torn
    assert "a crash left unfinished" in caplog.text


def test_a_flipped_bit_in_the_middle_is_refused_with_its_place_and_nothing_is_written(folder: Path) -> None:
    fill(Ledger(folder), 5)
    segment = folder / "00000001.jsonl"
    lines = segment.read_bytes().splitlines(keepends=True)
    offset = len(lines[0] + lines[1])
    damaged = bytearray(segment.read_bytes())
    damaged[offset + 30] ^= 4
    segment.write_bytes(damaged)
    with pytest.raises(Problem) as problem:
        Ledger(folder)
    assert problem.value.code == "corrupt_document"
    assert f"byte {offset}" in problem.value.detail
    assert segment.read_bytes() == damaged


def test_a_line_cut_out_of_the_middle_is_noticed_by_the_version_that_is_missing(folder: Path) -> None:
    fill(Ledger(folder), 5)
    segment = folder / "00000001.jsonl"
    lines = segment.read_bytes().splitlines(keepends=True)
    segment.write_bytes(b"".join(lines[:2] + lines[3:]))
    with pytest.raises(Problem) as problem:
        Ledger(folder)
    assert "version 3 follows 1" in problem.value.detail


def test_without_a_guard_equal_versions_are_kept_and_never_called_corrupt(folder: Path) -> None:
    one, other = Ledger(folder), Ledger(folder)
    views = [ledger.view([sell(key)], None) for ledger, key in ((one, "a"), (other, "b"))]
    for ledger, view, key in zip((one, other), views, "ab", strict=True):
        ledger.append(records_of(decide_all(view, [sell(key)], NOW)), halfway=None)
    commit(one, sell("c"))
    records = all_records(Ledger(folder))
    assert [(record.key, record.version) for record in records] == [("a", 1), ("b", 1), ("c", 2)]


def test_an_append_on_the_condition_that_nothing_changed_fails_after_another_one(folder: Path) -> None:
    one, other = Ledger(folder), Ledger(folder)
    view = one.view([sell("a")], None)
    commit(other, sell("b"))
    with pytest.raises(Conflict):
        one.append(records_of(decide_all(view, [sell("a")], NOW)), unchanged_since=view.source, halfway=None)  # type: ignore[arg-type]
    assert [record.key for record in all_records(one)] == ["b"]


def test_an_older_copy_put_in_place_under_a_running_process_is_refused(folder: Path) -> None:
    ledger = Ledger(folder)
    fill(ledger, 2)
    older = (folder / "00000001.jsonl").read_bytes()
    fill(ledger, 2, start=2)
    (folder / "00000001.jsonl").write_bytes(older)
    with pytest.raises(Problem, match="older copy"):
        ledger.view([], None)
    copy = folder / "copy"
    copy.write_bytes(older)
    copy.rename(folder / "00000001.jsonl")
    with pytest.raises(Problem, match="older copy"):
        ledger.view([], None)


def test_a_writer_killed_between_the_seal_and_the_next_segment_stops_nobody(folder: Path) -> None:
    ledger = Ledger(folder, SMALL)
    fill(ledger, 5)
    (folder / "00000002.jsonl").unlink()
    (folder / "durable").unlink()  # which would know better: nobody had begun that segment
    again = Ledger(folder, SMALL)
    assert len(all_records(again)) == 4
    assert commit(again, sell("x"))[0].version == 5
    assert segment_numbers(folder) == [1, 2]


def test_a_sync_covers_what_others_appended_before_and_the_mark_never_runs_ahead(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    real = os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda fd: (synced.append(fd), real(fd))[1])
    one, other = Ledger(folder), Ledger(folder)
    first = one.append(records_of(decide_all(one.view([sell("a")], None), [sell("a")], NOW)), halfway=None)
    second = other.append(records_of(decide_all(other.view([sell("b")], None), [sell("b")], NOW)), halfway=None)
    synced.clear()
    other.sync(second)
    one.sync(first)
    assert len(synced) == 1


def test_the_mark_of_another_boot_spares_nobody_a_sync(tmp_path: Path) -> None:
    mark = DurableMark(tmp_path / "durable")
    mark.begin(100)
    mark.advance(80)
    mark.begin(100)
    assert mark.place == 80
    mark._words[0] = 12345
    mark.begin(100)
    assert mark.place == 0


wishes = st.lists(
    st.one_of(
        st.builds(sell, st.sampled_from("abcdefghij"), st.integers(1, 3), st.sampled_from(["ann", "bob"])),
        st.builds(
            Cancel, st.sampled_from("ABCDEF"), st.just("r"), st.sampled_from([f"o-{key}" for key in "abcdefghij"])
        ),
    ),
    max_size=25,
)


@settings(max_examples=60)
@given(wishes, st.lists(st.booleans(), min_size=25, max_size=25))
def test_whatever_is_asked_a_journal_in_segments_decides_as_one_list_of_records(
    tmp_path_factory: pytest.TempPathFactory, wanted: list[Command], which: list[bool]
) -> None:
    folder = tmp_path_factory.mktemp("journal")
    about = Event("show", "Show", 12, lab=True, max_per_buyer=7)
    begin_segment(folder, SegmentHead(FORMAT, "id", about, 1, Counters()))
    ledgers = [Ledger(folder, 3), Ledger(folder, 3)]
    model = View(about)
    for command, first in zip(wanted, which, strict=False):
        ledger = ledgers[first]
        view = ledger.view([command], None)
        [expected] = decide_all(model, [command], NOW)
        [outcome] = decide_all(view, [command], NOW)
        assert outcome == expected
        if isinstance(outcome, Record):
            ledger.append([outcome], halfway=None)
    records = all_records(Ledger(folder, 3))
    assert replay(about, records).sold == model.sold
    shutil.rmtree(folder)


def test_a_process_keeps_a_bounded_number_of_journals_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def opened_by_twelve(most: int, data: Path) -> int:
        data.mkdir()
        monkeypatch.setattr(journal, "MOST_OPEN", most)
        before, store = (
            len(list(Path("/proc/self/fd").iterdir())),
            journal.Journal(Settings(data=data, store="journal")),
        )
        for name in map(str, range(12)):
            store.create(Event(name, name, 10))
            assert store.view(name).remaining == 10
        return len(list(Path("/proc/self/fd").iterdir())) - before

    assert opened_by_twelve(12, tmp_path / "many") >= 24
    assert opened_by_twelve(2, tmp_path / "few") < 12
