"""The lesson on the mutex: ten buyers sell a ticket again and again without it, and exactly what is there with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import psutil
import pytest

from workers.lessons import load
from workers.lessons.common.lesson import run_lesson
from workers.lessons.common.processes import signals_deferred
from workers.lessons.mutex.failures import (
    FAILURES,
    FILE_LOCK,
    KILLED,
    PROCESS_LOCK,
    HolderFailure,
    fail_while_holding,
    read_while_writing,
)
from workers.lessons.mutex.files import Flock, read, readable, replace, write_half
from workers.lessons.mutex.lesson import DATA, EVERYTHING, FILE, IN_PLACE, NO_LOCK, RIGHT, WRITE
from workers.lessons.mutex.sale import SaleSettings, SaleVariant, run_sale

LESSON = load("mutex")

pytestmark = [pytest.mark.servers, pytest.mark.usefixtures("nothing_left_running")]

SMALL = SaleSettings("fork", buyers=6, tickets=2, delay_s=0.03, browse_s=0.005, seed=1)


@pytest.mark.parametrize("way", [NO_LOCK, WRITE], ids=lambda way: way.name)
def test_without_a_lock_or_around_the_write_alone_a_ticket_is_sold_again(way: SaleVariant, tmp_path: Path) -> None:
    result = run_sale(SMALL, way, tmp_path / "sale")
    assert result.sold > SMALL.tickets
    assert result.sold_again > 0
    assert result.crashed == 0


@pytest.mark.parametrize("start", ["fork", "spawn"])
@pytest.mark.parametrize("way", RIGHT, ids=lambda way: way.name)
def test_with_a_lock_around_the_data_exactly_what_is_there_is_sold(
    way: SaleVariant, start: str, tmp_path: Path
) -> None:
    sale = SaleSettings(start, buyers=4, tickets=2, delay_s=0.01, browse_s=0, seed=1)
    result = run_sale(sale, way, tmp_path / "sale")
    assert (result.sold, result.sold_again, result.left, result.crashed) == (2, 0, 0, 0)


@pytest.mark.parametrize("way", [DATA, FILE, EVERYTHING], ids=lambda way: way.name)
def test_no_two_are_between_reading_and_writing_at_once(way: SaleVariant, tmp_path: Path) -> None:
    result = run_sale(SMALL, way, tmp_path / "sale")
    inside = sorted((start, end) for each in result.bought for what, start, end in each.spans if what == "data")
    assert all(one[1] <= other[0] for one, other in pairwise(inside))


def test_a_file_written_in_place_is_found_half_and_a_replaced_one_never(tmp_path: Path) -> None:
    in_place = read_while_writing("fork", 100, tmp_path, in_place=True, locked=False)
    locked = read_while_writing("fork", 50, tmp_path, in_place=True, locked=True)
    replaced = read_while_writing("fork", 100, tmp_path, in_place=False, locked=False)
    assert in_place.crashed > 0
    assert (locked.crashed, replaced.crashed) == (0, 0)
    assert locked.reads > 0
    assert replaced.reads > 0
    assert (in_place.readable_after_kill, replaced.readable_after_kill) == (False, True)


def test_a_buyer_who_finds_half_a_document_counts_as_crashed(tmp_path: Path) -> None:
    path = tmp_path / "tickets.json"
    replace(path, {"tickets": 3})
    write_half(path, {"tickets": 2}, in_place=True)
    assert not readable(path)
    with pytest.raises(ValueError, match=r"."):
        read(path)


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: f"{failure.lock}, {failure.end}")
def test_only_a_finally_or_the_kernel_gives_a_lock_back(failure: HolderFailure, tmp_path: Path) -> None:
    got_in, in_vain = fail_while_holding(failure, "fork", 2, 0.15, tmp_path)
    assert (got_in, in_vain) == ((2, 0) if failure.given_back else (0, 2))


@pytest.mark.parametrize(("lock", "got_in"), [(PROCESS_LOCK, 0), (FILE_LOCK, 1)])
def test_a_kill_leaves_the_process_lock_taken_and_frees_the_file_lock_under_spawn_too(
    lock: str, got_in: int, tmp_path: Path
) -> None:
    assert fail_while_holding(HolderFailure(lock, KILLED), "spawn", 1, 0.15, tmp_path).got_in == got_in


def test_flock_excludes_a_second_one_in_the_same_process(tmp_path: Path) -> None:
    first, second = Flock(tmp_path / "lock"), Flock(tmp_path / "lock")
    with first:
        assert not second.acquire(timeout=0.01)
    assert second.acquire(timeout=0.01)
    second.release()


def test_the_lesson_holds_and_measures_both_ways() -> None:
    findings = run_lesson(LESSON, {"buyers": 6, "tickets": 2, "delay_ms": 30, "browse_ms": 10, "rewrites": 60})
    assert findings.holds
    measured = findings.measured
    assert measured["no_lock_sold"] > 2 == measured["lock_around_the_data_sold"]
    assert measured["no_lock_sold_again"] > 0 == measured["lock_around_everything_sold_again"]
    assert measured["crashed_reading_in_place"] > 0 == measured["crashed_reading_replaced"]
    assert measured["process_lock_killed_with_finally_in_vain"] == 2
    assert measured["file_lock_killed_with_finally_got_in"] == 2
    assert IN_PLACE.name in [row[0] for row in findings.tables[0].rows]
    assert len(findings.tables[1].rows) == 6


@pytest.mark.parametrize(
    ("name", "value"),
    [("tickets", -1), ("buyers", 0), ("buyers", 1_000_000), ("delay_ms", "soon"), ("start", "thread"), ("locks", 1)],
)
def test_wrong_parameters_are_refused(name: str, value: int | str) -> None:
    with pytest.raises(ValueError, match=name):
        run_lesson(LESSON, {name: value})


def test_more_spawned_buyers_than_a_small_machine_bears_are_refused() -> None:
    with pytest.raises(ValueError, match="at most 20"):
        run_lesson(LESSON, {"start": "spawn", "buyers": 21})


def test_an_interrupt_waits_until_what_is_being_started_is_known() -> None:
    known = []
    with pytest.raises(KeyboardInterrupt), signals_deferred():
        signal.raise_signal(signal.SIGINT)
        known.append(True)
    assert known == [True]


def test_ctrl_c_leaves_no_process_and_no_file(tmp_path: Path) -> None:
    program = "from workers.lessons.command import lesson; lesson(['mutex', '--browse-ms', '500'])"
    with subprocess.Popen(
        [sys.executable, "-c", program],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as running:
        family = psutil.Process(running.pid)
        deadline = time.monotonic() + 30
        while len(family.children()) < 3 and time.monotonic() < deadline:
            time.sleep(0.02)
        buyers = family.children()
        assert len(buyers) >= 3
        running.send_signal(signal.SIGINT)
        running.wait(30)
    assert not any(buyer.is_running() for buyer in buyers)
    assert list(tmp_path.iterdir()) == []
