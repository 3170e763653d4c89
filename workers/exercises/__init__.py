"""The exercises: small programs that lose under concurrency, and that grade the mending of themselves.

An exercise is a folder here and a name in ``EXERCISES``. Its ``start.py`` is the program that is written for the
learner, its ``texts.toml`` has what is said about it in both languages, and ``EXERCISE`` in its ``check.py`` says how
the learner's program is driven and what must hold at the end. ``common`` has what all exercises share.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workers.exercises.common.exercise import Exercise

EXERCISES: tuple[str, ...] = (
    "check_then_act", "lock_around_the_write", "lock_not_given_back", "two_locks_two_orders",
    "semaphore_given_back_twice", "event_set_too_early", "pool_exception", "counter_under_the_gil",
    "one_lock_object_in_each_process", "file_written_in_place", "lease_without_a_fence", "retry_that_sells_twice",
    "greenlet_that_never_yields",
)  # fmt: skip


def load(name: str) -> Exercise:
    """The exercise with this name. Raises ``ModuleNotFoundError`` if there is none."""
    exercise: Exercise = importlib.import_module(f"workers.exercises.{name}.check").EXERCISE
    return exercise
