"""The parts of the checker, each against its definition written out naively; and how verdicts compose."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loadtests.lab import checks
from loadtests.lab.checks import CHECKS, judging
from loadtests.lab.checks.case.lifetimes import FOREVER, Lifetimes, range_maximum
from loadtests.lab.checks.case.occupancy import Occupancy
from loadtests.lab.checks.files import judge_folder
from loadtests.lab.checks.findings import Findings
from loadtests.lab.checks.judging import judge
from loadtests.lab.checks.ordering.real_time import missed_deadlines
from loadtests.lab.checks.overlap import overlapping_pairs
from loadtests.lab.checks.verdict import CheckResult, EventCounts, Verdict, worst
from loadtests.lab.history.arrays import Ragged, lookup
from loadtests.lab.history.audit import EXPIRED
from loadtests.lab.history.history import (
    CONFIRM,
    HOLD,
    RELEASE,
    UNKNOWN,
    Audit,
    History,
    read_audit,
    read_history,
)
from loadtests.lab.history.synthetic import draw, write
from tests.loadtests.checks.recorded import audited, numbered, versioned

SEEDS = range(200)


def judged(run: Any, **options: Any) -> Verdict:
    audits = {event: Audit.of(lines) for event, lines in run.audits.items()}
    return judge(History.of(run.lines), audits, capacity=run.capacity, **options)


@pytest.mark.parametrize("verdicts", list(itertools.permutations(("valid", "unknown", "invalid"))))
def test_the_worst_verdict_wins(verdicts: tuple[Any, ...]) -> None:
    assert worst(verdicts) == "invalid"
    assert worst(verdict for verdict in verdicts if verdict != "invalid") == "unknown"


def test_no_verdicts_at_all_are_valid() -> None:
    assert worst([]) == "valid"


def test_a_check_that_crashes_is_unknown_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: object) -> Findings:
        raise ZeroDivisionError("oops")

    monkeypatch.setitem(checks.CHECKS, "replay", crash)
    verdict = judged(audited())
    assert verdict.verdict == "unknown"
    assert "the check crashed: ZeroDivisionError('oops')" in verdict.why
    assert [result.name for result in verdict.checks if result.verdict == "unknown"] == ["replay"]


def test_a_violation_wins_over_a_check_that_crashes(monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: object) -> Findings:
        raise ZeroDivisionError

    monkeypatch.setitem(checks.CHECKS, "replay", crash)
    run = audited()
    run.read(0)["remaining"] = 5
    assert judged(run).verdict == "invalid"


def test_events_that_cannot_be_prepared_are_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "prepare", None)
    verdict = judged(audited())
    assert verdict.verdict == "unknown"
    assert "preparing it crashed" in verdict.why


def test_the_counts_are_from_the_buyers_answers() -> None:
    honest = judged(audited()).events["show"]
    assert honest == EventCounts(6, acknowledged=3, oversold=0, double_booked=0, lost=0, tier="A")
    run = audited()
    run.audits["show"][0]["versions"] -= 6
    del run.audits["show"][14:]  # all from the sale of ticket 14 on
    run.add(op="buy", invoke=5000, returned=6000, key="x", quantity=3, order="o9", tickets=[14, 15, 16])
    run.capacity = 5
    verdict = judged(run)
    assert (verdict.acknowledged, verdict.oversold, verdict.lost, verdict.double_booked) == (6, 1, 2, 1)


def test_losses_are_unknown_without_an_audit() -> None:
    assert judged(versioned()).lost is None


@pytest.mark.parametrize(("run", "tier"), [(audited(), "A"), (versioned(), "A"), (numbered(), "B")])
def test_the_verdict_names_the_tier(run: Any, tier: str) -> None:
    verdict = judged(run)
    assert (verdict.verdict, verdict.tier) == ("valid", tier)
    assert ("carry no versions" in verdict.why) == (tier == "B")


def test_checks_that_have_nothing_to_look_at_are_left_out() -> None:
    names = [result.name for result in judged(audited()).checks]
    assert "counters" not in names
    assert set(names) < set(CHECKS)


def test_a_violation_without_a_name_is_refused() -> None:
    with pytest.raises(ValueError, match="not a violation that has a name"):
        Findings().add("nonsense", np.array([1]), lambda _: ("", [], []))


def test_a_witness_is_the_first_and_the_worst() -> None:
    run = audited()
    run.read(0)["remaining"] = 5
    run.read(1)["remaining"] = 2
    run.read(2)["remaining"] = 0
    result = next(result for result in judged(run).checks if result.name == "observers")
    assert result.violations == {"wrong read": 3}
    assert [witness.operations[0].line for witness in result.witness] == [2, 28]


def test_an_inversion_is_witnessed_by_its_pair() -> None:
    run = audited()
    run.read(1).update(invoke_ns=3650, return_ns=3699)
    result = next(result for result in judged(run).checks if result.name == "real time")
    (witness,) = result.witness
    assert [(operation.op, operation.key) for operation in witness.operations] == [("read", None), ("release", "p")]


def test_an_oversell_is_witnessed_by_the_sale_that_crossed_and_the_twins() -> None:
    run = versioned()
    run.lines = [run.line("a"), run.line("b"), run.line("c")]
    run.line("c").update(outcome="ok", order="o9", tickets=[4], version=2, remaining=0)
    result: CheckResult = judged(run).checks[0]
    witness = next(witness for witness in result.witness if witness.violation == "oversold")
    assert result.violations["oversold"] == 1
    assert [operation.key for operation in witness.operations] == ["c", "b", "c"]


def test_events_are_judged_by_themselves_and_the_worst_wins() -> None:
    run = audited()
    run.lines += [{**line, "event": "late", "process": line["process"] + 500} for line in versioned().lines]
    verdict = judge(History.of(run.lines), {"show": Audit.of(run.audits["show"])})
    assert verdict.verdict == "unknown"
    assert "event late: the capacity is unknown" in verdict.why
    run.read(0)["remaining"] = 5
    assert judge(History.of(run.lines), {"show": Audit.of(run.audits["show"])}).verdict == "invalid"


def test_an_audit_of_an_event_that_nobody_visited_is_unknown() -> None:
    run = audited()
    other = Audit.of([{**run.audits["show"][0], "event": "late"}, *run.audits["show"][1:]])
    verdict = judge(History.of(run.lines), {"show": Audit.of(run.audits["show"]), "late": other})
    assert verdict.verdict == "unknown"
    assert "no operation of it in the history" in verdict.why


def test_missed_deadlines_are_the_pairs_of_the_definition() -> None:
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        asked_at, answered_at = rng.integers(0, 6, 5), rng.integers(0, 6, 6)
        invoke, returned = rng.integers(0, 8, 5), rng.integers(0, 8, 6)
        late, ahead = missed_deadlines(asked_at, invoke, answered_at, returned)
        expected = [
            y for y in range(6) if any(asked_at[x] < answered_at[y] and returned[y] < invoke[x] for x in range(5))
        ]
        assert late.tolist() == expected
        assert all(asked_at[x] < answered_at[y] and returned[y] < invoke[x] for y, x in zip(late, ahead, strict=True))


def test_overlapping_pairs_are_counted() -> None:
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        invoke = rng.integers(0, 9, 6)
        returned = invoke + rng.integers(0, 4, 6)
        pairs = itertools.combinations(range(6), 2)
        expected = sum(invoke[i] <= returned[j] and invoke[j] <= returned[i] for i, j in pairs)
        assert overlapping_pairs(invoke, returned) == expected


def test_a_range_maximum_is_the_maximum_of_the_range() -> None:
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        values = rng.integers(-1, 9, rng.integers(1, 20))
        low, high = rng.integers(0, len(values) + 1, (2, 30))
        expected = [max(values[a:b], default=-1) for a, b in zip(low, high, strict=True)]
        assert range_maximum(values, low, high).tolist() == expected


def test_lookup_finds_the_first_of_equal_ids_and_no_negative_one() -> None:
    ids, values = np.array([5, -1, 3, 5]), np.array([10, 20, 30, 40])
    assert lookup(ids, values, np.array([5, 3, 4, -1]), -7).tolist() == [10, 30, -7, -7]


def test_a_lifetime_ends_at_the_first_close_after_its_opening() -> None:
    ids = np.array([1, 1, 1, 2, 1, -1])
    opens = np.array([False, True, False, True, False, True])
    closes = np.array([True, False, True, False, True, False])
    lifetimes = Lifetimes.of(ids, opens, closes)
    assert lifetimes.opened.tolist() == [1, 3]
    assert lifetimes.closed.tolist() == [2, FOREVER]
    assert lifetimes.wrongly.tolist() == [0, 4]
    assert lifetimes.open_after(np.array([1, 1, 1, 2, 9]), np.array([1, 2, 3, 4, 4])).tolist() == [
        False, True, False, True, False,
    ]  # fmt: skip


def shop(*, versions: bool, more: bool = False) -> list[dict[str, Any]]:
    """Two buyers of a counter at once, and a read after them that may show a version."""
    sales = [
        {"process": n, "op": "buy", "event": "e", "key": f"k{n}", "quantity": 1, "invoke_ns": n, "return_ns": 10 + n}
        | {"outcome": "ok"}
        for n in range(2)
    ]
    if more:
        sales[0]["version"] = 1
    read = {"process": 9, "op": "read", "event": "e", "invoke_ns": 30, "return_ns": 40, "outcome": "ok", "remaining": 3}
    return [*sales, read | ({"version": 2} if versions else {})]


def test_a_version_in_reads_alone_does_not_weaken_the_verdict() -> None:
    assert judge(History.of(shop(versions=False)), {}, capacity=5).verdict == "valid"
    verdict = judge(History.of(shop(versions=True)), {}, capacity=5)
    assert (verdict.verdict, verdict.tier) == ("valid", "C")
    assert "they were left out" in verdict.why
    assert judge(History.of(shop(versions=True, more=True)), {}, capacity=5).verdict == "unknown"


def test_a_sale_that_no_read_came_before_is_said_without_a_moment() -> None:
    lines = shop(versions=False)
    lines[2] |= {"remaining": 2, "invoke_ns": 5, "return_ns": 8}
    [text] = [
        w.text for check in judge(History.of(lines), {}, capacity=5).checks for w in check.witness if w.operations
    ][:1]
    assert "-" not in text
    assert "sale number 3 took effect before 0.000 ms" in text


@pytest.mark.parametrize(
    ("cancelled", "outcome", "twice"),
    [(None, "ok", True), (12, "ok", False), (12, "unknown", False), (40, "ok", True), (12, "refused", True)],
)
def test_a_number_that_is_sold_again_after_it_was_given_back_is_not_double_booked(
    cancelled: int | None, outcome: str, twice: bool
) -> None:
    lines: list[dict[str, Any]] = [
        {"process": 1, "op": "buy", "key": "a", "outcome": "ok", "invoke_ns": 1, "return_ns": 9, "order": "o1"},
        {"process": 2, "op": "buy", "key": "b", "outcome": "ok", "invoke_ns": 20, "return_ns": 30, "order": "o2"},
    ]
    lines = [line | {"event": "e", "quantity": 1, "tickets": [7]} for line in lines]
    if cancelled is not None:
        back = {"process": 3, "op": "cancel", "key": "c", "order": "o1", "event": "e", "invoke_ns": cancelled}
        lines.append(back | {"outcome": outcome, "return_ns": None if outcome == "unknown" else cancelled + 2})
    verdict = judge(History.of(lines), {}, capacity=9)
    assert (verdict.double_booked, verdict.verdict == "invalid") == (int(twice), twice)


def test_a_drawn_history_has_what_was_asked_for_and_is_valid_until_a_record_is_lost(tmp_path: Path) -> None:
    history, audit = write(tmp_path, draw(20_000, 50, seed=1, holds=0.1, retries=0.03, unknown=0.02))
    h, kinds = read_history(history), read_audit(audit).kind
    assert (h.outcome == UNKNOWN).mean() == pytest.approx(0.02, abs=0.005)
    assert (h.op == HOLD).mean() == pytest.approx(0.1, abs=0.01)
    rare = (h.op == CONFIRM, h.op == RELEASE, kinds == EXPIRED, h.attempt == 2, h.replayed == 1)
    assert all(each.sum() > 100 for each in rare)
    assert judge_folder(tmp_path).verdict == "valid"
    lines = audit.read_text().splitlines(keepends=True)
    audit.write_text("".join(lines[:5000] + lines[5001:]))
    assert judge_folder(tmp_path).verdict == "invalid"


def test_a_seat_is_taken_as_the_intervals_say() -> None:
    """Also where they overlap, as under no guard they may."""
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        count, records = int(rng.integers(1, 6)), 9
        opened = rng.choice(records, count, replace=False)
        closed = np.array([rng.choice([*range(at + 1, records), FOREVER]) for at in opened])
        seats = Ragged.of([rng.choice(4, 2, replace=False).tolist() for _ in range(records)])
        lifetimes = Lifetimes(np.arange(count), opened, closed, opened[:0], opened[:0])
        nameless = np.setdiff1d(np.arange(records), opened)[:1]
        occupancy = Occupancy.of(seats, nameless, lifetimes)
        intervals = [*zip(opened.tolist(), closed.tolist(), strict=True), *((int(at), FOREVER) for at in nameless)]

        def owners(seat: int, after: int, *, intervals: Any = intervals, seats: Ragged = seats) -> int:
            return sum(seat in seats.row(at) and at < after <= end for at, end in intervals)

        for after in range(records + 1):
            for seat in range(4):
                assert occupancy.taken_after(np.array([seat]), np.array([after])) == (owners(seat, after) > 0)
            within = sum(owners(seat, after) for seat in (1, 2))
            assert occupancy.taken_in(1, 3, np.array([after])).tolist() == [within]
        found = {(int(occupancy.seat[at]), int(occupancy.opened[at])) for at in occupancy.overlaps()}
        assert found == {
            (seat, at)
            for at, _ in intervals
            for seat in seats.row(at)
            if any(seat in seats.row(other) and other < at < end for other, end in intervals)
        }
        for at in occupancy.overlaps().tolist():
            earlier = occupancy.earlier(at)
            assert occupancy.seat[earlier] == occupancy.seat[at]
            assert occupancy.opened[earlier] < occupancy.opened[at] < occupancy.closed[earlier]
