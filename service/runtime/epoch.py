"""The epoch that a transaction takes part in: which guard acts, and since how many switches."""

from __future__ import annotations

from contextvars import ContextVar
from typing import NamedTuple


class Mode(NamedTuple):
    """The guard and the epoch under which a transaction runs."""

    guard: str
    epoch: int
    generation: int
    """Grows whenever an event is deleted: then everything remembered about events is to be forgotten."""
    lock_series: int = 0
    """Grows whenever lock files had to be made again: those of an older series do not count any more."""


class Switched(Exception):
    """A transaction met another epoch than its own; nothing was written. It is to be run again."""


taking_part: ContextVar[Mode | None] = ContextVar("taking_part", default=None)
"""The mode of the current transaction of this thread or greenlet; None outside of one. Where an engine has the switch,
each view and each write of the store compares this with the engine's mode."""
