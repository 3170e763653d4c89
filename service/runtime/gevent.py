"""Calls that block the thread in the kernel, made so that gevent's hub goes on.

Under gevent's patch all greenlets share one thread: who waits for the disk in it stops everybody. Such a call goes to
a pool of native threads of its own; gevent's shared pool would deadlock as soon as what holds a lock needs it too.
Elsewhere the call is made where it stands: it releases the GIL.
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
    """The result of a call that may block; what it raises is raised here."""
    if not patched():
        return call()
    global _pool  # noqa: PLW0603
    if _pool is None:
        from gevent.threadpool import ThreadPool

        _pool = ThreadPool(_THREADS)
    result: T = _pool.apply(call)
    return result
