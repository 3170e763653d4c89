"""Whose data it is: the same number taken from by threads, by forked and by spawned processes."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from workers.lessons.children import ChildFailed, Crew

PATIENCE_S = 20.0


class Stock:
    """What is left to sell."""

    def __init__(self, left: int) -> None:
        self.left = left


BY_THE_FILE = 1000
stock = Stock(BY_THE_FILE)
_taking = threading.Lock()


@dataclass(frozen=True, slots=True)
class Taken:
    """One taker: who it was, and how many it found."""

    process: int
    thread: int
    found: int


@dataclass(frozen=True, slots=True)
class Takers:
    """All takers of one kind, and how many the main thread has in the end."""

    taken: Sequence[Taken]
    main_has: int

    @property
    def processes(self) -> int:
        return len({each.process for each in self.taken})

    @property
    def threads(self) -> int:
        return len({(each.process, each.thread) for each in self.taken})

    @property
    def found(self) -> list[int]:
        return sorted({each.found for each in self.taken}, reverse=True)


def take_one() -> Taken:
    """One ticket less, in the memory of whoever calls this."""
    with _taking:
        found = stock.left
        stock.left = found - 1
    return Taken(os.getpid(), threading.get_native_id(), found)


def by_threads(count: int, left: int) -> tuple[Takers, int]:
    """Threads of this process take one each; also returns how many threads were alive meanwhile."""
    stock.left = left
    taken: list[Taken] = []
    all_here, may_go = threading.Barrier(count + 1), threading.Barrier(count + 1)

    def work() -> None:
        taken.append(take_one())
        with contextlib.suppress(threading.BrokenBarrierError):
            all_here.wait(PATIENCE_S)
            may_go.wait(PATIENCE_S)

    members = [threading.Thread(target=work, name=f"taker-{number}", daemon=True) for number in range(1, count + 1)]
    try:
        for member in members:
            member.start()
        all_here.wait(PATIENCE_S)
        alive = threading.active_count()
        may_go.wait(PATIENCE_S)
        for member in members:
            member.join()
        return Takers(taken, stock.left), alive
    except BaseException:
        # Interrupted: nobody is left waiting for the others.
        all_here.abort()
        may_go.abort()
        raise
    finally:
        stock.left = BY_THE_FILE


def by_processes(method: str, count: int, left: int) -> Takers:
    """Processes take one each from what they have, and send through a pipe what they found: the only way back."""
    stock.left = left
    try:
        with Crew(method) as crew:
            taken = [_hear(reader) for reader in [_ask_for_one(crew) for _ in range(count)]]
            crew.join(PATIENCE_S)
        return Takers(taken, stock.left)
    finally:
        stock.left = BY_THE_FILE


def _ask_for_one(crew: Crew) -> Any:
    reader, writer = crew.context.Pipe(duplex=False)
    crew.start(take_and_tell, writer)
    writer.close()  # only the process has it now: if that ends without a word, the reader sees it
    return reader


def _hear(reader: Any) -> Taken:
    try:
        if not reader.poll(PATIENCE_S):
            raise ChildFailed("a process did not say what it found")
        return Taken(*reader.recv())
    except EOFError:
        raise ChildFailed("a process ended without saying what it found") from None
    finally:
        reader.close()


def take_and_tell(writer: Any) -> None:
    taken = take_one()
    writer.send((taken.process, taken.thread, taken.found))
