"""A pool whose workers are actors of an exploration; it takes the place of ``ThreadPoolExecutor``.

An explorer schedules the threads that it starts itself, and not those that a pool would start.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import queue
import threading
from collections.abc import Callable
from types import ModuleType
from typing import Any

_REAL = concurrent.futures.ThreadPoolExecutor
_WORKERS = 2
_Job = Callable[[], None]


class PoolWorkers:
    """The workers of all pools that a module makes; a context manager around what the module does.

    At the end of the block the workers end. A pool of this module has two workers, or one if it asks for one.
    """

    def __init__(self, module: ModuleType) -> None:
        self._jobs: queue.Queue[_Job | None] = queue.Queue()
        pool = self._pool_class()
        concurrent.futures.ThreadPoolExecutor = pool  # type: ignore[misc]
        for name, each in list(vars(module).items()):
            if each is _REAL or getattr(each, "is_scheduled", False):
                setattr(module, name, pool)

    def work(self) -> None:
        """What a worker does: jobs, until there is none any more."""
        while (job := self._jobs.get()) is not None:
            job()

    def __enter__(self) -> PoolWorkers:
        return self

    def __exit__(self, *_error: object) -> None:
        for _ in range(_WORKERS):
            self._jobs.put(None)

    def _pool_class(self) -> Any:
        jobs = self._jobs

        class ScheduledPool(concurrent.futures.Executor):
            is_scheduled = True

            def __init__(self, max_workers: int = _WORKERS, *_rest: Any, **_more: Any) -> None:
                self._alone = threading.Lock() if max_workers < _WORKERS else contextlib.nullcontext()
                self._done = threading.Semaphore(0)
                self._submitted = 0

            def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> concurrent.futures.Future[Any]:
                future: concurrent.futures.Future[Any] = concurrent.futures.Future()

                def job() -> None:
                    with self._alone:
                        try:
                            future.set_result(fn(*args, **kwargs))
                        except BaseException as error:
                            future.set_exception(error)
                    self._done.release()  # only now, after the callbacks

                self._submitted += 1
                jobs.put(job)
                return future

            def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
                while wait and self._submitted:
                    self._done.acquire()
                    self._submitted -= 1

        return ScheduledPool
