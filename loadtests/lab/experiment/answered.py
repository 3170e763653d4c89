"""What was answered: purchases by outcome and by HTTP status, and what that says about a verdict.

A verdict is about the answers that were understood. Where most were not, or where the last ticket was never reached,
*valid* would say more than is known.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import numpy as np

from loadtests.lab.history.arrays import ABSENT, one_of
from loadtests.lab.history.history import BUY, CONFIRM, HOLD, OK, OUTCOMES, SOLD_OUT, TICKETS_REFUSED, UNKNOWN
from loadtests.lab.history.operations import Operations

WORTH_SAYING = 0.05
"""From this share of unknown outcomes on, a verdict says little, and that is said."""
_SHOWN = 4
_UNDERSTOOD = {OUTCOMES[outcome] for outcome in (OK, *TICKETS_REFUSED)}


class AnswerCounts(msgspec.Struct, frozen=True, kw_only=True):
    """The purchases of a run, retries included: how many had which outcome, and which HTTP status those that were no
    sale and no refusal had (``none``: no answer came)."""

    purchases: int = 0
    outcomes: dict[str, int] = {}
    statuses: dict[str, dict[str, int]] = {}
    """Of the outcomes ``fail`` and ``unknown``: how many had which status."""
    held: int = 0
    """How often tickets were set aside: by a buyer who holds them, or by a purchase that stopped half way."""
    short: dict[str, tuple[int, int]] = {}
    """Events that were never sold out: tickets acknowledged, and how many there were."""

    @property
    def not_described(self) -> dict[str, int]:
        """Answers that came and have no meaning, by status: the outcome is unknown though there was an answer."""
        return {status: count for status, count in self.statuses.get("unknown", {}).items() if status != "none"}

    @property
    def unknown_share(self) -> float:
        """Which share of the purchases has an unknown outcome."""
        return self.outcomes.get("unknown", 0) / self.purchases if self.purchases else 0.0

    @property
    def says_nothing(self) -> str:
        """Why no verdict can be drawn from these answers, with what to change; empty where one can."""
        strange = sum(self.not_described.values())
        if self.purchases and 2 * strange > self.purchases:
            return (
                f"most answers are not described: {_with_status(self.not_described)} of {self.purchases:,} purchases. "
                "Say in [buy] what that status means: `ok`, `sold_out` or `definite`"
            )
        if self.held and not self.purchases:
            return f"no purchase came to its end: {self.held:,} were begun, and given back or left"
        if self.purchases and not _UNDERSTOOD & self.outcomes.keys():
            came = {status: count for each in self.statuses.values() for status, count in each.items()}
            return f"no purchase was answered with a sale or a refusal: {_with_status(came)}"
        return ""

    @property
    def lines(self) -> list[str]:
        """What was answered, for people; the first line is the purchases by outcome."""
        if not self.purchases:
            return [self.says_nothing] if self.held else []
        said = [f"{count:,} {outcome.replace('_', ' ')}{self._by(outcome)}" for outcome, count in self.outcomes.items()]
        lines = [f"{self.purchases:,} purchases: " + ", ".join(said)]
        for event, (sold, capacity) in self.short.items():
            where = f" in {event}" if len(self.short) > 1 else ""
            lines.append(
                f"never sold out{where}: {sold:,} of {capacity:,}; what happens at the last ticket was not seen"
            )
        if self.unknown_share >= WORTH_SAYING:
            lines.append(f"{self.unknown_share:.0%} of the purchases are unknown: the verdict says little about those")
        return lines

    def _by(self, outcome: str) -> str:
        by_status = self.statuses.get(outcome, {})
        return f" ({_with_status(by_status)})" if by_status else ""


def answered(run: Operations, capacities: Mapping[str, int | None], acknowledged: Mapping[str, int]) -> AnswerCounts:
    """What was answered in a run; ``capacities`` and ``acknowledged`` are by event, as the verdict has them."""
    rows = np.flatnonzero(one_of(run.op, BUY, CONFIRM))
    outcome, status = run.outcome[rows], run.status[rows]
    counts = {OUTCOMES[code]: int(count) for code, count in enumerate(np.bincount(outcome, minlength=5)) if count}
    statuses: dict[str, dict[str, int]] = {}
    for name in ("fail", "unknown"):
        of_it = status[outcome == OUTCOMES.index(name)]
        values, times = np.unique(of_it, return_counts=True)
        found = sorted(zip(times.tolist(), values.tolist(), strict=True), reverse=True)
        if found:
            statuses[name] = {("none" if value == ABSENT else str(value)): count for count, value in found}
    return AnswerCounts(
        purchases=len(rows),
        held=int((run.op == HOLD).sum()),
        outcomes=counts,
        statuses=statuses,
        short=_short(run, capacities, acknowledged),
    )


def _short(
    run: Operations, capacities: Mapping[str, int | None], acknowledged: Mapping[str, int]
) -> dict[str, tuple[int, int]]:
    """Events in which tickets were left, and nobody was ever refused one."""
    found = {}
    for event, rows in run.events():
        capacity, sold = capacities.get(event), acknowledged.get(event, 0)
        refused = (run.outcome[rows] == SOLD_OUT).any()
        maybe = int(((run.outcome[rows] == UNKNOWN) & one_of(run.op[rows], BUY, CONFIRM)).sum())
        if capacity is not None and sold + maybe < capacity and not refused and (run.outcome[rows] == OK).any():
            found[event] = (sold, capacity)
    return found


def _with_status(counts: Mapping[str, int]) -> str:
    """``640 with status 400, 3 without an answer``: the most frequent first."""
    most = sorted(counts.items(), key=lambda each: -each[1])
    said = [
        f"{count:,} without an answer" if status == "none" else f"{count:,} with status {status}"
        for status, count in most
    ]
    return ", ".join(said[:_SHOWN]) + (", …" if len(said) > _SHOWN else "")
