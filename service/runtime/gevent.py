"""Calls that may block a thread: under gevent a native thread makes them, and the other greenlets go on.

Under gevent's patch all greenlets share one thread: a greenlet that waits for the disk in it stops all others. Such a
call goes to our own pool of native threads; gevent's shared pool would deadlock as soon as the holder of a lock needs
it too. Without gevent the call is made directly: it releases the GIL.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")
_THREADS = 4
_pool: Any = None


def patched() -> bool:
    """Whether gevent has replaced the threads of this process by greenlets."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("threading"))


def call_blocking(call: Callable[[], T]) -> T:
    """The result of a call that may block. The call's exceptions are raised here."""
    if not patched():
        return call()
    global _pool  # noqa: PLW0603
    if _pool is None:
        from gevent.threadpool import ThreadPool

        _pool = ThreadPool(_THREADS)
    result: T = _pool.apply(call)
    return result
