"""Running again what was refused for the sake of somebody else, a bounded number of times."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from service.errors import Problem
from service.stores import Conflict

MOST_ATTEMPTS = 200
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.0005, 0.05


def until_no_conflict(attempt: Callable[[], None], deadline: float) -> None:
    """Call ``attempt`` until it does not raise ``Conflict``.

    The pause in between is random below a limit that doubles (exponential backoff with full jitter): without it those
    who collided once collide again. Errors: ``contention`` (definite) after ``MOST_ATTEMPTS`` or past ``deadline``.
    """
    limit_s = _FIRST_PAUSE_S
    for _ in range(MOST_ATTEMPTS):
        try:
            return attempt()
        except Conflict:
            if time.monotonic() >= deadline:
                break
        time.sleep(random.uniform(0, limit_s))
        limit_s = min(2 * limit_s, _LONGEST_PAUSE_S)
    raise Problem("contention", retry_after_s=1)
