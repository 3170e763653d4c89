"""The anomalies of a sale, by the names that the tables use, from the violations of a verdict."""

from __future__ import annotations

from loadtests.lab.checks.verdict import Verdict, Witness

ANOMALIES: dict[str, str] = {
    "oversold": "more tickets were acknowledged than there are",
    "lost": "an acknowledged order is missing from the audit: its write was overwritten",
    "double-booked": "one ticket number was acknowledged to two buyers",
    "false sold-out": "tickets were refused that were there at the version that the refusal names",
    "stale": "an answer that changed nothing (a read, a refusal) shows a state from before one that had been answered "
    "when it was asked",
    "inversion": "a mutation is ordered ahead of one that had been answered before it was even asked",
}

_BY_VIOLATION = {
    "oversold": "oversold",
    "lost sale": "lost",
    "double-booked": "double-booked",
    "false sold-out": "false sold-out",
}
_INVERSION = "inversion"


def anomalies_of(verdict: Verdict) -> dict[str, int]:
    """The anomalies of a verdict and how often; a violation that none of them names stands under its own name.

    An inversion is *stale* where the late operation changed nothing. The verdict explains the first and the worst
    of all inversions, not each, so their count stands under what those two were.
    """
    found: dict[str, int] = {}
    for check in verdict.checks:
        for violation, count in check.violations.items():
            names = [_BY_VIOLATION.get(violation, violation)]
            if violation == _INVERSION:
                names = sorted({_kind(witness) for witness in check.witness if witness.violation == _INVERSION})
            for name in names:
                found[name] = found.get(name, 0) + count
    return found


def _kind(witness: Witness) -> str:
    """Stale or an inversion, by the operation that is ordered ahead though it was asked too late: the second."""
    last = witness.operations[-1]
    return "inversion" if last.outcome == "ok" and last.op != "read" else "stale"
