"""The schedules of an exploration, in the order of their execution: by growing number of preemptions.

A schedule is a string with a letter for each decision: ``A`` lets buyer A pass the gate at which they stand. Taking the
turn from a buyer who could have continued is a *preemption*. Most races need one or two, so schedules with few
preemptions come first (iterative context bounding: Musuvathi and Qadeer, PLDI 2007). Two buyers who pass four gates
have 2 schedules without a preemption, 6 with one, and 70 in all.

Only an execution shows which buyers can continue, since a buyer may have to wait for a lock. So a schedule is given as
a *prefix*; after it, the buyer who has the turn keeps it. The execution reports which buyers could have continued at
each decision, and every choice that was not made becomes a new prefix. Every schedule is executed exactly once, because
each prefix differs from all executions before it.

In a case that has a time, ``t`` moves the service's clock on. On request there are *failures*, at most one of them in
an execution: ``a`` kills the worker of A's request (-9), ``-A`` stops it until no other buyer can continue, ``~A``
loses A's answer, ``!A`` has the disk refuse what A is about to write, ``x`` ends the event's lease, ``*`` kills the
combiner.
"""

from __future__ import annotations

import random
import string
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import msgspec

Token = str
"""``A``: A continues; ``t``: time moves; all others are failures: ``a``, ``-A``, ``~A``, ``!A``, ``x``, ``*``."""
TIME, LEASE, COMBINER = "t", "x", "*"
PAUSED, LOST, REFUSED = "-", "~", "!"
_OF_A_BUYER, _OF_NOBODY = frozenset({PAUSED, LOST, REFUSED}), frozenset({TIME, LEASE, COMBINER})


class Standing(msgspec.Struct, frozen=True):
    """What the step of a token is about."""

    buyer: str
    """Empty where it is no buyer's step: then the gate is ``time``, ``lease-end`` or ``combiner``."""
    gate: str
    """The gate that is passed; of a buyer who waits for somebody, ``blocked``."""
    pid: int
    """The process in which it happens; 0 where it is none of the service's."""
    event: str
    """The event's letter in the programs: ``a``, ``b``, …"""
    operation: str
    """The buyer's operation, as it is written in their program."""


def buyer_names(count: int) -> list[str]:
    """``A``, ``B``, …"""
    return list(string.ascii_uppercase[:count])


@dataclass(frozen=True, slots=True)
class Decision:
    """One decision: the chosen token, and all tokens that could have been chosen."""

    chosen: Token
    enabled: tuple[Token, ...]
    turn: str | None
    """The buyer who continued last, if they could continue again; choosing another one is a preemption."""

    @property
    def preempts(self) -> bool:
        return self.turn is not None and self.chosen != self.turn


@dataclass(slots=True)
class Choices:
    """The decisions of one execution, in order."""

    decisions: list[Decision] = field(default_factory=list)

    @property
    def schedule(self) -> str:
        return "".join(decision.chosen for decision in self.decisions)

    @property
    def preemptions(self) -> int:
        return sum(decision.preempts for decision in self.decisions)


def tokens(schedule: str) -> list[Token]:
    """``"AA-Bab"`` → ``["A", "A", "-B", "a", "b"]``. Raises ``ValueError`` if it is no schedule."""
    found: list[Token] = []
    rest = iter(schedule)
    for letter in rest:
        token = letter + next(rest, "") if letter in _OF_A_BUYER else letter
        is_letter = token[-1].isascii() and token[-1].isalpha()
        if token not in _OF_NOBODY and (not is_letter or (len(token) == 2 and not token[-1].isupper())):
            raise ValueError(f"{token!r} is no step: A, a, -A, ~A or !A, with the letter of a buyer; t, x or *")
        found.append(token)
    return found


def buyer_of(token: Token) -> str:
    """The buyer whose step a token is; empty where it is nobody's."""
    return "" if token in _OF_NOBODY else token[-1].upper()


def is_step(token: Token) -> bool:
    """Whether it is a buyer who goes on, not a failure and not the clock."""
    return len(token) == 1 and token.isupper()


