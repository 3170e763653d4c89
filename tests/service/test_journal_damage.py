"""A journal's files, damaged bit by bit: no key is lost, nothing that was answered is cut, nothing counts twice."""

from __future__ import annotations

import contextlib
import logging
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from disks import no_descriptor_left

from service.errors import Problem
from service.rules.inventory import Cancel, Command, Confirm, Event, Hold, Record, Sell, decide_all
from service.stores.journal import mark
from service.stores.journal.ledger import Ledger
from service.stores.journal.lines import FORMAT, Counters, SegmentHead
from service.stores.journal.segments import begin_segment

NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)
SHOW = Event("show", "Show", 100)


def begun(folder: Path, about: Event = SHOW) -> Path:
    begin_segment(folder, SegmentHead(FORMAT, "id-1", about, 1, Counters()))
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return begun(tmp_path)


def ask(ledger: Ledger, command: Command, now: datetime = NOW) -> list[Record]:
    view = ledger.view([command], None, now)
    decide_all(view, [command], now)
    if view.fresh:
        ledger.sync(ledger.append(view.fresh, halfway=None))
    return view.fresh


def sell(ledger: Ledger, *keys: str) -> None:
    for key in keys:
        ask(ledger, Sell(key, "r", f"o-{key}", 1))


def flipped(content: bytes, bit: int) -> bytes:
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


# -- indexes ----------------------------------------------------------------------------------------------------------


