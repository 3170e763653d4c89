"""Which schedules are tried, and in which order: by growing number of preemptions.

A schedule is a string, a letter for each decision: ``A`` lets buyer A pass the gate he stands at. Taking the turn from
a buyer who could have gone on is a *preemption*. Most races need one or two, so few preemptions come first (iterative
context bounding: Musuvathi and Qadeer, PLDI 2007). Two buyers who pass four gates have 2 schedules without a
preemption, 6 with one, and 70 in all.

Who can go on is only known by running: a buyer may have to wait for a lock. So a schedule is a *prefix* that is
followed, after which whoever has the turn keeps it; the run reports who could have gone on at each decision, and each
of those who did not becomes a new prefix. Every schedule is met exactly once: prefixes differ from all runs before.

Two more decisions, once a run, where they are asked for: ``a`` kills the worker that A's purchase is in (-9),
and ``-A`` stops A until nobody else can go on.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

Token = str
"""``A``: A goes on; ``a``: A's worker is killed; ``-A``: A is stopped."""


@dataclass(frozen=True, slots=True)
class Decision:
    """One place where somebody had to be chosen: who was, and who else could have been."""

    chosen: Token
    enabled: tuple[Token, ...]
    turn: str | None
    """Who had gone on last and still could have; taking the turn from him is a preemption."""

    @property
    def preempts(self) -> bool:
        return self.turn is not None and self.chosen != self.turn


@dataclass(slots=True)
class Choices:
    """The decisions of one run, in order."""

    decisions: list[Decision] = field(default_factory=list)

    @property
    def schedule(self) -> str:
        return "".join(decision.chosen for decision in self.decisions)

    @property
    def preemptions(self) -> int:
        return sum(decision.preempts for decision in self.decisions)


def tokens(schedule: str) -> list[Token]:
    """``"AA-Bab"`` → ``["A", "A", "-B", "a", "b"]``. Raises ``ValueError`` where it is no schedule."""
    found: list[Token] = []
    rest = iter(schedule)
    for letter in rest:
        token = letter + next(rest, "") if letter == "-" else letter
        if not token[-1].isascii() or not token[-1].isalpha() or (len(token) == 2 and not token[-1].isupper()):
            raise ValueError(f"{token!r} is no step: A, a or -A, with the letter of a buyer")
        found.append(token)
    return found


class Chooser:
    """Chooses at each decision of one run, and remembers it."""

    def __init__(self, prefix: Sequence[Token] = (), prefer: Callable[[Sequence[Token]], Token] | None = None) -> None:
        self._prefix = list(prefix)
        self._prefer = prefer
        self.course = Choices()
        self._turn: str | None = None

    def choose(self, enabled: Sequence[Token]) -> Token:
        """Choose among the enabled tokens (plain steps first). Raises ``Diverged`` where it cannot."""
        turn = self._turn if self._turn in enabled else None
        place = len(self.course.decisions)
        if place < len(self._prefix):
            chosen = self._prefix[place]
            if chosen not in enabled:
                raise Diverged(f"step {place + 1} is {chosen!r}, but only {', '.join(enabled)} could go on there")
        elif self._prefer is not None:
            chosen = self._prefer(enabled)
        else:
            chosen = turn or enabled[0]
        self.course.decisions.append(Decision(chosen, tuple(enabled), turn))
        self._turn = chosen if chosen.isupper() and len(chosen) == 1 else self._turn
        return chosen


class Diverged(Exception):
    """The service did not come to the same decision as when this schedule was written down."""


Perform = Callable[[Chooser], bool]
"""Runs one schedule with a chooser; whether to go on exploring."""


def explore(perform: Perform, *, most: int) -> Iterator[Choices]:
    """All schedules by growing number of preemptions, at most ``most``; yields the course of each after it ran."""
    waiting: list[list[list[Token]]] = [[[]]]  # waiting[n]: prefixes with n more preemptions than the first
    ran = 0
    while waiting and ran < most:
        if not waiting[0]:
            waiting.pop(0)
            continue
        prefix = waiting[0].pop(0)
        chooser = Chooser(prefix)
        goes_on = perform(chooser)
        ran += 1
        for added, new in _alternatives(chooser.course, len(prefix)):
            waiting.extend([] for _ in range(added + 1 - len(waiting)))
            waiting[added].append(new)
        yield chooser.course
        if not goes_on:
            return


def _alternatives(course: Choices, fixed: int) -> Iterator[tuple[int, list[Token]]]:
    """The prefixes that leave this course after its first ``fixed`` decisions, and the preemptions each adds."""
    chosen = [decision.chosen for decision in course.decisions]
    disturbed = any(not _plain(token) for token in chosen)
    for place in range(fixed, len(chosen)):
        decision = course.decisions[place]
        for other in decision.enabled:
            if other == decision.chosen or (disturbed and not _plain(other)):
                continue
            added = int(not _plain(other) or (decision.turn is not None and other != decision.turn))
            yield added, [*chosen[:place], other]


def _plain(token: Token) -> bool:
    return len(token) == 1 and token.isupper()


def pct(seed: int, buyers: Sequence[str], *, steps: int, depth: int) -> Callable[[Sequence[Token]], Token]:
    """A random walk with priorities, for cases too large to try all (PCT: Burckhardt and others, ASPLOS 2010).

    Each buyer gets a random priority; the highest who can goes on; at ``depth - 1`` random steps the one who has the
    turn falls to the lowest. A bug that needs ``depth`` orderings among ``n`` buyers of ``steps`` steps in all is
    found by one walk with a probability of at least ``1 / (n * steps ** (depth - 1))``.
    """
    dice = random.Random(seed)
    order = list(buyers)
    dice.shuffle(order)
    changes = set(dice.sample(range(1, max(2, steps)), min(depth - 1, max(1, steps - 1))))
    step = 0

    def prefer(enabled: Sequence[Token]) -> Token:
        nonlocal step
        able = [buyer for buyer in order if buyer in enabled]
        if step in changes and able:
            order.remove(able[0])
            order.append(able[0])
            able = [buyer for buyer in order if buyer in enabled]
        step += 1
        return able[0]

    return prefer


def pct_bound(buyers: int, steps: int, depth: int) -> float:
    """The probability with which one walk of ``pct`` finds a bug of that depth, at least."""
    return float(1 / (buyers * steps ** (depth - 1)))
