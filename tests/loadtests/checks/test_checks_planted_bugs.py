"""Bugs planted into the checker, one at a time: each must be noticed.

A bug is a change in the source of one function. Noticed means that a recorded history gets another verdict, or
loses the name of its violation, or that the oracle disagrees on a drawn history. A change that no longer fits the
source fails too.
"""

from __future__ import annotations

import contextlib
import inspect
import json
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from agreement import TIERS, Posed, posed

from loadtests.lab import checks
from loadtests.lab.checks import (
    ACROSS,
    CHECKS,
    answers,
    attempts,
    audit_laws,
    bounds,
    carts,
    findings,
    hold_times,
    observers,
    orders,
    overlap,
    replay,
)
from loadtests.lab.checks.case import lifetimes, mutations, occupancy
from loadtests.lab.checks.files import capacity_of
from loadtests.lab.checks.findings import VIOLATIONS
from loadtests.lab.checks.judging import judge
from loadtests.lab.checks.ordering import by_number, by_version, counters, placement, real_time, tiers
from loadtests.lab.checks.seats import answers as seat_answers
from loadtests.lab.checks.seats import best, records, refusals, unplaced
from loadtests.lab.history.history import HistoryError, read_audit, read_history

HISTORIES = Path(__file__).parents[1] / "histories"
SEEDS = 100

