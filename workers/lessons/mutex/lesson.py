"""A mutex: one buyer at a time reads, decides and writes. Ten buyers in ten processes share a JSON file."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workers.lessons.common.figures import Table, Timeline
from workers.lessons.common.lesson import LessonResult, Progress, keyed
from workers.lessons.common.processes import MOST_SPAWNED
from workers.lessons.mutex.failures import FAILURES, fail_while_holding, read_while_writing
from workers.lessons.mutex.sale import SaleResult, SaleSettings, SaleVariant, lanes, run_sale

IN_PLACE = SaleVariant("no lock, written in place", in_place=True)
NO_LOCK = SaleVariant("no lock")
WRITE = SaleVariant("lock around the write only", "process", "write")
DATA = SaleVariant("lock around the data", "process", "data")
EVERYTHING = SaleVariant("lock around everything", "process", "everything")
FILE = SaleVariant("file lock around the data", "file", "data")
WAYS = (IN_PLACE, NO_LOCK, WRITE, DATA, EVERYTHING, FILE)
RIGHT = (DATA, EVERYTHING, FILE)

# Each way to write the file: in place or not, with or without a lock for readers and writer.
READINGS = {"in place": (True, False), "in place, readers and writer lock": (True, True), "replaced": (False, False)}
WAITERS, WAIT_S = 2, 0.25
LEGEND = {"faint": "looks round", "wait": "waits for the lock", "good": "sells a ticket"}
LEGEND |= {"plain": "finds none", "bad": "sells it again"}


def run(settings: Mapping[str, Any], progress: Progress) -> LessonResult:
    if settings["start"] == "spawn" and settings["buyers"] > MOST_SPAWNED:
        raise ValueError(f"buyers must be at most {MOST_SPAWNED} with start=spawn: each takes ten megabytes then.")
    delay_s, browse_s = settings["delay_ms"] / 1e3, settings["browse_ms"] / 1e3
    sale = SaleSettings(settings["start"], settings["buyers"], settings["tickets"], delay_s, browse_s, settings["seed"])
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        results = {}
        for number, way in enumerate(WAYS):
            progress(f"a sale, {way.name}")
            results[way] = run_sale(sale, way, directory / f"sale-{number}")
        readings = {}
        for words, (in_place, locked) in READINGS.items():
            progress(f"reading a file while it is written {words}")
            readings[words] = read_while_writing(
                sale.start, settings["rewrites"], directory, in_place=in_place, locked=locked
            )
        failures = {}
        for failure in FAILURES:
            progress(f"the holder of a {failure.lock} fails: {failure.end}")
            failures[failure] = fail_while_holding(failure, sale.start, WAITERS, WAIT_S, directory)
    measured = _measured(sale, results) | {
        f"crashed_reading_{words.split(',')[0].replace(' ', '_')}{'_locked' if ',' in words else ''}": each.crashed
        for words, each in readings.items()
    }
    for failure, waited in failures.items():
        measured |= keyed(f"{failure.lock} {failure.end}", got_in=waited.got_in, in_vain=waited.in_vain)
    expected = min(sale.buyers, sale.tickets)
    alone = [results[way] for way in RIGHT]
    together = results[NO_LOCK]
    return LessonResult(
        holds=all(each.sold == expected and each.left == sale.tickets - expected for each in alone)
        and not any(each.sold_again or each.crashed for each in alone)
        and together.sold_again > 0
        and readings["in place"].crashed > 0
        and readings["in place, readers and writer lock"].crashed == readings["replaced"].crashed == 0
        and [readings[each].readable_after_kill for each in READINGS] == [False, False, True]
        and all((WAITERS if failure.given_back else 0) == got_in for failure, (got_in, _) in failures.items()),
        measured=measured,
        tables=[
            Table(
                "The same sale, locked in six ways",
                ["way", "tickets", "sold", "sold again", "left by the file", "crashed on half a file", "took (ms)"],
                [
                    [way.name, sale.tickets, each.sold, each.sold_again, each.left, each.crashed, round(each.took_ms)]
                    for way, each in results.items()
                ],
            ),
            _who_got_one(together, results[DATA]),
            Table(
                "Reading a file while it is written",
                ["how it is written", "reads", "crashed on half a file", "readable after a writer was killed"],
                [[words, each.reads, each.crashed, each.readable_after_kill] for words, each in readings.items()],
            ),
            Table(
                "The holder fails: who gets in afterwards",
                ["lock", "how it failed", "got in", "waited in vain"],
                [[failure.lock, failure.end, *waited] for failure, waited in failures.items()],
            ),
        ],
        figures=[
            Timeline("Without a lock: they read the same number, and sell the same ticket", lanes(together), LEGEND),
            Timeline("Lock around the data: one after the other there, and only there", lanes(results[DATA]), LEGEND),
            Timeline("Lock around everything: one after the other all the way", lanes(results[EVERYTHING]), LEGEND),
        ],
        facts={
            "saw_one_and_got_none": sum(bool(each.saw) and each.ticket is None for each in results[DATA].bought),
            "reads_in_place": readings["in place"].reads,
            "waiters": WAITERS,
        },
    )


def _measured(sale: SaleSettings, results: Mapping[SaleVariant, SaleResult]) -> dict[str, Any]:
    measured: dict[str, Any] = {"buyers": sale.buyers, "tickets": sale.tickets}
    for way, each in results.items():
        measured |= keyed(
            way.name, sold=each.sold, sold_again=each.sold_again, left=each.left, crashed=each.crashed, ms=each.took_ms
        )
    return measured


def _who_got_one(without: SaleResult, locked: SaleResult) -> Table:
    return Table(
        "Who looked, and who got one",
        ["buyer", "saw, no lock", "got, no lock", "saw, with the lock", "got, with the lock"],
        [
            [f"buyer {number:>2}", one.saw, one.got, other.saw, other.got]
            for number, (one, other) in enumerate(zip(without.bought, locked.bought, strict=True), 1)
        ],
    )
