"""Whether the checker and the oracle agree on the history of a seed."""

from __future__ import annotations

from collections import Counter

from oracle import is_linearizable
from simulated import EVENT, Drawn, Line, drawn
from simulated_seats import drawn_with_seats

from loadtests.lab.checks.judging import judge
from loadtests.lab.checks.verdict import Verdict, worst
from loadtests.lab.history.history import Audit, History, HistoryError

TIERS = ("A", "B", "C", "S", "N")


class Posed:
    """A history with the truth about it, read once and judged as often as one likes."""

    def __init__(self, seed: int, tier: str) -> None:
        self.name = f"tier {tier}, seed {seed}"
        self.drawn: Drawn = drawn_with_seats(seed, tier) if tier in "SN" else drawn(seed, tier)
        self.history = History.of(forgotten_keys(self.drawn.lines, seed))
        self.audits = {EVENT: Audit.of(self.drawn.audit)} if self.drawn.audit is not None else {}
        self.truth = is_linearizable(*self.drawn)

    def judged(self) -> Verdict:
        """The checker's verdict."""
        return judge(self.history, self.audits, capacity=None if self.audits else self.drawn.capacity)

    def disagreement(self) -> str | None:
        """What the checker says that the oracle denies. That nothing overlapped is no concern of the oracle's."""
        checks = [result for result in self.judged().checks if result.name != "overlap"]
        said = worst(result.verdict for result in checks)
        crashed = [result.why for result in checks if "crash" in result.why]
        if crashed or (said == "valid") > self.truth or (said == "invalid") > (not self.truth):
            return f"{self.name}: the checker says {said} {crashed}, the oracle {self.truth}"
        return None


def forgotten_keys(lines: list[Line], seed: int) -> list[Line]:
    """One time in ten, what a client records that sends no keys: those that stand only once are left out."""
    if seed % 10:
        return lines
    often = Counter(line.get("key") for line in lines)
    return [{name: line[name] for name in line if name != "key" or often[line["key"]] > 1} for line in lines]


def posed(seed: int, tier: str) -> Posed | None:
    """The history of a seed; None where corruption made it one that cannot have been recorded."""
    try:
        return Posed(seed, tier)
    except HistoryError:
        return None
