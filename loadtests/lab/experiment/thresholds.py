"""Thresholds: what a run must keep to beside being right, as ``p99 > 500ms`` says when it has failed.

A threshold that is missed is exit status 3, so that nobody takes it for a wrong sale; an invalid or unknown verdict is
more, and its status stays.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

from loadtests.lab.experiment.measurement import quantile
from loadtests.lab.history.arrays import one_of
from loadtests.lab.history.history import BUY, CONFIRM, FAIL, OK, TICKETS_REFUSED, UNKNOWN
from loadtests.lab.history.operations import Operations

EXIT_MISSED = 3

_QUANTILE = re.compile(r"p([0-9]{1,2}(?:\.[0-9]+)?)")
_THRESHOLD = re.compile(r"\s*([a-z_]+|p[0-9.]+)\s*(<=|>=|<|>)\s*([0-9]+(?:\.[0-9]+)?)\s*(ms|s|%|/s)?\s*")
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt, ">": operator.gt, "<=": operator.le, ">=": operator.ge,
}  # fmt: skip
_IN_MS = {"ms": 1.0, "s": 1000.0}


def _share(run: Operations, *outcomes: int) -> float:
    """Percent of the purchases with one of these outcomes."""
    purchases = one_of(run.op, BUY, CONFIRM)
    count = int(purchases.sum())
    return 100.0 * int((purchases & one_of(run.outcome, *outcomes)).sum()) / count if count else 0.0


def _a_second(run: Operations, outcome: int) -> float:
    rows = np.flatnonzero(one_of(run.op, BUY, CONFIRM) & (run.outcome == outcome) & run.returned)
    took_s = (run.return_ns[rows].max() - run.invoke_ns[rows].min()) / 1e9 if len(rows) else 0.0
    return len(rows) / took_s if took_s else 0.0


SHARES: dict[str, Callable[[Operations], float]] = {
    "errors": lambda run: _share(run, FAIL, UNKNOWN),
    "unknown": lambda run: _share(run, UNKNOWN),
    "refused": lambda run: _share(run, *TICKETS_REFUSED),
}
RATES: dict[str, Callable[[Operations], float]] = {
    "sold": lambda run: _a_second(run, OK),
}
ALLOWED = (
    "p50, p99, p99.9 … with ms or s (how long acknowledged purchases took); "
    f"{', '.join(SHARES)} with % (of all purchases); {', '.join(RATES)} with /s (purchases)"
)


class Threshold(NamedTuple):
    """One condition under which a run has failed."""

    text: str
    measure: str
    compare: str
    limit: float

    def missed(self, run: Operations) -> str:
        """Why the run has failed by this threshold, with what was measured; empty where it has not.

        A percentile of nothing is no failure by itself: the verdict says that nothing was sold.
        """
        quantile_of = _QUANTILE.fullmatch(self.measure)
        if quantile_of is None:
            value, unit = ({**SHARES, **RATES})[self.measure](run), "%" if self.measure in SHARES else "/s"
        else:
            bought = run.sales[run.op[run.sales] == BUY]
            found = quantile(run.latency_ms[bought], float(quantile_of[1]) / 100)
            if found is None:
                return ""
            value, unit = found, " ms"
        return (
            f"{self.text}: {self.measure} was {value:,.4g}{unit}" if _COMPARE[self.compare](value, self.limit) else ""
        )


def read_threshold(text: str) -> Threshold:
    """A threshold out of a text like ``p99 > 500ms``. Raises ValueError with what is allowed."""
    found = _THRESHOLD.fullmatch(text)
    wrong = ValueError(f"{text!r} is no threshold like 'p99 > 500ms' or 'errors > 1%'. There are {ALLOWED}.")
    if found is None:
        raise wrong
    measure, compare, number, unit = found.groups()
    limit = float(number)
    if _QUANTILE.fullmatch(measure) and unit in _IN_MS:
        return Threshold(text.strip(), measure, compare, limit * _IN_MS[unit])
    if (measure in SHARES and unit == "%") or (measure in RATES and unit == "/s"):
        return Threshold(text.strip(), measure, compare, limit)
    raise wrong


def missed(thresholds: Iterable[Threshold], run: Operations) -> list[str]:
    """The thresholds that a run has missed, each with what was measured."""
    return [said for each in thresholds if (said := each.missed(run))]