def test_no_flipped_bit_of_an_index_loses_a_key(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    sell(Ledger(folder, 2), "a", "b", "c")
    [index] = folder.glob("index-*")
    whole = index.read_bytes()
    for bit in range(8 * len(whole)):
        index.write_bytes(flipped(whole, bit))
        caplog.clear()
        view = Ledger(folder, 2).view([Sell(key, "r", "o", 1) for key in "abc"], "o-a")
        assert sorted(view.keys) == ["a", "b", "c"]
        assert view.orders["o-a"].tickets == (1,)
        assert "built again" in caplog.text
        assert index.read_bytes() == whole


def test_an_index_of_an_older_version_or_of_other_segments_is_built_again(folder: Path) -> None:
    sell(Ledger(folder, 2), "a", "b", "c")
    [index] = folder.glob("index-*")
    whole = index.read_bytes()
    index.write_bytes(b"lastseat-index-1" + (4).to_bytes(8, "little") + whole[32:])
    assert sorted(Ledger(folder, 2).view([Sell("a", "r", "o", 1)], None).keys) == ["a"]
    assert index.read_bytes() == whole
    # Whole, and it finds nothing where everything stands elsewhere: as after a good copy was put back.
    segment = folder / "00000001.jsonl"
    head, *records = segment.read_bytes().splitlines(keepends=True)
    other = begun_elsewhere(folder)
    segment.write_bytes(b"".join([other, *records]))
    assert len(other) != len(head)
    assert sorted(Ledger(folder, 2).view([Sell("a", "r", "o", 1)], None).keys) == ["a"]


def begun_elsewhere(folder: Path) -> bytes:
    """A head of the same event that is longer."""
    from service.stores.journal.lines import encode

    return encode(SegmentHead(FORMAT, "id-1-and-more", SHOW, 1, Counters()))


@pytest.mark.parametrize("lost", [1, 2, 3])
@pytest.mark.parametrize("opened", ["before", "after"])
def test_a_segment_that_is_missing_is_named_whoever_needs_it(folder: Path, lost: int, opened: str) -> None:
    sell(Ledger(folder, 2), *"abcdefgh")
    before = Ledger(folder, 2)
    (folder / f"0000000{lost}.jsonl").unlink()
    with pytest.raises(Problem, match=f"{lost}.jsonl is missing") as problem:
        for key in "abcdefgh":
            (before if opened == "before" else Ledger(folder, 2)).view([Sell(key, "r", "o", 1)], None)
    assert problem.value.code == "corrupt_document"
    assert "Nothing was written" in problem.value.detail


# -- the end ----------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["same boot", "next boot"])
def boot(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "next boot":
        boots = iter(range(1, 10**6))
        monkeypatch.setattr(mark, "_this_boot", lambda: next(boots))


@pytest.mark.usefixtures("boot")
def test_no_bit_of_the_last_answered_line_is_taken_for_a_torn_tail(folder: Path) -> None:
    sell(Ledger(folder), "a", "b")
    segment = folder / "00000001.jsonl"
    whole = segment.read_bytes()
    start = whole.rindex(b"\n", 0, -1) + 1
    for bit in range(8 * start, 8 * len(whole)):
        segment.write_bytes(flipped(whole, bit))
        with pytest.raises(Problem) as problem:
            sell(Ledger(folder), "c")
        assert problem.value.code == "corrupt_document"
        assert segment.read_bytes() == flipped(whole, bit)
    assert not list(folder.glob("*.torn-*"))


@pytest.mark.usefixtures("boot")
@pytest.mark.parametrize("left", [0, 1, 40, -1])
def test_what_had_been_synced_and_is_cut_off_is_refused(folder: Path, left: int) -> None:
    """Also whole lines: nobody cuts a journal there but who puts an older copy back, and that is said."""
    sell(Ledger(folder), "a", "b")
    segment = folder / "00000001.jsonl"
    whole = segment.read_bytes()
    start = whole.rindex(b"\n", 0, -1) + 1
    segment.write_bytes(whole[:left] if left < 0 else whole[: start + left])
    with pytest.raises(Problem, match=r"remove .*durable"):
        sell(Ledger(folder), "c")
    (folder / "durable").unlink()
    sell(Ledger(folder), "c")


def test_without_the_mark_a_line_that_has_its_end_and_no_zeros_is_damage_too(folder: Path) -> None:
    """No crash leaves that: it loses the end of what is written, or sectors, and those are zeros then."""
    sell(Ledger(folder), "a", "b")
    segment = folder / "00000001.jsonl"
    whole = segment.read_bytes()
    start = whole.rindex(b"\n", 0, -1) + 1
    for bit in range(8 * start, 8 * len(whole)):
        content = flipped(whole, bit)
        (folder / "durable").unlink()
        segment.write_bytes(content)
        if b"\0" in content:
            Ledger(folder)
        else:
            with pytest.raises(Problem, match="not as a crash leaves one"):
                Ledger(folder)


def test_a_writer_that_is_killed_before_the_sync_leaves_a_tail_that_is_cut(folder: Path) -> None:
    """The mark does not speak of what nobody synced: that is the negative control of all above."""
    ledger = Ledger(folder)
    sell(ledger, "a")
    segment = folder / "00000001.jsonl"
    whole = segment.read_bytes()
    view = ledger.view([Sell("b", "r", "o-b", 1)], None)
    decide_all(view, [Sell("b", "r", "o-b", 1)], NOW)
    ledger.append(view.fresh, halfway=None)
    for cut in range(len(whole) + 1, segment.stat().st_size):
        os.truncate(segment, segment.stat().st_size - 1)
        assert len(list(Ledger(folder).records(Ledger(folder).audit()[1]))) == 1, cut
    sell(Ledger(folder), "c")
    assert Ledger(folder).view([], None).version == 2


# -- lines twice ------------------------------------------------------------------------------------------------------


def everything(folder: Path) -> list[bytes]:
    """One line of every kind in each place: a sale, its cancellation, holds that were confirmed, ended and released."""
    ledger = Ledger(folder)
    sell(ledger, "a", "b")
    ask(ledger, Cancel("c", "r", "o-a"))
    for number in range(2):
        ask(ledger, Hold(f"h{number}", "r", f"h{number}", 1, 30 + number))
    ask(ledger, Confirm("d", "r", "h1", "o-d"))
    ask(ledger, Sell("e", "r", "o-e", 1), NOW + timedelta(minutes=1))
    return (folder / "00000001.jsonl").read_bytes().splitlines(keepends=True)


def test_a_line_that_stands_twice_is_not_counted_twice(folder: Path) -> None:
    lines = everything(folder)
    for at in range(1, len(lines)):
        for to in range(at + 1, len(lines) + 1):
            (folder / "00000001.jsonl").write_bytes(b"".join([*lines[:to], lines[at], *lines[to:]]))
            with pytest.raises(Problem, match="stands there twice"):
                Ledger(folder)


def test_of_a_lab_event_what_two_without_a_guard_may_both_have_written_is_kept(tmp_path: Path) -> None:
    """They may both end one hold or cancel one order, letter by letter; a sale has an id that there is once."""
    lines = everything(begun(tmp_path, Event("show", "Show", 100, lab=True)))
    segment = tmp_path / "00000001.jsonl"
    for at in range(1, len(lines)):
        segment.write_bytes(b"".join([*lines[: at + 1], *lines[at:]]))
        if any(kind in lines[at] for kind in (b'"cancelled"', b'"expired"')):
            assert Ledger(tmp_path).audit()[0] == len(lines)
        else:
            with pytest.raises(Problem, match="stands there twice"):
                Ledger(tmp_path)


# -- no descriptor left -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("late", [False, True])
def test_a_record_that_cannot_be_taken_in_for_want_of_a_descriptor_is_counted_once(folder: Path, late: bool) -> None:
    one, other = Ledger(folder, 3), Ledger(folder, 3)
    sell(one, "a")
    ask(one, Hold("h", "r", "h1", 4, 1))
    later = NOW + timedelta(minutes=1)
    for key in "bcd":
        ask(one, Sell(key, "r", f"o-{key}", 1), later)
    other.view([], None)
    other._closed.close()
    ask(one, Confirm("x", "r", "h1", "o-x") if late else Cancel("x", "r", "o-a"), later)
    with no_descriptor_left():
        for _ in range(3):
            with contextlib.suppress(OSError):
                other.view([], None)
    assert other.view([], None).sold == one.view([], None).sold == (8 if late else 3)


@pytest.mark.parametrize("late", [False, True])
def test_what_was_written_is_not_reported_as_refused_for_want_of_a_descriptor(folder: Path, late: bool) -> None:
    ledger = Ledger(folder, 3)
    sell(ledger, "a")
    ask(ledger, Hold("h", "r", "h1", 4, 1))
    later = NOW + timedelta(minutes=1)
    for key in "bcd":
        ask(ledger, Sell(key, "r", f"o-{key}", 1), later)
    command: Command = Confirm("x", "r", "h1", "o-x") if late else Cancel("x", "r", "o-a")
    view = ledger.view([command], None, later)
    decide_all(view, [command], later)
    ledger._closed.close()  # closed meanwhile, for another lookup
    refused = False
    with no_descriptor_left():
        try:
            ledger.append(view.fresh, halfway=None)
        except OSError:
            refused = True
    assert bool(ledger.view([command], None, later).keys) is not refused
    assert bool(Ledger(folder, 3).view([command], None, later).keys) is not refused


def test_an_index_that_cannot_be_opened_now_is_not_taken_for_a_missing_one(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sell(Ledger(folder, 2), *"abcdef")
    names = sorted(path.name for path in folder.iterdir())
    with caplog.at_level(logging.WARNING), no_descriptor_left(), pytest.raises(OSError):
        Ledger(folder, 2)
    assert sorted(path.name for path in folder.iterdir()) == names
    assert caplog.text == ""
