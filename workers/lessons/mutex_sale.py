"""A sale by processes from one JSON file, with a lock around nothing, the write, the data, or everything."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

from workers.lessons.children import ChildFailed, Crew
from workers.lessons.form import Span
from workers.lessons.mutex_file import Flock, read, replace, write

PATIENCE_S = 30.0
_BETWEEN_LOOKS_S = 0.0005
_TOO_SHORT_TO_DRAW_S = 0.0005


@dataclass(frozen=True, slots=True)
class Sale:
    """What all sales of a run have in common."""

    start: str
    buyers: int
    tickets: int
    delay_s: float
    """The longest pause between reading and writing; the shortest is a third of it."""
    browse_s: float
    """What a buyer does besides: half of it looking before, half after."""
    seed: int


@dataclass(frozen=True, slots=True)
class Way:
    """One way to hold the sale."""

    name: str
    lock: str = "none"
    around: str = "nothing"
    in_place: bool = False


@dataclass(frozen=True, slots=True)
class Shared:
    """What the buyers of a sale share: the file, the lock if there is one, and the gate they wait at to begin."""

    path: Path
    lock: Any
    gate: Barrier


@dataclass(frozen=True, slots=True)
class Bought:
    """What one buyer saw and did."""

    saw: int | None
    """How many were left when it looked first."""
    ticket: int | None
    """The number of the ticket that it took to be free and now has; None: it went away without one."""
    crashed: bool
    spans: Sequence[tuple[str, float, float]]
    """What it did, from when to when by the machine's monotonic clock: browse, wait, data."""


@dataclass(frozen=True, slots=True)
class Result:
    """A sale that is over."""

    way: Way
    bought: Sequence[Bought]
    left: int | None
    """How many are left by the file; None: it cannot be read."""

    @property
    def sold(self) -> int:
        return sum(each.ticket is not None for each in self.bought)

    @property
    def sold_again(self) -> int:
        """Sales of a ticket that somebody had already."""
        return self.sold - len({each.ticket for each in self.bought if each.ticket is not None})

    @property
    def crashed(self) -> int:
        return sum(each.crashed for each in self.bought)

    @property
    def began(self) -> float:
        return min(each.spans[0][1] for each in self.bought)

    @property
    def took_ms(self) -> float:
        return (max(each.spans[-1][2] for each in self.bought) - self.began) * 1e3


def hold_sale(sale: Sale, way: Way, directory: Path) -> Result:
    """Let the buyers come, each in a process of its own, and wait until the last one has gone."""
    directory.mkdir()
    path = directory / "tickets.json"
    replace(path, {"tickets": sale.tickets})
    with Crew(sale.start) as crew:
        lock = {"none": None, "process": crew.context.Lock(), "file": Flock(directory / "lock")}[way.lock]
        shared = Shared(path, lock, crew.context.Barrier(sale.buyers))
        for number in range(sale.buyers):
            crew.start(buy, number, sale, way, shared)
        if not crew.join(PATIENCE_S):
            raise ChildFailed(f"a buyer did not end within {PATIENCE_S:g} s ({way.name})")
    try:
        bought = [Bought(**read(_diary(path, number))) for number in range(sale.buyers)]
    except FileNotFoundError as error:
        raise ChildFailed(f"a buyer ended without a word ({way.name}): {error}") from None
    try:
        left = int(read(path)["tickets"])
    except ValueError:
        left = None
    return Result(way, bought, left)


class Diary:
    """What a buyer does from when to when: each note ends what began with the last one."""

    def __init__(self) -> None:
        self._last = time.monotonic()
        self.spans: list[tuple[str, float, float]] = []

    def note(self, what: str) -> None:
        now = time.monotonic()
        self.spans.append((what, self._last, now))
        self._last = now


def buy(number: int, sale: Sale, way: Way, shared: Shared) -> None:
    """One buyer: come a little late, look, read, pause, write one ticket less if there was one, and see to the rest."""

    def held(part: str) -> Any:
        return shared.lock if way.around == part else contextlib.nullcontext()

    chance = random.Random(f"{sale.seed}-{number}")
    late_s, delay_s = 2 * sale.delay_s * chance.random(), sale.delay_s * chance.uniform(1 / 3, 1)
    saw = ticket = None
    crashed = False
    shared.gate.wait(PATIENCE_S)
    time.sleep(late_s)
    diary = Diary()
    try:
        with held("everything"):
            diary.note("wait")
            saw = _look_round(shared.path, sale.browse_s / 2)
            diary.note("browse")
            with held("data"):
                diary.note("wait")
                left: int = read(shared.path)["tickets"]
                time.sleep(delay_s)
                if left > 0:
                    with held("write"):
                        write(shared.path, {"tickets": left - 1}, in_place=way.in_place)
                    ticket = left
                diary.note("data")
            time.sleep(sale.browse_s / 2)
            diary.note("browse")
    except ValueError:  # half a document
        crashed = True
        diary.note("data")
    replace(_diary(shared.path, number), {"saw": saw, "ticket": ticket, "crashed": crashed, "spans": diary.spans})


def _look_round(path: Path, lasts_s: float) -> int:
    """Look at what is left, again and again; returns what was seen first."""
    until = time.monotonic() + lasts_s
    saw: int = read(path)["tickets"]
    while time.monotonic() < until:
        time.sleep(_BETWEEN_LOOKS_S)
        read(path)
    return saw


def _diary(path: Path, number: int) -> Path:
    return path.with_name(f"buyer-{number}.json")


def lanes(result: Result) -> dict[str, list[Span]]:
    """Who waited when, and who was between reading and writing; a ticket that is sold again is bad."""
    again = _who_had_it_again(result.bought)
    drawn: dict[str, list[Span]] = {}
    for number, each in enumerate(result.bought):
        says = f"ticket {each.ticket}" if each.ticket is not None else "crashed" if each.crashed else "sold out"
        decided = "bad" if number in again or each.crashed else "good" if each.ticket is not None else "plain"
        moods = {"wait": ("", "wait"), "browse": ("", "faint"), "data": (says, decided)}
        drawn[f"buyer {number + 1:>2}"] = [
            Span(start - result.began, end - result.began, *moods[what])
            for what, start, end in each.spans
            if what == "data" or end - start > _TOO_SHORT_TO_DRAW_S
        ]
    return drawn


def _who_had_it_again(bought: Sequence[Bought]) -> set[int]:
    """Those who were not the first to have written their ticket off."""
    first: dict[int | None, int] = {}
    by_end = sorted(range(len(bought)), key=lambda number: bought[number].spans[-1][2])
    for number in by_end:
        first.setdefault(bought[number].ticket, number)
    return {number for number in by_end if bought[number].ticket is not None} - set(first.values())