PLANTED: list[tuple[Callable[..., Any], str, str]] = [
    (real_time.missed_deadlines, "returned < latest[ahead]", "returned <= latest[ahead]"),
    (real_time.missed_deadlines, "np.maximum.accumulate(invoke[by_position])", "invoke[by_position]"),
    (real_time.missed_deadlines, "answered_at) - 1", 'answered_at, side="right") - 1'),
    (real_time.check, "2 * placement.seen[seen] + 1", "2 * placement.seen[seen]"),
    (real_time.check, "exact = seen[~placement.at_least[seen]]", "exact = seen"),
    (
        mutations.mutations_of,
        "np.where(pick(fresh, group, 0) > 0, ok & ~replay, maybe | resent)",
        "maybe | resent | ok",
    ),
    (mutations.mutations_of, "maybe | resent)", "maybe)"),
    (mutations.mutations_of, "(h.replayed == 1) if h.marks_replays else", "(h.replayed == 1) if True else"),
    (mutations._earliest, "-time[rows[several]]", "time[rows[several]]"),
    (answers._oversold, "tickets.sum() <= capacity", "tickets.sum() <= capacity + 1"),
    (answers._standing, "(m.op == CANCEL) & m.possible", "(m.op == CANCEL) & m.acknowledged"),
    (answers._double_booked, "(owner[a] != owner[b])", "(order[a] != order[b])"),
    (attempts.check, "m.fresh > 1", "m.fresh > 2"),
    (attempts.check, "pick(h.invoke_ns, start, -1) > h.return_ns[m.ends]", "pick(h.invoke_ns, start, -1) >= 10**9"),
    (attempts._answers_agree, "(h.order, m.order, -1),", ""),
    (attempts._answers_agree, "differs |= ~same_rows", "differs &= ~same_rows"),
    (audit_laws._whole, "audit.versions != len(audit)", "False"),
    (audit_laws._whole, "audit.version != expected", "audit.version < expected - 1"),
    (audit_laws._keys_are_known_and_once, "pick(m.possible, audit.group, 0)", "audit.group >= 0"),
    (audit_laws._acknowledged_are_recorded, "!= m.version[there]", "> m.version[there]"),
    (audit_laws._acknowledged_are_recorded, "!= m.version[there]", "< m.version[there]"),
    (audit_laws._records_say_what_was_asked, "audit.quantity[known] == h.quantity[asked]", "True"),
    (audit_laws._answers_say_what_is_recorded, "differs |= ~same_rows", "differs &= ~same_rows"),
    (audit_laws._refused_after_commit, "placement.seen[refused] >= at", "placement.seen[refused] > at"),
    (audit_laws._nothing_is_beyond, "h.version > audit.end", "h.version > audit.end + 1"),
    (replay._places_suffice, "taken > capacity", "taken > capacity + 1"),
    (replay._places_suffice, "taken > capacity", "taken >= capacity"),
    (replay._late_sales_replace_expired_holds, "~expired | ", ""),
    (replay._late_sales_replace_expired_holds, "| used_up", ""),
    (replay._late_sales_replace_expired_holds, "| other_quantity", ""),
    (replay._holds_expire_in_turn, "closed) > turn", "closed) > turn + 1"),
    (replay._holds_expire_in_turn, "(opened, ledger.expires_at[opened])", "(-opened, ledger.expires_at[opened])"),
    (lifetimes.Lifetimes.of, "opened_by < closing", "opened_by < closing + 2"),
    (lifetimes.Lifetimes.open_after, "closed >= records", "closed > records"),
    (lifetimes.Lifetimes.open_after, "opened < records", "opened <= records"),
    (lifetimes.range_maximum, "length < 2 * width", "length < width + 1"),
    (observers._remaining_is_true, "h.remaining != there", "h.remaining > there"),
    (observers._remaining_is_true, "h.remaining != there", "h.remaining < there"),
    (observers._sold_out_is_true, "wanted <= there", "wanted < there"),
    (observers.expired_and_not_sold_late, "expired & ~used_up", "expired"),
    (placement.candidates, "m.unknown & ~refused", "m.unknown"),
    (placement.fill_slots, "np.argsort(invoked", "np.argsort(-invoked"),
    (by_version.derive, "elif missing == 0:", "elif missing <= 1:"),
    (by_number.derive, "-(-behind // quantity)", "behind // quantity"),
    (placement.told_counts, "capacity - h.quantity[rows] + 1)", "capacity - h.quantity[rows])"),
    (tiers._place_observers, "placement.at_least = refused & there", "pass"),
    (counters._sales_explain, "np.minimum.accumulate(before[::-1])[::-1]", "before"),
    (counters._sales_explain, "returned[i] < after[highest]", "returned[i] < after[0]"),
    (counters._sales_explain, "needed > capacity", "needed > capacity + 1"),
    (counters._match, "invoke[pushed] <= before[count]", "invoke[pushed] < before[count]"),
    (counters._match, "waiting[0][0] < after[count - 1]", "waiting[0][0] <= after[count - 1]"),
    (counters._match, "waiting[0][0] < after[count - 1]", "waiting[0][0] < after[0]"),
    (counters._match, "(returned[pushed], pushed)", "(-returned[pushed], pushed)"),
    (bounds.check, "taken > most", "taken >= most"),
    (bounds.check, "taken < least", "taken <= least"),
    (carts.check, "len({part.there for part in parts}) > 1", "False"),
    (carts.check, "len({part.named for part in parts}) > 1", "False"),
    (carts._part, "if found is None", "if False"),
    (carts._part, "if OK in outcomes", "if outcomes"),
    (seat_answers.sold_twice, "one_of(m.op, BUY, HOLD, CONFIRM)", "one_of(m.op, BUY)"),
    (seat_answers.sold_twice, "np.arange(len(seat))) - 1", "np.arange(len(seat)) - 1) - 1"),
    (seat_answers.sold_twice, "np.searchsorted(stretch + answered, stretch + ends)", "len(seat)"),
    (seat_answers.kept_until, "(m.op == CANCEL) & m.possible", "(m.op == CANCEL) & m.acknowledged"),
    (seat_answers.kept_until, "one_of(m.op, CONFIRM, RELEASE) & m.possible", "np.zeros(len(m), np.bool_)"),
    (seat_answers.kept_until, "deadlines(case)[holds]", "NEVER"),
    (seat_answers.deadlines, "* 1e9", "* 1e6"),
    (seat_answers._as_asked, "& ~same_seats(given, wanted)", "& False"),
    (seat_answers._as_asked, "given.lengths != h.quantity[rows]", "given.lengths > h.quantity[rows]"),
    (seat_answers._as_asked, "seats.astray[answered]", "seats.astray[answered] & False"),
    (seat_answers._as_answered_before, "~same_seats(seats.given.take(rows), agreed)", "rows < 0"),
    (seat_answers._refusals_are_of_the_wish, "& ~asked", "& False"),
    (seat_answers._refusals_name_what_was_wanted, "wrong = taken.lengths == 0", "wrong = taken.lengths < 0"),
    (audit_laws._records_say_what_was_asked, "~case.seats.asked[asked] | named", "True"),
    (audit_laws._answers_say_what_is_recorded, "& case.seats.told[rows]", "& False"),
    (records._records_have_seats, "(must | (recorded.lengths > 0))", "(recorded.lengths > 0)"),
    (records._records_have_seats, "recorded.flat >= seats.ours", "recorded.flat > seats.ours"),
    (records._seats_are_free, "ledger.gives[occupancy.opened[found]]", "found < 0"),
    (records._seats_stay_together, "ledger.kind == LATE", "ledger.kind < 0"),
    (records._compare, "~same_seats(a, b) & known", "known & False"),
    (occupancy.Occupancy.taken_after, "-1) >= records", "-1) > records"),
    (occupancy.Occupancy.taken_after, "seats * width + records) - 1", 'seats * width + records, side="right") - 1'),
    (occupancy.Occupancy.of, "np.full(len(nameless), FOREVER)", "nameless"),
    (refusals._taken_ones_are_named, "wrong |= told & others", "pass"),
    (refusals._taken_ones_are_named, "wrong = ~have_any", "wrong = False & have_any"),
    (refusals._expired_holds_are_taken, "known = theirs.lengths > 0", "known = theirs.lengths < 0"),
    (refusals._sections_are_full, "h.quantity[rows] <= free", "h.quantity[rows] < free"),
    (observers._sold_out_is_true, "if ledger.seats is not None:", "if False:"),
    (best._Sweep._granted, "last + 1) > len(theirs)", "last) > len(theirs)"),
    (best._Sweep._granted, "min(theirs) < low or max(theirs) >= high", "False"),
    (best._Sweep._granted, "not self.hall.are_neighbours(theirs)", "False"),
    (best._Sweep._granted, "if window is not None", "if False"),
    (best._Sweep._better_window, "if found >= 0:", "if False:"),
    (best._Sweep._better_window, "(image, position - 1)", "(image + 1, position - 1)"),
    (best._Sweep._better_window, "(position + 1, image - 1)", "(position + 1, image)"),
    (best._Sweep._not_together, "if found >= 0:", "if False:"),
    (best._Sweep._not_together, "< quantity:", "< 0:"),
    (best._Sweep._not_together, "self.place[high - 1] + 1)", "self.place[high - 1])"),
    (best._Sweep._map, "if wrong:", "if False:"),
    (best._Sweep.violations, "if not stay[record]:", "if True:"),
    (best._Sweep.violations, "states[self.ledger.kind == HELD] = halls.HELD", "pass"),
    (unplaced._Bounds.of, "first[told & ~back] = NEVER", "pass"),
    (
        unplaced._Bounds.of,
        "first = np.full(count, invoked[anywhere].min(initial=NEVER))",
        "first = np.full(count, NEVER)",
    ),
    (unplaced._Bounds.of, "can_take[candidates(case)] = True", "can_take |= m.possible"),
    (unplaced._compare, "returned < bounds.first[seen.seat]", "returned <= bounds.first[seen.seat]"),
    (unplaced._compare, "bounds.surely_to[seen.seat] > returned", "bounds.surely_to[seen.seat] < returned"),
    (unplaced._compare, "taken[seen.seat] < invoked", "taken[seen.seat] < -1"),
    (unplaced._all_were_free, "all_free = ~have_any", "all_free = False & have_any"),
    (unplaced._Evidence.__init__, "np.maximum.at(self.free", "np.minimum.at(self.free"),
    (unplaced._Evidence.__init__, "np.minimum.at(self.taken", "np.maximum.at(self.taken"),
    (hold_times._expired_in_the_ledger, "expired[here] + 1", "expired[here] + 2"),
    (hold_times._expired_in_the_ledger, "< due[hold[here]]", "<= due[hold[here]]"),
    (hold_times._refused_to_its_buyer, "maybe_ended > h.return_ns[rows]", "maybe_ended < 0"),
    (hold_times._sold_anew, "~same_rows(", "same_rows("),
    (hold_times._places_sold_to_others, "total > capacity", "total > capacity + 1"),
    (overlap.overlapping_pairs, "np.searchsorted(np.sort(returned), np.sort(invoke))", "0"),
    (overlap.check, "> _pairs_within(key, invoke, returned)", "> -1"),
]


