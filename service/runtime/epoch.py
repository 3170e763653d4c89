"""The epoch that a transaction takes part in: which guard acts, and since how many switches."""

from __future__ import annotations

from contextvars import ContextVar
from typing import NamedTuple


class Mode(NamedTuple):
    """Under what a transaction runs."""

    guard: str
    epoch: int
    generation: int
    """Grows whenever an event is deleted: what was remembered about events is to be forgotten then."""
    lock_series: int = 0
    """Grows whenever lock files had to be made anew: those of an older series do not count any more."""


class Switched(Exception):
    """A transaction met an epoch that is not the one it takes part in; nothing was written. It is to be run again."""


taking_part: ContextVar[Mode | None] = ContextVar("taking_part", default=None)
"""The mode that the transaction of this thread or greenlet takes part in; None outside of one. Where the switch lives
in an engine, each view and each write of the store looks, in the engine, whether it still holds."""