def is_failure(token: Token) -> bool:
    """Whether it is one of the decisions of which there is at most one in an execution."""
    return not is_step(token) and token != TIME


_NONE: Mapping[Token, Standing] = MappingProxyType({})


class Chooser:
    """Makes the decisions of one execution, and records them."""

    def __init__(self, prefix: Sequence[Token] = (), prefer: Callable[[Sequence[Token]], Token] | None = None) -> None:
        self.prefix = list(prefix)
        self._prefer = prefer
        self.choices = Choices()
        self._turn: str | None = None

    def choose(
        self, enabled: Sequence[Token], standings: Mapping[Token, Standing] = _NONE, blocked: Sequence[Standing] = ()
    ) -> Token:
        """Choose one of the enabled tokens (plain steps come first). Raises ``Diverged`` if the prefix has another.

        ``standings``: what the step of each enabled token is about; ``blocked``: the buyers who wait for somebody.
        """
        turn = self._turn if self._turn in enabled else None
        place = len(self.choices.decisions)
        if place < len(self.prefix):
            chosen = self.prefix[place]
            if chosen not in enabled:
                raise Diverged(f"step {place + 1} is {chosen!r}, but only {', '.join(enabled)} could go on there")
        elif self._prefer is not None:
            chosen = self._prefer(enabled)
        else:
            chosen = turn or enabled[0]
        self.choices.decisions.append(Decision(chosen, tuple(enabled), turn))
        self._turn = chosen if is_step(chosen) else self._turn
        return chosen


class Diverged(Exception):
    """The service did not reach the same decision as when this schedule was recorded."""


Execute = Callable[[Chooser], bool]
"""Executes one schedule with a chooser. Returns False to end the exploration."""


def explore(execute: Execute, *, most: int) -> Iterator[Choices]:
    """Execute all schedules by growing number of preemptions, at most ``most``; yields the choices of each."""
    waiting: list[list[list[Token]]] = [[[]]]  # waiting[n]: prefixes with n more preemptions than the first
    ran = 0
    while waiting and ran < most:
        if not waiting[0]:
            waiting.pop(0)
            continue
        prefix = waiting[0].pop(0)
        chooser = Chooser(prefix)
        goes_on = execute(chooser)
        ran += 1
        for added, new in _alternatives(chooser.choices, len(prefix)):
            waiting.extend([] for _ in range(added + 1 - len(waiting)))
            waiting[added].append(new)
        yield chooser.choices
        if not goes_on:
            return


def _alternatives(choices: Choices, fixed: int) -> Iterator[tuple[int, list[Token]]]:
    """The prefixes that differ from these choices after the first ``fixed`` decisions, and the preemptions they add."""
    chosen = [decision.chosen for decision in choices.decisions]
    disturbed = any(map(is_failure, chosen))
    for place in range(fixed, len(chosen)):
        decision = choices.decisions[place]
        for other in decision.enabled:
            if other == decision.chosen or (disturbed and is_failure(other)):
                continue
            added = int(is_failure(other) or (decision.turn is not None and other != decision.turn))
            yield added, [*chosen[:place], other]


def pct(seed: int, buyers: Sequence[str], *, steps: int, depth: int) -> Callable[[Sequence[Token]], Token]:
    """A random walk with priorities, for cases too large to try all (PCT: Burckhardt and others, ASPLOS 2010).

    Each buyer gets a random priority. Of those who can continue the one with the highest priority does. At
    ``depth - 1`` random steps the buyer who has the turn falls to the lowest priority. A bug that needs ``depth``
    orderings among ``n`` buyers with ``steps`` steps in all is found by one walk with a probability of at least
    ``1 / (n * steps ** (depth - 1))``.
    """
    rng = random.Random(seed)
    order = list(buyers)
    rng.shuffle(order)
    changes = set(rng.sample(range(1, max(2, steps)), min(depth - 1, max(1, steps - 1))))
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
    """A lower bound of the probability that one walk of ``pct`` finds a bug of that depth."""
    return float(1 / (buyers * steps ** (depth - 1)))
