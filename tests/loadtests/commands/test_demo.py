"""``lastseat demo`` on real servers: what it shows, what it leaves, and that it leaves nothing running."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typed import wait_for

pytestmark = pytest.mark.servers

LASTSEAT = [sys.executable, "-c", "from loadtests.lab.cli import main; main()"]
QUICK = ("--worker", "gevent", "--rounds", "1", "--capacity", "60")


def lastseat(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*LASTSEAT, *arguments], cwd=directory, capture_output=True, text=True, timeout=150, check=False
    )


def processes_of(directory: Path) -> list[int]:
    """Processes whose working directory or environment names ``directory``: whoever the demo started."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                said = (entry / "environ").read_bytes() + str((entry / "cwd").readlink()).encode()
            except OSError:
                continue
            if str(directory).encode() in said:
                found.append(int(entry.name))
    return found


def interrupted(folder: Path, *words: str, once: Callable[[], object], what: str) -> str:
    """What a command says when Ctrl-C ends it once something is so: with 130, and nothing of it runs on."""
    running = subprocess.Popen(
        [*LASTSEAT, *words], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        wait_for(lambda: running.poll() is not None or once(), what, 60)
        assert running.poll() is None, what
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=150)
    finally:
        running.kill()
        running.wait()
    assert running.returncode == 130, said
    assert "Traceback" not in said
    assert processes_of(folder) == []
    return said


def test_the_same_sale_goes_wrong_without_the_lock_and_ends_at_the_last_seat_with_it(tmp_path: Path) -> None:
    done = lastseat(tmp_path, "demo", *QUICK, "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    off, on = said["cells"]
    assert (off["guard"], off["verdict"], off["kept"]) == ("none", "invalid", "yes")
    assert off["oversold"] > 0
    assert off["acknowledged"] - off["capacity"] == off["oversold"]
    assert (on["guard"], on["verdict"], on["acknowledged"], on["oversold"], on["lost"]) == ("file", "valid", 60, 0, 0)
    assert {"worker", "store", "think_ms", "sold_per_s", "refused_per_s", "p50_ms", "p99_ms"} <= on.keys()
    assert said["machine"]["cores"] >= 1

    latest = tmp_path / "results" / "demo" / "latest"
    for cell in ("gevent-json-none", "gevent-json-file"):
        kept = {file.name for file in (latest / "cells" / cell).iterdir()}
        assert {"experiment.json", "history.jsonl", "verdict.json", "server.log"} <= kept
    verdict = json.loads((latest / "cells" / "gevent-json-file" / "verdict.json").read_text())
    assert {"name": "restart", "verdict": "valid"}.items() <= verdict["checks"][-1].items()
    page = (latest / "report.html").read_text()
    assert "gevent × 2 with the lock: 60 tickets for 60 seats" in page
    opening = page[page.index("<main") : page.index('class="plot"')]
    assert "gevent × 2, round 1 of 1: the first sale that went wrong" in opening
    assert re.findall(r'<figure class="hall.*aria-label="(.+)">', opening) == ["Lock off", "Lock on"]
    off_hall, on_hall = (latest / "halls.svg").read_text().split('<g transform="translate(')[1:]
    assert 'class="seat several"' in off_hall
    assert 'class="seat several"' not in on_hall
    assert "60 of 60 seats sold, each to one buyer" in on_hall
    assert "2/2" in done.stderr
    assert processes_of(tmp_path) == []


def test_ctrl_c_stops_everything_and_says_where_the_rest_is(tmp_path: Path) -> None:
    said = interrupted(
        tmp_path, "demo", "--worker", "gevent", "--capacity", "100000", "--rounds", "9",
        once=lambda: any(tmp_path.glob("results/demo/latest/cells/*/parts-*/*.jsonl")), what="the first round",
    )  # fmt: skip
    assert "0 of 2 cells were finished; what was measured is in results/demo" in said
    assert (tmp_path / "results/demo/latest/cells/gevent-json-none/history.jsonl").stat().st_size > 0
    assert processes_of(tmp_path) == []


def test_a_store_that_there_is_not_fails_the_lab_and_says_why(tmp_path: Path) -> None:
    done = lastseat(tmp_path, "demo", *QUICK, "--store", "bogus")
    assert done.returncode == 70
    assert "LASTSEAT_STORE" in done.stderr
    assert "Traceback" not in done.stderr


def test_wrong_usage_is_64(tmp_path: Path) -> None:
    assert lastseat(tmp_path, "demo", "--worker", "threads").returncode == 64
    assert lastseat(tmp_path, "demo", "--buyers", "1").returncode == 64
