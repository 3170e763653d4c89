"""Histories and audits from their files: what is read, and what is refused with its line."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loadtests.lab.history import arrays, columns
from loadtests.lab.history.arrays import Ragged, StringIds, same_rows
from loadtests.lab.history.history import (
    ABSENT,
    NEVER,
    OUTCOMES,
    Audit,
    History,
    HistoryError,
    read_audit,
    read_history,
)

Line = dict[str, Any]


def buy(n: int, **more: Any) -> Line:
    times = {"invoke_ns": 10 * n, "return_ns": 10 * n + 5}
    return {"process": n, "op": "buy", "event": "show", "key": f"k{n}", "quantity": 1, "outcome": "ok", **times, **more}


def text(lines: list[Line]) -> bytes:
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


AUDIT: list[Line] = [
    {"event": "show", "capacity": 5, "versions": 2},
    {
        "version": 1,
        "kind": "held",
        "key": "a",
        "hold": "h",
        "quantity": 2,
        "tickets": [1, 2],
        "expires_at": "2026-01-01T00:00:00.000001Z",
    },
    {"version": 2, "kind": "expired", "hold": "h", "quantity": 2, "tickets": [1, 2]},
]


def test_a_history_comes_back_column_by_column(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    unknown = buy(2, outcome="unknown", return_ns=None, remaining=7)
    path.write_bytes(text([buy(1, tickets=[4, 5], remaining=-2, version=3, replayed=True, worker=1), unknown]))
    history = read_history(path)
    assert history.tickets.row(0) == [4, 5]
    assert history.tickets.row(1) == []
    assert History.of([buy(1, tickets=[4]), buy(2, tickets=None), buy(3, tickets=[5, 6])]).tickets.flat.tolist() == [
        4,
        5,
        6,
    ]
    assert history.remaining.tolist() == [-2, ABSENT]  # an unknown operation has no answer to show it
    assert history.version.tolist() == [3, ABSENT]
    assert history.return_ns.tolist() == [15, NEVER]
    assert history.replayed.tolist() == [1, -1]
    assert history.marks_replays
    assert [history.keys.string(key) for key in history.key] == ["k1", "k2"]
    assert history.line.tolist() == [1, 2]


def test_a_gzip_file_reads_like_a_plain_one(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl.gz"
    path.write_bytes(gzip.compress(text([buy(1), buy(2)])))
    assert len(read_history(path)) == 2


def test_a_gzip_file_that_breaks_off_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl.gz"
    path.write_bytes(gzip.compress(text([buy(n) for n in range(1000)]))[:-20])
    with pytest.raises(HistoryError, match="cannot be read on"):
        read_history(path)


def test_lines_are_counted_across_chunks_and_blank_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "_CHUNK_BYTES", 400)
    content = [text([buy(n)]) for n in range(20)]
    content[7] = b"\n  \n" + content[7]
    path = tmp_path / "history.jsonl"
    path.write_bytes(b"".join(content))
    assert read_history(path).line.tolist() == [*range(1, 8), *range(10, 23)]
    path.write_bytes(b"".join([*content[:15], b'{"process": "one"}\n', *content[15:]]))
    with pytest.raises(HistoryError, match="line 18"):
        read_history(path)


def test_the_last_line_needs_no_line_end() -> None:
    assert len(read_history(text([buy(1), buy(2)]).rstrip())) == 2


def test_an_empty_history_has_no_operations() -> None:
    assert [len(read_history(content)) for content in (b"", b"\n", b" \n\n ")] == [0, 0, 0]


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ([buy(1), {**buy(2), "op": "reserve"}], "line 2"),
        ([buy(1), {key: value for key, value in buy(2).items() if key != "invoke_ns"}], "line 2.*invoke_ns"),
        ([buy(1), buy(2, return_ns=19)], "line 2: it returned before it was invoked"),
        ([buy(1), buy(2, return_ns=None)], "line 2: an answer, but `return_ns` is null"),
        ([buy(1), buy(2, quantity=None)], "line 2: the operation lacks the field `quantity`"),
        ([buy(1), buy(2, quantity=0)], "line 2"),
        ([buy(1), buy(2, op="cancel")], "line 2: the operation lacks the field `order`"),
        ([buy(1), buy(2, op="release")], "line 2: the operation lacks the field `hold`"),
        ([buy(1), buy(2, outcome="refused")], "line 2: an outcome that this operation cannot have"),
        ([buy(1), buy(2), buy(3, key="k1")], r"line 3: the same attempt of its key stands twice .*line 1"),
        ([buy(1), buy(2, key="k1", attempt=2, quantity=2)], r"line 2: its key stands with another payload .*line 1"),
        ([buy(1), buy(2, key="k1", attempt=2, op="hold")], "line 2: its key stands with another payload"),
        ([buy(1, return_ns=30), buy(2, process=1)], "line 2: its process was still in another operation"),
        ([buy(1), buy(2, return_ns=2**63)], "line 2"),
        ([buy(1), buy(2, tickets=[2**63])], "line 2"),
    ],
)
def test_what_cannot_have_been_recorded_is_refused_with_its_line(lines: list[Line], why: str) -> None:
    with pytest.raises(HistoryError, match=why):
        History.of(lines)


def test_one_key_may_stand_in_two_events() -> None:
    assert History.of([buy(1), buy(2, key="k1", event="matinee", quantity=2)]).events == ("show", "matinee")


def test_a_process_may_go_on_after_an_unknown_operation() -> None:
    assert len(History.of([buy(1, outcome="unknown", return_ns=None), buy(2, process=1)])) == 2


def test_an_audit_comes_back_with_its_header() -> None:
    audit = Audit.of(AUDIT)
    assert (audit.event, audit.capacity, audit.versions, len(audit)) == ("show", 5, 2, 2)
    assert audit.expires_at.tolist() == [1767225600 * 10**6 + 1, ABSENT]
    assert audit.line.tolist() == [2, 3]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (text(AUDIT[1:]), "line 1"),
        (text(AUDIT)[:-9], "line 3: the line breaks off in the middle"),
        (text([AUDIT[0], {**AUDIT[1], "key": None}]), "line 2: the record lacks the field `key`"),
        (text([AUDIT[0], {**AUDIT[1], "kind": "cancelled"}]), "line 2: the record lacks the field `order`"),
        (text([*AUDIT[:2], {**AUDIT[2], "tickets": None}]), "line 3: the record lacks the field `tickets`"),
        (text([*AUDIT[:2], {**AUDIT[2], "hold": None}]), "line 3: the record lacks the field `hold`"),
    ],
)
def test_an_audit_that_cannot_be_used_is_refused_with_its_line(content: bytes, why: str) -> None:
    with pytest.raises(HistoryError, match=why):
        read_audit(content)


def interned(*chunks: list[str | None]) -> tuple[StringIds, list[int]]:
    names, found, count = StringIds(), [np.zeros(0, np.int64)], 0
    for chunk in chunks:
        found.append(names.intern(chunk, count))
        count += len(chunk)
    return names, names.settle(np.concatenate(found)).tolist()


def test_names_are_the_row_that_they_were_first_met_in() -> None:
    names, ids = interned(["a", None, "b", "a"], ["b", "ç\x00", "a"], [None], ["ç\x00", ""])
    assert ids == [0, -1, 2, 0, 2, 5, 0, -1, 5, 9]
    assert [names.string(number) for number in (0, 2, 5, 9, -1)] == ["a", "b", "ç\x00", "", None]


def test_names_are_translated_and_unknown_ones_are_not() -> None:
    ours, _ = interned(["a", "b", "c"])
    theirs, ids = interned(["c", None, "x", "a"])
    assert ours.translation(theirs)[ids].tolist() == [2, -1, -1, 0]
    assert interned([None])[0].translation(theirs)[ids].tolist() == [-1] * 4
    assert ours.translation(interned()[0]).tolist() == [-1]


@pytest.mark.parametrize("other", ["b", "aa", "é"])
def test_strings_that_share_a_hash_by_chance_are_never_taken_for_one(
    other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrays, "_hash", lambda text: 7)
    monkeypatch.setattr(columns, "_CHUNK_BYTES", 100)
    with pytest.raises(HistoryError, match="input: two strings have one hash"):
        History.of([buy(1, key="a"), buy(2, key=other)])
    ours, theirs = interned(["a"])[0], interned([other])[0]
    with pytest.raises(ValueError, match="two strings have one hash"):
        ours.translation(theirs)
    assert ours.translation(interned([None, "a"])[0]).tolist() == [-1, 0, -1]


def test_rows_of_lists_are_taken_in_any_order() -> None:
    ragged = Ragged.of([[1, 2], [], [3], [4, 5, 6]])
    taken = ragged.take(np.array([3, 1, 0, 0]))
    assert [taken.row(row) for row in range(4)] == [[4, 5, 6], [], [1, 2], [1, 2]]
    assert ragged.first().tolist() == [1, ABSENT, 3, 4]


def test_rows_of_lists_are_equal_only_in_order() -> None:
    left = Ragged.of([[1, 2], [], [3], [1, 2], [7]])
    right = Ragged.of([[1, 2], [], [4], [2, 1], [7, 8]])
    assert same_rows(left, right).tolist() == [True, True, False, False, False]


def test_a_history_without_seats_says_nothing_of_them() -> None:
    assert History.of([buy(1), buy(2)]).seating is None
    assert Audit.of(AUDIT).seats.told.tolist() == [False, False]


def test_seats_come_back_from_where_they_were_told() -> None:
    lines = [
        buy(1, wanted=["x", "y"], seats=["y", "x"], quantity=2),
        buy(2, outcome="seat_taken", wanted=["x"], taken=[]),
        buy(3, together=True, section="s"),
        {**buy(4), "op": "read", "map": "AA=="},
    ]
    seating = History.of(lines).seating
    assert seating is not None
    assert [seating.given.row(row) for row in range(4)] == [["y", "x"], [], [], []]
    assert [seating.wanted.row(row) for row in range(4)] == [["x", "y"], ["x"], [], []]
    assert seating.taken.told.tolist() == [False, True, False, False]
    assert seating.together.tolist() == [False, False, True, False]
    assert [seating.sections.string(int(each)) for each in seating.section] == [None, None, "s", None]
    assert seating.maps.string(int(seating.map[3])) == "AA=="
    few = seating.take(np.array([1, 0]))
    assert [few.wanted.row(row) for row in range(2)] == [["x"], ["x", "y"]]


def test_a_field_that_only_a_late_line_has_is_absent_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "_CHUNK_BYTES", 200)
    lines = [buy(n) for n in range(9)] + [buy(9, wanted=["x"], seats=["x"], cart="c", seconds=2.5)] + [buy(10)]
    h = History.of(lines)
    assert h.seating is not None
    assert h.seating.given.lists.lengths.tolist() == [0] * 9 + [1, 0]
    assert (h.cart >= 0).tolist() == [False] * 9 + [True, False]
    assert np.isnan(h.seconds).tolist() == [True] * 9 + [False, True]


def test_the_older_word_for_a_seat_is_one_that_was_wanted() -> None:
    lines = [buy(1, seat="A1"), buy(2, seat="A1", outcome="sold_out"), buy(3, wanted=["B"], seat="A1"), buy(4)]
    h = History.of(lines)
    assert h.seating is not None
    assert [h.seating.wanted.row(row) for row in range(4)] == [["A1"], ["A1"], ["B"], []]
    assert [h.seating.taken.row(row) for row in range(4)] == [[], ["A1"], [], []]
    assert [OUTCOMES[each] for each in h.outcome] == ["ok", "seat_taken", "ok", "ok"]


def test_who_wants_seats_by_name_need_not_count_them() -> None:
    line = buy(1, wanted=["x", "y"])
    del line["quantity"]
    assert History.of([line]).quantity.tolist() == [2]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (buy(1, wanted=["x"], quantity=2), "line 1: it wants another number of seats"),
        ({**buy(1), "op": "cancel", "order": "o", "outcome": "not_together"}, "line 1: an outcome"),
        (buy(1, wanted="x"), "line 1: Expected `array | null`"),
        (buy(1, seconds=-1), "line 1: Expected `float` >= 0"),
    ],
)
def test_seats_that_cannot_have_been_asked_for_are_refused(line: Line, why: str) -> None:
    with pytest.raises(HistoryError, match=re.escape(why)):
        History.of([line])


def test_the_hall_of_an_audit_is_as_its_header_has_it() -> None:
    hall = {"sections": [{"name": "s", "rows": [{"name": "A", "seats": 5}]}]}
    audit = Audit.of([{**AUDIT[0], "hall": hall}, *({**each, "seats": ["s-A-1", "s-A-2"]} for each in AUDIT[1:])])
    assert audit.hall == hall
    assert audit.seats.row(1) == ["s-A-1", "s-A-2"]
