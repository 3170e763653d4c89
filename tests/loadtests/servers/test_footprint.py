"""What workers hold on to: it does not grow with what was sold, under any worker model; and a leak would be seen."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from loadtests.lab.experiment.knobs import Workload
from loadtests.lab.experiment.runner import hold_sale
from loadtests.lab.servers.office import RunningOffice
from loadtests.lab.servers.resources import Growth, Sample, Watch, children_of, growth, look
from tests.combinations import shortened
from tests.loadtests.target.test_target import LASTSEAT

Serve = Callable[..., RunningOffice]

SALE = Workload(
    kind="mixed", capacity=40, buyers=12, retries=4, time_outs=0.1, hold_s=0.2, payment="2-8", payment_lost=0.05,
    cancel_share=0.2, limit_s=120,
)  # fmt: skip

LEAKY = """
import os, threading, time
import multiprocessing
def leak():
    while True:
        open(os.devnull).fileno(); kept.append(open(os.devnull)); time.sleep(0.02)
kept = []
worker = multiprocessing.get_context("fork").Process(target=leak)
worker.start()
print("ready", flush=True)
worker.join()
"""


def quiet(office: RunningOffice, most: Sample | None = None) -> Sample:
    """What is held when nobody asks: connections are closed a moment after the last answer."""
    deadline = time.monotonic() + 20
    before = look(office.pid)
    while True:
        time.sleep(0.3)
        now = look(office.pid)
        settled = (now.descriptors, now.threads) == (before.descriptors, before.threads)
        if time.monotonic() > deadline or (settled and (most is None or now.descriptors <= most.descriptors)):
            return now
        before = now


@pytest.mark.servers
def test_a_worker_that_leaks_is_seen() -> None:
    """The negative control: without it, flat figures would prove nothing."""
    master = subprocess.Popen([sys.executable, "-c", LEAKY], stdout=subprocess.PIPE, start_new_session=True)
    try:
        assert master.stdout is not None
        assert master.stdout.readline() == b"ready\n"
        with Watch(lambda: master.pid, every_s=0.05) as watch:
            deadline = time.monotonic() + 30
            while len(watch.samples) < 20:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        seen = watch.growth()
    finally:
        os.killpg(master.pid, 9)
        master.communicate()
    assert seen is not None
    assert seen.workers == 1
    assert seen.descriptors[1] > seen.descriptors[0]


@pytest.mark.servers
def test_a_worker_that_gunicorn_started_anew_is_counted_as_replaced(serve: Serve) -> None:
    office = serve(worker="sync", processes=2)
    with Watch(lambda: office.pid, every_s=0.05) as watch:
        before = {worker.pid for worker in children_of(office.pid)}
        os.kill(min(before), signal.SIGKILL)
        deadline = time.monotonic() + 30
        while len(watch.samples) < 5 or len({worker.pid for worker in children_of(office.pid)} - before) < 1:
            assert time.monotonic() < deadline, "gunicorn started no worker anew"
            time.sleep(0.05)
    seen = watch.growth()
    assert seen is not None
    assert seen.replaced == 1
    assert "1 replaced" in seen.words


@pytest.mark.servers
@pytest.mark.parametrize("worker", shortened(["sync", "gthread", "gevent"], "gthread"))
def test_after_more_sales_the_workers_hold_no_more_descriptors_and_threads(
    worker: str, serve: Serve, tmp_path: Path
) -> None:
    office = serve(worker=worker, processes=1, threads=4 if worker == "gthread" else None, guard="file")
    for _ in range(2):  # pools are filled
        hold_sale(SALE, office, tmp_path)
    before = quiet(office)
    for _ in range(2):
        hold_sale(SALE, office, tmp_path)
    after = quiet(office, before)
    assert after.workers == before.workers == 1
    assert after.descriptors <= before.descriptors
    assert after.threads <= before.threads


@pytest.mark.servers
@pytest.mark.soak
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("worker", ["sync", "gthread", "gevent"])
def test_in_ten_minutes_of_a_mixed_sale_the_workers_do_not_grow(
    worker: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of steady load, arrivals at a fixed rate, on the store whose memory must not grow with what is sold."""
    options = ("--workload", "mixed", "--capacity", "1000000", "--limit", "600", "--rate", "20", "--time-outs", "0.01")
    command = [*LASTSEAT, "run", *options, "--worker", worker, "--store", "sqlite", "--retries", "4", "--json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=1400, check=False)
    said = json.loads(done.stdout)
    assert (done.returncode, said["verdict"]) == (0, "valid"), said["why"]
    seen = said["growth"]
    with capsys.disabled():
        print(f"\n{worker}: {said['operations']:,} operations, {msgspec.convert(seen, type=Growth).words}")
    assert seen["replaced"] == 0
    assert seen["threads"][1] <= seen["threads"][0] + 2
    assert seen["descriptors"][1] <= seen["descriptors"][0] * 1.2 + 10
    assert seen["memory_mib"][1] <= seen["memory_mib"][0] * 1.1 + 5


def sample(at_s: float, descriptors: int) -> Sample:
    return Sample(at_s, 2, 80.0, descriptors, 6)


def test_growth_compares_the_first_fifth_with_the_last_and_one_moment_does_not_decide() -> None:
    seen = growth([sample(at, 40 if at < 10 else 44) for at in range(20)])
    assert seen is not None
    assert (seen.descriptors, seen.threads, seen.seconds, seen.workers) == ((40, 44), (6, 6), 19, 2)
    noisy = growth([sample(at, 99 if at in {1, 18} else 40) for at in range(20)])
    assert noisy is not None
    assert noisy.descriptors == (40, 40)


def test_too_few_looks_say_nothing() -> None:
    assert growth([sample(0, 1)] * 4) is None


def test_the_words_have_all_figures() -> None:
    words = Growth(600, 2, (80.4, 81.2), (40, 41), (6, 6), 1).words
    assert words == (
        "2 workers held 80 → 81 MiB · 40 → 41 descriptors · 6 → 6 threads · 1 replaced (first and last fifth of 600 s)"
    )
