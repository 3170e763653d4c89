"""A sale from one JSON file by many processes, with a lock around nothing, the write, the data, or everything."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

from workers.lessons.common.figures import Span
from workers.lessons.common.processes import PATIENCE_S, ProcessGroup
from workers.lessons.mutex.files import Flock, read, replace, write

_BETWEEN_LOOKS_S = 0.0005
_TOO_SHORT_TO_DRAW_S = 0.0005


@dataclass(frozen=True, slots=True)
class SaleSettings:
    """The settings of all sales of a run."""

    start: str
    buyers: int
    tickets: int
    delay_s: float
    """The longest pause between reading and writing; the shortest is a third of it."""
    browse_s: float
    """The time a buyer looks round: half of it before the purchase, half after."""
    seed: int


@dataclass(frozen=True, slots=True)
class SaleVariant:
    """The lock of a sale, what it surrounds, and whether the file is written in place."""

    name: str
    lock: str = "none"
    around: str = "nothing"
    in_place: bool = False


@dataclass(frozen=True, slots=True)
class Shared:
    """The file, the lock if there is one, and the barrier at which the buyers begin."""

    path: Path
    lock: Any
    gate: Barrier


@dataclass(frozen=True, slots=True)
class Purchase:
    """The purchase of one buyer, as the buyer saw it."""

    saw: int | None
    """The number of tickets that were left when the buyer looked first."""
    ticket: int | None
    """The number of the ticket that the buyer took for free and now has; None: no ticket."""
    crashed: bool
    spans: Sequence[tuple[str, float, float]]
    """Each activity (browse, wait, data) with its start and end by the machine's monotonic clock."""

    @property
    def got(self) -> str:
        return "none" if self.ticket is None else f"ticket {self.ticket}"


@dataclass(frozen=True, slots=True)
class SaleResult:
    """The outcome of a sale."""

    way: SaleVariant
    bought: Sequence[Purchase]
    left: int | None
    """The number of tickets that are left by the file; None: the file cannot be read."""

    @property
    def sold(self) -> int:
        return sum(each.ticket is not None for each in self.bought)

    @property
    def sold_again(self) -> int:
        """The number of sales of a ticket that another buyer had already."""
        return self.sold - len({each.ticket for each in self.bought if each.ticket is not None})

    @property
    def crashed(self) -> int:
        return sum(each.crashed for each in self.bought)

    @property
    def began(self) -> float:
        return min(each.spans[0][1] for each in self.bought)

    @property
    def took_ms(self) -> float:
        return round((max(each.spans[-1][2] for each in self.bought) - self.began) * 1e3, 1)


def run_sale(sale: SaleSettings, way: SaleVariant, directory: Path) -> SaleResult:
    """All buyers come, each in a process of its own. Returns when the last one has gone."""
    directory.mkdir()
    path = directory / "tickets.json"
    replace(path, {"tickets": sale.tickets})
    with ProcessGroup(sale.start) as group:
        lock = {"none": None, "process": group.context.Lock(), "file": Flock(directory / "lock")}[way.lock]
        shared = Shared(path, lock, group.context.Barrier(sale.buyers))
        for number in range(sale.buyers):
            group.submit(buy, number, sale, way, shared)
        bought: list[Purchase] = group.results()
        group.join()
    try:
        left = int(read(path)["tickets"])
    except ValueError:
        left = None
    return SaleResult(way, bought, left)


def buy(number: int, sale: SaleSettings, way: SaleVariant, shared: Shared) -> Purchase:
    """One buyer comes a little late, looks round, reads, pauses, and writes one ticket less if there was one."""

    def lock_around(part: str) -> Any:
        return shared.lock if way.around == part else contextlib.nullcontext()

    spans: list[tuple[str, float, float]] = []
    last = 0.0

    def note(activity: str) -> None:
        """Notes the end of an activity, which began at the last note."""
        nonlocal last
        spans.append((activity, last, last := time.monotonic()))

    rng = random.Random(f"{sale.seed}-{number}")
    late_s, delay_s = 2 * sale.delay_s * rng.random(), sale.delay_s * rng.uniform(1 / 3, 1)
    saw = ticket = None
    crashed = False
    shared.gate.wait(PATIENCE_S)
    time.sleep(late_s)
    last = time.monotonic()
    try:
        with lock_around("everything"):
            note("wait")
            saw = _look_round(shared.path, sale.browse_s / 2)
            note("browse")
            with lock_around("data"):
                note("wait")
                left: int = read(shared.path)["tickets"]
                time.sleep(delay_s)
                if left > 0:
                    with lock_around("write"):
                        write(shared.path, {"tickets": left - 1}, in_place=way.in_place)
                    ticket = left
                note("data")
            time.sleep(sale.browse_s / 2)
            note("browse")
    except ValueError:  # it read half a document
        crashed = True
        note("data")
    return Purchase(saw, ticket, crashed, spans)


def _look_round(path: Path, lasts_s: float) -> int:
    """Looks at the number of tickets again and again; returns the first one."""
    until = time.monotonic() + lasts_s
    saw: int = read(path)["tickets"]
    while time.monotonic() < until:
        time.sleep(_BETWEEN_LOOKS_S)
        read(path)
    return saw


def lanes(result: SaleResult) -> dict[str, list[Span]]:
    """A lane for each buyer: waiting, and between reading and writing. A ticket that is sold again is bad."""
    again = _sold_again(result.bought)
    drawn: dict[str, list[Span]] = {}
    for number, each in enumerate(result.bought):
        label = "crashed" if each.crashed else "sold out" if each.ticket is None else each.got
        decided = "bad" if number in again or each.crashed else "good" if each.ticket is not None else "plain"
        styles = {"wait": ("", "wait"), "browse": ("", "faint"), "data": (label, decided)}
        drawn[f"buyer {number + 1:>2}"] = [
            Span(start - result.began, end - result.began, *styles[what])
            for what, start, end in each.spans
            if what == "data" or end - start > _TOO_SHORT_TO_DRAW_S
        ]
    return drawn


def _sold_again(bought: Sequence[Purchase]) -> set[int]:
    """The buyers who were not the first to write their ticket off."""
    first: dict[int | None, int] = {}
    by_end = sorted(range(len(bought)), key=lambda number: bought[number].spans[-1][2])
    for number in by_end:
        first.setdefault(bought[number].ticket, number)
    return {number for number in by_end if bought[number].ticket is not None} - set(first.values())
