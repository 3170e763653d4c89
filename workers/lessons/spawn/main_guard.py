"""The main guard: programs with and without ``if __name__ == "__main__"`` that start a process, or a thread."""

from __future__ import annotations

import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

from workers.lessons.common.processes import PATIENCE_S, run_to_end

_GUARD = 'if __name__ == "__main__":'


@dataclass(frozen=True, slots=True)
class Start:
    """The kind of worker that a program starts, the call that does it, and whether it stands behind the main guard."""

    what: str
    call: str
    guarded: bool


STARTS = (
    Start("a spawned process", 'multiprocessing.get_context("spawn").Process(target=work)', guarded=False),
    Start("a spawned process", 'multiprocessing.get_context("spawn").Process(target=work)', guarded=True),
    Start("a forked process", 'multiprocessing.get_context("fork").Process(target=work)', guarded=False),
    Start("a thread", "threading.Thread(target=work)", guarded=False),
)


@dataclass(frozen=True, slots=True)
class ProgramRuns:
    """The number of runs of the program's file, whether the work was done, and the error."""

    runs: int
    worked: bool
    error: str | None


def try_start(start: Start, directory: Path) -> ProgramRuns:
    """Writes the program, runs it, and looks at the marks that it leaves."""
    place = directory / f"{start.what}-{start.guarded}".replace(" ", "-")
    place.mkdir()
    script = place / "program.py"
    script.write_text(source(start), encoding="utf-8")
    name = f"the program that starts {start.what}"
    _, _, errors = run_to_end([sys.executable, str(script)], name, PATIENCE_S, directory=place)
    error = next((line.partition(":")[0] for line in errors.splitlines() if line.startswith("RuntimeError")), None)
    return ProgramRuns(len((place / "runs").read_text(encoding="utf-8")), (place / "worked").exists(), error)


def source(start: Start) -> str:
    """The program: it notes each run, and starts one worker, which notes that it worked."""
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
