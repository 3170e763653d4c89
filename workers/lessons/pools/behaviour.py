"""The behaviour of a pool. Each function runs in a fresh interpreter; when that ends, no worker is left."""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from workers.lessons.common.processes import PATIENCE_S, die_with_parent


def pool_of(
    kind: str, workers: int, method: str, initializer: Callable[..., None] | None = None, *arguments: Any
) -> Executor:
    if kind == "threads":
        return ThreadPoolExecutor(workers, initializer=initializer, initargs=arguments)
    context = multiprocessing.get_context(method)
    return ProcessPoolExecutor(workers, context, initializer=initializer or die_with_parent, initargs=arguments)


def task(lasts_s: float, fails: bool) -> tuple[str, float, float]:
    """The worker, its start and its end, by one clock for all processes of the machine."""
    began = time.monotonic()
    time.sleep(lasts_s)
    report = f"{os.getpid()} {threading.get_ident()}", began, time.monotonic()
    if fails:
        raise ValueError(report)
    return report


def use(kind: str, workers: int, tasks: int, task_ms: int, method: str) -> dict[str, Any]:
    """Gives a pool more tasks than it has workers; the middle one fails. Returns the outcome of each task."""
    done: list[int] = []
    callback_processes: set[int] = set()
    futures: list[Future[tuple[str, float, float]]] = []
    spans: list[list[Any]] = []
    before = threading.active_count()
    with pool_of(kind, workers, method) as pool:
        when_made = threading.active_count() - before + len(multiprocessing.active_children())
        opened = time.monotonic()
        for number in range(tasks):

            def when_done(_future: Future[Any], number: int = number) -> None:
                callback_processes.add(os.getpid())
                done.append(number)

            # Of three lengths, so that they end in another order than they came in.
            future = pool.submit(task, task_ms / 1e3 * (1 + number * 2 % 3), number == tasks // 2)
            future.add_done_callback(when_done)
            futures.append(future)
    for future in futures:
        error = future.exception()
        who, began, ended = future.result() if error is None else error.args[0]
        spans.append([who, began - opened, ended - opened, error is not None])
    return {
        "spans": spans,
        "workers_when_made": when_made,
        "callbacks": len(done),
        "in_order": done == sorted(done),
        "callbacks_here": callback_processes == {os.getpid()},
    }


def silence() -> dict[str, Any]:
    """A task fails in a thread of its own and in a pool: the lines on standard error, and the answer of its future."""

    def fail() -> None:
        raise ValueError("this task cannot be done")

    with contextlib.redirect_stderr(io.StringIO()) as said_by_thread:
        thread = threading.Thread(target=fail)
        thread.start()
        thread.join()
    with contextlib.redirect_stderr(io.StringIO()) as said_by_pool, ThreadPoolExecutor(1) as pool:
        future = pool.submit(fail)
    return {
        "thread_lines": len(said_by_thread.getvalue().splitlines()),
        "pool_lines": len(said_by_pool.getvalue().splitlines()),
        "pool_asked": type(future.exception()).__name__,
    }


def die() -> None:
    """Ends this worker as the kernel would if memory were short."""
    time.sleep(0.1)
    os._exit(1)


def broken(workers: int, tasks: int, method: str) -> dict[str, Any]:
    """One worker of a process pool dies: the number of tasks that fail with it, and whether a new task is refused."""
    futures = []
    refused = False
    with pool_of("processes", workers, method) as pool:
        with contextlib.suppress(BrokenProcessPool):  # on a slow machine it breaks while tasks still come in
            futures.append(pool.submit(die))
            for _ in range(tasks - 1):
                futures.append(pool.submit(time.sleep, 0.3))  # noqa: PERF401 - those before the break count
        wait(futures, PATIENCE_S)
        done = sum(future.exception() is None for future in futures)
        try:
            pool.submit(time.sleep, 0)
        except BrokenProcessPool:
            refused = True
    return {"failed": tasks - done, "refused": refused}


def shut_down(kind: str, workers: int, tasks: int, method: str) -> dict[str, Any]:
    """Closes a pool whose queue is not empty: the tasks that are done, those that are cancelled, and a late one."""
    pool = pool_of(kind, workers, method)
    futures = [pool.submit(time.sleep, 0.1) for _ in range(tasks)]
    while not any(future.running() for future in futures):
        time.sleep(0.001)
    pool.shutdown(wait=True, cancel_futures=True)
    try:
        pool.submit(time.sleep, 0)
        refused = False
    except RuntimeError:
        refused = True
    cancelled = sum(future.cancelled() for future in futures)
    return {"done": sum(future.done() for future in futures) - cancelled, "cancelled": cancelled, "refused": refused}
