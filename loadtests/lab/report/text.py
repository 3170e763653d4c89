"""The verdict in plain words: for the terminal after a run, for locust's page, for the report."""

from __future__ import annotations

from loadtests.lab.checks import CheckResult, Verdict
from loadtests.lab.experiment.result import Conclusion
from loadtests.lab.paths import shown
from loadtests.lab.untrusted import printable

_MEANING = {
    "valid": "no violation found",
    "invalid": "the sale went wrong",
    "unknown": "undecided",
}


def headline(verdict: Verdict) -> str:
    """``valid: no violation found in 412 operations``; never that anything was proved."""
    why = f": {verdict.why}" if verdict.why and verdict.verdict == "unknown" else ""
    return f"{verdict.verdict}: {_MEANING[verdict.verdict]} in {verdict.operations:,} operations{why}"


def numbers(verdict: Verdict) -> list[tuple[str, str]]:
    """The counts of a run, each with its name; over all its events."""
    capacities = [counts.capacity for counts in verdict.events.values() if counts.capacity is not None]
    return [
        ("capacity", f"{sum(capacities):,}" if capacities else "unknown"),
        ("acknowledged", f"{verdict.acknowledged:,}"),
        ("oversold", f"{verdict.oversold:,}"),
        ("lost", "unknown" if verdict.lost is None else f"{verdict.lost:,}"),
        ("double-booked", f"{verdict.double_booked:,}"),
    ]


def found(verdict: Verdict) -> list[str]:
    """A line for each check that is not content: its name, how often, and the first witness."""
    return [_finding(check) for check in verdict.checks if check.verdict != "valid"]


def _finding(check: CheckResult) -> str:
    if check.verdict == "unknown":
        return f"{check.name}: undecided. {check.why}"
    kinds = ", ".join(f"{kind} {count:,}" for kind, count in check.violations.items())
    first = f" First: {check.witness[0].text}" if check.witness else f" {check.why}"
    return f"{check.name}: {kinds or f'{check.count:,} found'}.{first}".rstrip()


def conclusion_text(conclusion: Conclusion) -> str:
    """What is printed when a run has ended."""
    verdict = conclusion.verdict
    lines = [
        "",
        f"  {headline(verdict)}",
        "  " + " · ".join(f"{name} {value}" for name, value in numbers(verdict)),
        *(f"  - {finding}" for finding in found(verdict)),
        *(f"  ! {note}" for note in conclusion.notes),
        f"  results: {shown(conclusion.folder)}",
        "",
    ]
    return "\n".join(map(printable, lines))
