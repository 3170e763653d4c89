"""How long it takes after a fault until service is as it was before, from the history alone; and whether it was fair.

A fault that heals itself, as a killed worker that is started anew, ends with its injection.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from loadtests.lab.experiment.fairness import by_event, bypass_counts
from loadtests.lab.faults.happened import Happened
from loadtests.lab.history.arrays import Ints
from loadtests.lab.history.history import BUY
from loadtests.lab.history.operations import Operations
from loadtests.lab.history.shards import rounds_of

WINDOW_S = 0.5
"""The rate after a fault is that of a time so long, which begins with a sale."""
BEFORE_S = 5.0
"""The rate before it is that of this time at most, and of ``WINDOW_S`` at least."""
AS_BEFORE = 0.9
_S = 1e9


class Recovery(msgspec.Struct, frozen=True):
    """The course of one fault, in seconds. None where the sale was over before, or had hardly begun."""

    name: str
    first_sale_s: float | None
    """From its end to the next sale."""
    as_before_s: float | None
    """From its end until 90 % of the rate before it is reached."""
    stood_still_s: float | None
    """The longest time without a sale, from its injection to the next sale after its end."""
    overtaken_max: int | None
    """The most purchases that were sent later than one and decided earlier, among those sent after its end."""

    @property
    def words(self) -> str:
        still, first, before = map(_seconds, (self.stood_still_s, self.first_sale_s, self.as_before_s))
        return f"longest time without a sale {still}, first sale after it {first}, 90 % of the rate before {before}"


def recoveries(run: Operations, happened: Sequence[Happened]) -> list[Recovery]:
    """The recovery from each fault that was injected in a round of the history."""
    found = []
    for fault in happened:
        for rows in _rounds(run):
            ended = max(run.invoke_ns[rows].max(), run.return_ns[rows].max())
            if run.invoke_ns[rows].min() <= fault.begin_ns <= ended:
                found.append(_recovery(run, run.sales[np.isin(run.sales, rows)], fault))
    return found


def _rounds(run: Operations) -> list[Ints]:
    """The rows of each round, one after another; a round may have two events."""
    rounds: dict[str, list[Ints]] = {}
    for event, rows in run.events():
        [name] = rounds_of([event])
        rounds.setdefault(name, []).append(rows)
    return [np.concatenate(rows) for rows in rounds.values()]


def _recovery(run: Operations, sold: Ints, fault: Happened) -> Recovery:
    """The recovery from a fault; ``sold`` are the sales of its round."""
    times = np.sort(run.return_ns[sold])
    after = times[times > fault.end_ns]
    during = times[(times > fault.begin_ns) & (times <= fault.end_ns)]
    gaps = np.diff(np.concatenate(([fault.begin_ns], during, after[:1])))
    rest = sold[(run.invoke_ns[sold] > fault.end_ns) & (run.op[sold] == BUY) & (run.version[sold] >= 0)]
    overtaken = [int(bypass_counts(run.invoke_ns[here], run.version[here]).max()) for here in by_event(run, rest)]
    return Recovery(
        name=fault.name,
        first_sale_s=_rounded((after[0] - fault.end_ns) / _S) if len(after) else None,
        as_before_s=_as_before_s(times, after, fault),
        stood_still_s=_rounded(gaps.max() / _S) if len(after) else None,
        overtaken_max=max(overtaken, default=None),
    )


def _as_before_s(times: Ints, after: Ints, fault: Happened) -> float | None:
    before = times[(times > fault.begin_ns - BEFORE_S * _S) & (times <= fault.begin_ns)]
    if not len(before) or fault.begin_ns - before[0] < WINDOW_S * _S:
        return None
    wanted = AS_BEFORE * len(before) / (fault.begin_ns - before[0]) * WINDOW_S * _S
    sold = np.searchsorted(after, after + WINDOW_S * _S) - np.arange(len(after))
    [reached] = np.nonzero(sold >= wanted)
    return _rounded((after[reached[0]] - fault.end_ns) / _S) if len(reached) else None


def _rounded(seconds: float) -> float:
    return round(float(seconds), 3)


def _seconds(value: float | None) -> str:
    return "not seen" if value is None else f"{value:.2f} s"
