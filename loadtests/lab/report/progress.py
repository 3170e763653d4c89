"""The progress of long work: bars on a terminal, elsewhere one line for each thing that is done."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from loadtests.lab.experiment.runner import Experiment, Result, run
from loadtests.lab.history.live_count import LiveCount
from loadtests.lab.report.run_report import write_run_report
from loadtests.lab.untrusted import printable

_STEPS_BESIDE_ROUNDS = 2


class Bars:
    """A context manager: ``_bars`` are shown on ``_screen`` while its block runs, if that is a terminal."""

    def __init__(self, screen: Console, *columns: ProgressColumn, **options: Any) -> None:
        self._screen = screen
        self._bars = Progress(*columns, console=screen, disable=not screen.is_terminal, **options)

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()


class ProgressBar(Bars):
    """A single bar, gone when the block ends, and above it what came out; elsewhere a line for each thing done."""

    def __init__(
        self, screen: Console, *, before: tuple[ProgressColumn, ...] = (), after: tuple[ProgressColumn, ...] = ()
    ) -> None:
        """``before`` and ``after`` are more columns, on both sides of the elapsed time."""
        text = TextColumn("{task.description}")
        columns = (SpinnerColumn(), BarColumn(bar_width=24), *before, TimeElapsedColumn(), *after, text)
        super().__init__(screen, *columns, transient=True)
        self._task = self._bars.add_task("starting", total=None)

    def begin(self, steps: int) -> None:
        """So many steps are to be done."""
        self._bars.update(self._task, total=steps)

    def doing(self, what: str) -> None:
        """What is being done."""
        self._bars.update(self._task, description=what)

    def done(self, steps: int = 1, said: Text | str = "") -> None:
        """Some more steps are done; ``said`` is what came out."""
        self._bars.update(self._task, advance=steps)
        if said:
            self._screen.print(said, highlight=False, markup=False, soft_wrap=True)


class RunProgress(Bars):
    """Runs cells: a bar for each, with the tickets sold so far in the running round."""

    def __init__(self, screen: Console, cells: int) -> None:
        super().__init__(
            screen,
            SpinnerColumn(finished_text="•"),
            TextColumn("{task.description}"),
            BarColumn(bar_width=18),
            TextColumn("{task.fields[doing]}"),
            _Tickets(),
            TimeElapsedColumn(),
        )
        self._cells = cells
        self._done = 0

    def run(self, cell: Experiment, folder: Path, *, is_own_host: bool = False) -> Result:
        """Run a cell in a folder of its own, with a report. Raises ``LabFailed``."""
        task = self._bars.add_task(
            f"{escape(printable(cell.service.spelled)):<14} {'' if cell.target else cell.service.guard:<6}",
            total=cell.workload.rounds + _STEPS_BESIDE_ROUNDS,
            completed=-1,
            doing="",
            live=None,
            seats=cell.workload.capacity,
        )
        live = LiveCount(folder)

        def step(doing: str, _folder: Path) -> None:
            self._bars.update(task, advance=1, doing=doing, live=live)

        result = run(cell, folder, step, is_own_host=is_own_host, report=write_run_report)
        self._say(task, result)
        return result

    def _say(self, task: TaskID, result: Result) -> None:
        """Complete the bar of a cell with its verdict."""
        self._done += 1
        verdict = result.verdict
        colour = "red" if result.rounds_wrong else "green"
        said = f"{verdict.verdict}: {verdict.acknowledged:,} tickets for {result.capacity:,} seats"
        self._bars.update(task, advance=1, doing=f"[{colour}]{said}[/]", live=None)
        if not self._screen.is_terminal:
            service = result.experiment.service
            which = printable(service.spelled)
            if result.experiment.target is None:
                which += f", guard {service.guard}, think {service.think} ms"
            line = f"{self._done}/{self._cells}  {which}: {said}"
            self._screen.print(line, highlight=False, markup=False, soft_wrap=True)


class _Tickets(ProgressColumn):
    """The tickets of the running round, red when there are more than seats; read from its file at each drawing."""

    def render(self, task: Task) -> Text:
        live: LiveCount | None = task.fields["live"]
        tickets = live.read() if live is not None else 0
        if not tickets:
            return Text("")
        return Text(f"{tickets:,} sold", style="bold red" if tickets > task.fields["seats"] else "green")
