"""An exercise, and what the exploration of a learner's program found."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec


class Finding(msgspec.Struct, frozen=True):
    """What is wrong: the name of a sentence in ``findings`` of the exercise's texts, and the values that it names."""

    name: str
    facts: dict[str, Any] = {}


class Step(msgspec.Struct, frozen=True):
    """One actor's step: a line of the learner's file, numbered from 1; 0: what happens around the program."""

    actor: str
    line: int
    source: str
    note: str = ""
    """What happened there, several with a comma: ``reads NAME`` or ``writes NAME``, what others use, too;
    ``times NUMBER``; or the name of a word that all exercises share. Or nothing."""


class Order(msgspec.Struct, frozen=True):
    """One explored order of the actors' steps."""

    steps: list[Step]


class Explored(msgspec.Struct, frozen=True):
    """What an exploration of all orders found."""

    tried: int
    """The number of orders that were carried out."""
    whole: bool
    """Whether these were all orders that can differ, and not only those for which there was time."""
    overlapped: bool
    """Whether in some order two actors were inside the concurrent part. Not looked for where an order loses."""
    bounded: bool = False
    """Whether ``whole`` means that many orders of each kind were tried, and not all of them."""
    at_random: int = 0
    """The number of orders that were carried out besides, chosen at random."""
    losing: Order | None = None
    """An order after which something was wrong; ``None``: there is none among those that were tried."""
    wrong: Finding | None = None
    """What was wrong after ``losing``; what any program can do is in the findings that all exercises share."""
    interruptions: int = 0
    """``tried`` are all orders with at most so many interruptions, and ``at_random`` are some with one more; 0: orders
    are not counted by their interruptions."""


class DrivingPlan(msgspec.Struct, frozen=True):
    """How a learner's program is driven. The module is loaded anew for each order, and given to ``setup``."""

    setup: Callable[[ModuleType], Any]
    """Makes the state of one order: what the actors share."""
    actors: Mapping[str, Callable[[Any], object]]
    """What each actor does with the state, by its name. Two or more."""
    wrong: Callable[[Any], Finding | None]
    """Judges the state when all actors have ended; ``None``: it is as it should be."""
    concurrent: str = ""
    """A function of the learner's program in which two actors must be at once in some order; empty: the lines between
    ``# concurrent: begin`` and ``# concurrent: end``."""
    most_inside: int = 0
    """How many actors may be inside the concurrent part at once; 0: any number."""


Explore = Callable[[Path, DrivingPlan, float], Explored]
"""Tries the orders of the program in this file under this plan, for at most so many seconds."""


class Exercise(msgspec.Struct, frozen=True):
    """How an exercise is graded."""

    plan: DrivingPlan
    explore: Explore
    needs: tuple[str, ...]
    """The functions and classes that the program must have for this, ``Class.method`` for a method."""
    needs_overlap: bool = True
    """Whether a right solution has to let two actors be inside the concurrent part at once."""


class Graded(msgspec.Struct, frozen=True):
    """The result of a check."""

    exercise: str
    finding: Finding | None
    """Why it did not pass; ``None``: it did."""
    explored: Explored | None = None
    """``None``: the program could not be explored; ``finding`` says why."""
