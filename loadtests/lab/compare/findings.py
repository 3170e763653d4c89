"""The matrix in words: which combinations lose orders, the fastest right one, what a worker class is worth.

An answer says no more than was measured: *no violation found in 12 sales*, never that something is right; and two
rates whose intervals overlap are not told apart.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import msgspec

from loadtests.lab.bench.paired import Interval, quotient_interval
from loadtests.lab.compare.matrix import DELAYS, NO_DELAY
from loadtests.lab.compare.results import Found, Results, grouped
from loadtests.lab.experiment.expectation import Met
from loadtests.lab.report.text import counted
from service.catalogue import OFF


class AnswerSentences(msgspec.Struct, kw_only=True):
    """Sentences, under the question that each answers."""

    wrong: list[str]
    fastest: list[str]
    worth: list[str]
    notes: list[str]
    """Notes for the reader of the rest; the alarming ones begin with ``!``."""


def answers(results: Results) -> AnswerSentences:
    return AnswerSentences(
        wrong=_wrong(results.found),
        fastest=_fastest(results.found),
        worth=_worth(results),
        notes=_notes(results),
    )


# -- which combinations lose orders -----------------------------------------------------------------------------------


def _wrong(found: Sequence[Found]) -> list[str]:
    said = [_guard_went_wrong(guard, mine) for guard, mine in grouped(found, lambda each: each.cell.guard).items()]
    right = [each for each in found if each.right]
    if right:
        guards = ", ".join(f"`{guard}`" for guard in dict.fromkeys(each.cell.guard for each in right))
        sales = counted(sum(each.sales for each in right), "sale")
        said.append(
            f"No violation was found in {sales} of {counted(len(right), 'cell')} in which a guard keeps the purchases "
            f"apart: {guards}; {sum(each.acknowledged for each in right):,} tickets."
        )
    return [each for each in said if each]


def _guard_went_wrong(guard: str, found: Sequence[Found]) -> str:
    wrong = [each for each in found if each.verdict == "invalid"]
    if not wrong:
        return ""
    lost, oversold = sum(each.lost or 0 for each in wrong), sum(each.oversold for each in wrong)
    said = (
        f"`{guard}` went wrong in {len(wrong)} of {counted(len(found), 'cell')}: {oversold:,} tickets too many, "
        f"{lost:,} acknowledged orders lost."
    )
    if len(wrong) == len(found):
        return said
    told_apart = _what_tells_apart(wrong, [each for each in found if each not in wrong])
    lucky = [each for each in found if each.by_luck]
    if told_apart:
        said += f" It did {told_apart}."
    if lucky:
        said += f" By luck it did not in {_list([each.cell.spelled for each in lucky])}."
    return said


def _what_tells_apart(wrong: Sequence[Found], right: Sequence[Found]) -> str:
    """Names the number of processes if it alone separates wrong cells from right ones."""
    if all(each.cell.processes > 1 for each in wrong) and all(each.cell.processes == 1 for each in right):
        return "with several processes and did not within one"
    return ""


# -- the fastest right one --------------------------------------------------------------------------------------------


def _fastest(found: Sequence[Found]) -> list[str]:
    said = []
    for think, of_think in grouped(found, lambda each: each.cell.think).items():
        for worker, mine in grouped(of_think, lambda each: each.cell.worker).items():
            right = [each for each in mine if each.right]
            if right:
                said.append(_fastest_of(worker, think, right))
    return said


def _fastest_of(worker: str, think: str, right: Sequence[Found]) -> str:
    best = max(right, key=lambda each: each.sold_per_s.median)
    where = "" if think == NO_DELAY else f" when a purchase {DELAYS[think]}"
    said = f"{worker}{where}: {best.cell.pair} ({best.shape}), {rate_of(best)}"
    if len(right) == 1:
        return said + ", the only right one that was measured."
    ties = [each for each in right if each is not best and each.sold_per_s.high >= best.sold_per_s.low]
    if best.sales < 2:
        return said + f", of {len(right)}; held only once, so others may be as fast."
    if ties:
        names = _list([f"{each.cell.pair} ({each.shape})" for each in ties])
        return said + f", of {len(right)}; not told apart from {names}."
    return said + f", of {len(right)}."


# -- what a worker class is worth -------------------------------------------------------------------------------------


def _worth(results: Results) -> list[str]:
    said = []
    for think in ("io", "cpu"):
        alone = _compared(results, think, lambda each: each.cell.guard == OFF)
        if alone:
            said.append(f"When a purchase {DELAYS[think]} {results.shape.think_ms:g} ms, without a guard: {alone}.")
        guarded = _compared(results, think, lambda each: each.right)
        if alone and guarded:
            said.append(f"The same behind a guard: {guarded}.")
    said += _why_they_differ(*(_spread(results.found, think) for think in ("io", "cpu")))
    return said


def _why_they_differ(io: float, cpu: float) -> list[str]:
    """The factors; and the explanation, where it fits them."""
    if not io or not cpu:
        return []
    said = (
        f"Without a guard the worker classes differ by a factor of {io:.1f} where a purchase waits, and of {cpu:.1f} "
        "where it computes"
    )
    if io <= cpu:
        return [said + ". One expects the contrary: was the machine busy with something else?"]
    return [
        said
        + ": a thread or greenlet that sleeps lets others go on, one that computes does not. A purchase that waits "
        "inside a guard that excludes makes the others wait too, whatever the worker class."
    ]


def _compared(results: Results, think: str, chosen: Callable[[Found], bool]) -> str:
    """Each worker class against the first, on the one pair of store and guard of which most were measured."""
    mine = [each for each in results.found if each.cell.think == think and chosen(each)]
    most: dict[tuple[str, str], dict[str, Found]] = {}
    for each in mine:
        of_pair = most.setdefault((each.cell.store, each.cell.guard), {})
        before = of_pair.get(each.cell.worker)
        if before is None or each.cell.processes > before.cell.processes:
            of_pair[each.cell.worker] = each
    pair = max(most.values(), key=len, default={})
    if len(pair) < 2:
        return ""
    first, *others = pair.values()
    parts = [f"{first.shape} {rate_of(first)}"]
    for each in others:
        times = quotient_interval(each.rates, first.rates, results.shape.seed) if all(first.rates) else None
        parts.append(f"{each.shape} {rate_of(each)}" + (f", {_times(times)} {first.shape}" if times else ""))
    return f"{first.cell.pair}: " + "; ".join(parts)


def _spread(found: Sequence[Found], think: str) -> float:
    """The fastest worker class against the slowest, without a guard, with the same store and their own processes."""
    mine = [each for each in found if each.cell.think == think and each.cell.guard == OFF]
    if not mine:
        return 0.0
    stores = grouped(mine, lambda each: each.cell.store)
    best: dict[str, float] = {}
    for each in max(stores.values(), key=len):
        if each.cell.processes > 1:
            best[each.cell.worker] = max(best.get(each.cell.worker, 0.0), each.sold_per_s.median)
    return max(best.values()) / min(best.values()) if len(best) > 1 and min(best.values()) else 0.0


# -- notes ------------------------------------------------------------------------------------------------------------


def _notes(results: Results) -> list[str]:
    said = [
        f"! {each.cell.spelled}: its guard should have been {each.expected}, and it was {each.verdict}"
        for each in results.found
        if each.met != Met.YES.value
    ]
    for why, failed in grouped((each for each in results.missing if each.failed), lambda each: each.why).items():
        said.append(f"! not measured: {_list([each.cell.spelled for each in failed])}: {first_line(why)}")
    for why, others in grouped((each for each in results.missing if not each.failed), lambda each: each.why).items():
        said.append(f"{counted(len(others), 'cell')} not measured: {why}.")
    slow = [each for each in results.found if each.slow_load]
    if slow:
        said.append(
            f"In {counted(len(slow), 'cell')} the load generator was the bottleneck (≥): the rates are lower bounds, "
            "and those cells are not to be told apart from each other."
        )
    once = [each for each in results.found if each.sales == 1]
    if once:
        said.append(f"{counted(len(once), 'cell')} held only once: a rate without an interval is a hint.")
    return said


def first_line(text: str) -> str:
    """The line of a long reason that says why: a refusal of the service at the end of its log, else its first line."""
    refused = re.findall(r"^.*(?:cannot|refuse|LASTSEAT_).*$", text, re.MULTILINE)
    lines = [line for line in text.splitlines() if line.strip()] or ["no reason was given"]
    return (refused[-1] if refused else lines[0]).strip().rstrip(".:")


# -- words ------------------------------------------------------------------------------------------------------------


def rate_of(found: Found) -> str:
    """``1,234/s [1,200, 1,300]``; ``≥`` where the load generator was the bottleneck."""
    rate, more = found.sold_per_s, "≥ " if found.slow_load else ""
    interval = f" [{rate.low:,.0f}, {rate.high:,.0f}]" if found.sales > 1 else ""
    return f"{more}{rate.median:,.0f}/s{interval}"


def _times(ratio: Interval) -> str:
    return f"{ratio.median:.1f} [{ratio.low:.1f}, {ratio.high:.1f}] times"


def _list(names: Sequence[str], most: int = 6) -> str:
    shown = list(names[:most]) + ([f"{len(names) - most} more"] if len(names) > most else [])
    return "; ".join(shown)
