"""Each guard against threads, greenlets and processes. First without it: a lock's test means something only then."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from service.inventory import Event
from service.settings import Settings
from service.stores import open_store

pytestmark = pytest.mark.servers

CAPACITY = 30
BUYERS = Path(__file__).with_name("buyers.py")
PATIENCE_S = 60


class Sale(NamedTuple):
    acknowledged: int
    booked_twice: int
    recorded: int
    problems: set[str]

    @property
    def exact(self) -> bool:
        return self.acknowledged == self.recorded == CAPACITY and not self.booked_twice


def hold_sale(
    data: Path, *, guard: str, how: str, processes: int = 1, store: str = "json", batch: int | None = None
) -> Sale:
    """Sell ``CAPACITY`` tickets to eight buyers, spread over so many processes, who think 2 ms before they write."""
    settings = Settings(data=data, store=store)
    opened = open_store(settings)
    opened.create(Event("show", "Show", CAPACITY, lab=True))
    running = []
    try:
        for number in range(processes):
            wanted = {
                "data": str(data), "store": store, "guard": guard, "how": how, "processes": processes, "batch": batch,
                "think_ms": 2, "buyers": 8 // processes, "name": str(number),
            }  # fmt: skip
            running.append(
                subprocess.Popen(
                    [sys.executable, str(BUYERS), json.dumps(wanted)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
        for process in running:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in running:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        told = [json.loads(process.communicate(timeout=PATIENCE_S)[0]) for process in running]
    finally:
        for process in running:
            process.kill()
            process.wait()
    tickets = [ticket for each in told for numbers in each["sold"] for ticket in numbers]
    return Sale(
        acknowledged=len(tickets),
        booked_twice=len(tickets) - len(set(tickets)),
        recorded=sum(record.quantity for record in opened.audit("show")[1]),
        problems={code for each in told for code in each["problems"]},
    )


@pytest.mark.parametrize(("how", "processes"), [("threads", 1), ("greenlets", 1), ("threads", 4), ("greenlets", 2)])
def test_without_a_guard_more_is_sold_than_there_is_and_the_document_does_not_know(
    tmp_path: Path, how: str, processes: int
) -> None:
    sale = hold_sale(tmp_path, guard="none", how=how, processes=processes)
    assert sale.acknowledged > CAPACITY
    assert sale.booked_twice > 0
    assert sale.recorded <= CAPACITY


@pytest.mark.parametrize("how", ["threads", "greenlets"])
def test_guard_thread_is_exact_in_one_process(tmp_path: Path, how: str) -> None:
    assert hold_sale(tmp_path, guard="thread", how=how).exact


@pytest.mark.parametrize("how", ["threads", "greenlets"])
def test_guard_thread_oversells_with_two_processes(tmp_path: Path, how: str) -> None:
    sale = hold_sale(tmp_path, guard="thread", how=how, processes=2)
    assert sale.acknowledged > CAPACITY


@pytest.mark.parametrize(("how", "processes"), [("threads", 1), ("greenlets", 1), ("threads", 4), ("greenlets", 2)])
def test_guard_file_is_exact_among_threads_greenlets_and_processes(tmp_path: Path, how: str, processes: int) -> None:
    sale = hold_sale(tmp_path, guard="file", how=how, processes=processes)
    assert sale.exact
    assert sale.problems == {"sold_out"}


@pytest.mark.parametrize("how", ["threads", "greenlets"])
def test_batching_alone_excludes_nobody(tmp_path: Path, how: str) -> None:
    assert hold_sale(tmp_path, guard="none", how=how, batch=8).acknowledged > CAPACITY


@pytest.mark.parametrize(("how", "processes"), [("threads", 2), ("greenlets", 2)])
def test_batching_under_guard_file_is_exact(tmp_path: Path, how: str, processes: int) -> None:
    assert hold_sale(tmp_path, guard="file", how=how, processes=processes, batch=8).exact


def test_on_the_memory_store_the_guard_decides_too(tmp_path: Path) -> None:
    """One process, its own store: what is in memory is raced for just as what is on the disk."""
    from concurrent.futures import ThreadPoolExecutor

    from service.box_office import BoxOffice
    from service.control import Control
    from service.errors import Problem
    from service.settings import Think

    acknowledged = {}
    for guard in ("none", "thread"):
        data = tmp_path / guard
        data.mkdir()
        settings = Settings(data=data, store="memory", think=Think(2, 2))
        control = Control(data)
        control.start(guard, "test", 10)
        office = BoxOffice(settings, open_store(settings), control, 1)
        office.create(Event("show", "Show", CAPACITY, lab=True))

        def buy_until_refused(name: int, office: BoxOffice = office) -> int:
            bought = 0
            while True:
                try:
                    office.buy("show", key=f"{name}-{bought}", request="", quantity=1, buyer=None)
                except Problem:
                    return bought
                bought += 1

        with ThreadPoolExecutor(8) as pool:
            acknowledged[guard] = sum(pool.map(buy_until_refused, range(8)))
    assert acknowledged["none"] > CAPACITY
    assert acknowledged["thread"] == CAPACITY
