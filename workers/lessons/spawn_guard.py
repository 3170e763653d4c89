"""The main guard: what a program without ``if __name__ == "__main__"`` does when it starts a process, or a thread."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

from workers.lessons.children import ChildFailed
from workers.lessons.programs import program

PATIENCE_S = 20.0
_GUARD = 'if __name__ == "__main__":'


@dataclass(frozen=True, slots=True)
class Start:
    """What a program starts, as it stands in the program, and whether that stands behind the main guard."""

    says: str
    call: str
    guarded: bool


STARTS = (
    Start("a spawned process", 'multiprocessing.get_context("spawn").Process(target=work)', guarded=False),
    Start("a spawned process", 'multiprocessing.get_context("spawn").Process(target=work)', guarded=True),
    Start("a forked process", 'multiprocessing.get_context("fork").Process(target=work)', guarded=False),
    Start("a thread", "threading.Thread(target=work)", guarded=False),
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How often the program's file was run from the top, whether the work was done, and what was raised."""

    runs: int
    worked: bool
    error: str | None


def try_start(start: Start, directory: Path) -> Outcome:
    """Write the program, run it, and look at the marks that it leaves."""
    place = directory / f"{start.says}-{start.guarded}".replace(" ", "-")
    place.mkdir()
    script, log = place / "program.py", place / "log"
    script.write_text(source(start), encoding="utf-8")
    with program([sys.executable, str(script)], log=log, directory=place) as running:
        try:
            running.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            raise ChildFailed(f"the program that starts {start.says} did not end") from None
    said = log.read_text(encoding="utf-8").splitlines()
    error = next((line.partition(":")[0] for line in said if line.startswith("RuntimeError")), None)
    return Outcome(len((place / "runs").read_text(encoding="utf-8")), (place / "worked").exists(), error)


def source(start: Start) -> str:
    """The program: it notes that it is run, and starts one worker, which notes that it worked."""
    ending = f"worker = {start.call}\nworker.start()\nworker.join()\n"
    if start.guarded:
        ending = f"{_GUARD}\n{textwrap.indent(ending, '    ')}"
    return (
        "import multiprocessing, pathlib, threading\n\n"
        'with pathlib.Path("runs").open("a") as runs:\n'
        '    runs.write("x")\n\n\n'
        "def work():\n"
        '    pathlib.Path("worked").touch()\n\n\n'
        f"{ending}"
    )
