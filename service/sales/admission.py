"""The admission of purchases to a process: a bounded number inside it, and a bounded queue for the places.

Under more load than a service can serve, waiting is what breaks it. Where everybody is let in, all of them wait longer
than they are willing to, and the service works for buyers who have left: it is busy, and sells nothing in time. So the
number of those inside is bounded, and so is the number of those who wait for them. A purchase beyond that is refused at
once and asked to come again. That answer is cheap, so most of the machine is left for those who are served.

The queue is fair: a place that becomes free is handed to the one who has waited longest, and nobody who comes at that
moment is faster. Bounds are of one process; with n processes there are n times as many inside.

What can be bounded depends on who waits where. Under gevent each connection has a greenlet, so everybody who comes is
seen here, and is refused at once if need be. Under gthread a thread that waits here answers nobody else: at least one
has to be left over to refuse and to read, so those inside and in the queue together are fewer than the threads; without
bounds the threads themselves are the bound, and the queue is gunicorn's, which refuses nobody. A sync worker sees one
request at a time: nobody ever waits in it, the queue is the socket's backlog in the kernel, and nothing in the process
could refuse those who stand there.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from service.errors import Problem, RefusedToStart
from service.runtime.notifications import Signal

RETRY_AFTER_S = 1
INSIDE = 100
"""Where a greenlet costs next to nothing: more than any store decides together, and few enough to be served soon."""
QUEUE_PER_PLACE = 5


class Admission:
    """Bounds the purchases inside one process; its threads and greenlets share it. Excluding is the guard's task."""

    def __init__(self, inside: int, queue: int) -> None:
        """At most ``inside`` at once, at most ``queue`` waiting for a place."""
        self._mutex = threading.Lock()
        self._free = inside
        self._longest_queue = queue
        self._queue: deque[Signal] = deque()
        self.queued: Callable[[int], None] = lambda change: None
        """Called with the change whenever more or fewer wait for a place."""

    def enter(self, deadline: float) -> None:
        """Take a place; ``leave`` must follow.

        Errors, definite, and then no place was taken: ``overloaded`` at once if the queue is full, or past ``deadline``
        (monotonic seconds).
        """
        with self._mutex:
            if self._free:
                self._free -= 1
                return
            if len(self._queue) >= self._longest_queue:
                raise Problem("overloaded", retry_after_s=RETRY_AFTER_S)
            mine = Signal()
            self._queue.append(mine)
        self.queued(1)
        try:
            handed = mine.wait(deadline - time.monotonic())
        except BaseException:
            # A wait that is interrupted must not keep a place that was handed over meanwhile.
            if not self._withdraw(mine):
                self.leave()
            raise
        finally:
            self.queued(-1)
        # Not withdrawn: a place was handed over just after the wait had ended, and is taken.
        if not handed and self._withdraw(mine):
            raise Problem("overloaded", "No place became free in time.", retry_after_s=RETRY_AFTER_S)

    def leave(self) -> None:
        """Hand the place on, or leave it free."""
        with self._mutex:
            if self._queue:
                self._queue.popleft().set()
            else:
                self._free += 1

    def _withdraw(self, mine: Signal) -> bool:
        """Leave the queue; False if a place was handed over before."""
        with self._mutex:
            try:
                self._queue.remove(mine)
            except ValueError:
                return False
        return True

    @property
    def is_full(self) -> bool:
        """Whether a purchase that comes now would be refused. This may change at any moment."""
        return not self._free and len(self._queue) >= self._longest_queue

    @property
    def queue_length(self) -> int:
        """How many wait for a place now."""
        return len(self._queue)


def bounds(inside: int | None, queue: int | None, *, threads: int, sync: bool) -> tuple[int, int] | None:
    """How many may be inside and wait, where the settings leave it open (None); no bounds at all: None.

    ``threads`` are those of a gthread worker, else 1. Raises ``RefusedToStart`` where the bounds could never be met.
    """
    if inside == 0 or (inside is None and (sync or threads > 1)):
        return None
    if sync:
        raise RefusedToStart(
            f"LASTSEAT_INSIDE={inside} can do nothing under sync workers: each has one request inside, and a request "
            "that waits stands in the socket's backlog, which the service does not see (gunicorn's --backlog bounds "
            "it). Leave it unset, or take gevent or gthread."
        )
    places = INSIDE if inside is None else inside
    if threads == 1:
        return places, QUEUE_PER_PLACE * places if queue is None else queue
    spare = threads - 1 - places
    if spare < (queue or 0):
        raise RefusedToStart(
            f"LASTSEAT_INSIDE={places} with LASTSEAT_QUEUE={queue or 0} would fill all {threads} threads of a worker "
            "with purchases that wait, and none were left to refuse the next one. Together they must be fewer than "
            "gunicorn's --threads."
        )
    return places, min(QUEUE_PER_PLACE * places, max(0, spare)) if queue is None else queue