@pytest.fixture(scope="module")
def cases() -> list[Recorded | Posed]:
    drawn = (posed(seed, tier) for tier in TIERS for seed in range(SEEDS))
    return [
        *recorded(),
        NothingListed(HISTORIES / "valid" / "numbers_alone"),
        *(case for case in drawn if case is not None),
    ]


class Recorded:
    """A recorded history that can be read, with the verdict and the violation that are due."""

    def __init__(self, folder: Path) -> None:
        about = folder / "about.json"
        told = json.loads(about.read_text()) if about.exists() else {}
        self.due, self.named, self.capacity = folder.parent.name, told.get("violation"), capacity_of(folder)
        self.history = read_history(next(folder.glob("history.jsonl*")))
        self.audits = {audit.event: audit for audit in map(read_audit, sorted(folder.glob("audit*.jsonl*")))}

    def disagreement(self) -> str | None:
        verdict = judge(self.history, self.audits, capacity=self.capacity)
        named = {violation for result in verdict.checks for violation in result.violations}
        if verdict.verdict != self.due or (self.named is not None and self.named not in named):
            return f"{verdict.verdict}, where {self.due} was due: {verdict.why}"
        return None


class NothingListed(Recorded):
    """A history whose service lists no order after it."""

    def disagreement(self) -> str | None:
        lists = {event: orders.OrderList(event=event, orders=[]) for event in self.history.events}
        verdict = judge(self.history, {}, capacity=self.capacity, order_lists=lists)
        return None if verdict.verdict == "invalid" else f"{verdict.verdict}, where invalid was due: {verdict.why}"


def recorded() -> Iterator[Recorded]:
    for folder in sorted(HISTORIES.glob("*/*")):
        with contextlib.suppress(HistoryError):
            yield Recorded(folder)


def somebody_notices(cases: list[Recorded | Posed]) -> bool:
    return any(case.disagreement() is not None for case in cases)


@pytest.mark.slow
def test_nobody_complains_of_the_checker_as_it_is(cases: list[Recorded | Posed]) -> None:
    assert not somebody_notices(cases)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("function", "right", "wrong"),
    [pytest.param(*bug, id=f"{bug[0].__qualname__}: {bug[2] or bug[1]}") for bug in PLANTED],
)
def test_a_planted_bug_is_noticed(
    function: Callable[..., Any], right: str, wrong: str, cases: list[Recorded | Posed], monkeypatch: pytest.MonkeyPatch
) -> None:
    function = inspect.unwrap(getattr(function, "__func__", function))
    source = textwrap.dedent(inspect.getsource(function))
    assert source.count(right) == 1
    scope: dict[str, Any] = {}
    changed = source.replace(right, wrong).replace("@classmethod\n", "")
    exec(compile("from __future__ import annotations\n" + changed, "planted", "exec"), function.__globals__, scope)
    monkeypatch.setattr(function, "__code__", scope[function.__name__].__code__)
    assert somebody_notices(cases)


@pytest.mark.slow
@pytest.mark.parametrize("name", ACROSS)
def test_a_check_of_all_events_left_out_is_noticed(
    name: str, cases: list[Recorded | Posed], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(checks.ACROSS, name, lambda history, audits, lists: findings.Findings())
    assert somebody_notices(cases)


@pytest.mark.slow
@pytest.mark.parametrize("name", CHECKS)
def test_a_check_left_out_is_noticed(name: str, cases: list[Recorded | Posed], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(checks.CHECKS, name, lambda case, placement: findings.Findings())
    assert somebody_notices(cases)


@pytest.mark.slow
@pytest.mark.parametrize("violation", VIOLATIONS)
def test_a_violation_never_reported_is_noticed(
    violation: str, cases: list[Recorded | Posed], monkeypatch: pytest.MonkeyPatch
) -> None:
    add = findings.Findings.add

    def all_but_one(self: findings.Findings, name: str, *rest: Any, **more: Any) -> None:
        if name != violation:
            add(self, name, *rest, **more)

    monkeypatch.setattr(findings.Findings, "add", all_but_one)
    assert somebody_notices(cases)
