"""What a person sees while the demo runs: a line for each cell, with the tickets sold so far in the running round."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

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

from loadtests.lab.experiment.runner import Experiment, Result, Step
from loadtests.lab.history.live_count import LiveCount
from loadtests.lab.untrusted import printable

_STEPS_BESIDE_ROUNDS = 2


class DemoProgress:
    """Rich's progress on a terminal; elsewhere one line for each finished cell."""

    def __init__(self, screen: Console, cells: int) -> None:
        self._screen = screen
        self._cells = cells
        self._done = 0
        self._task: TaskID | None = None
        self._bars = Progress(
            SpinnerColumn(finished_text="•"),
            TextColumn("{task.description}"),
            BarColumn(bar_width=18),
            TextColumn("{task.fields[doing]}"),
            _Tickets(),
            TimeElapsedColumn(),
            console=screen,
            disable=not screen.is_terminal,
        )

    def __enter__(self) -> DemoProgress:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bars.stop()

    def begin(self, cell: Experiment) -> Step:
        """Start a cell's line; returns what ``run`` is to call at each step."""
        task = self._task = self._bars.add_task(
            f"{escape(printable(cell.service.spelled)):<14} {'' if cell.target else cell.service.guard:<6}",
            total=cell.workload.rounds + _STEPS_BESIDE_ROUNDS,
            completed=-1,
            doing="",
            live=None,
            seats=cell.workload.capacity,
        )
        live: list[LiveCount] = []

        def step(doing: str, folder: Path) -> None:
            if not live:
                live.append(LiveCount(folder))
            self._bars.update(task, advance=1, doing=doing, live=live[0])

        return step

    def end(self, result: Result) -> None:
        """Complete the cell's line with its verdict."""
        self._done += 1
        verdict = result.verdict
        colour = "red" if result.rounds_wrong else "green"
        said = f"{verdict.verdict}: {verdict.acknowledged:,} tickets for {result.capacity:,} seats"
        if self._task is not None:
            self._bars.update(self._task, advance=1, doing=f"[{colour}]{said}[/]", live=None)
        if not self._screen.is_terminal:
            service = result.experiment.service
            which = printable(service.spelled)
            if result.experiment.target is None:
                which += f", guard {service.guard}, think {service.think} ms"
            self._screen.print(
                f"{self._done}/{self._cells}  {which}: {said}", highlight=False, markup=False, soft_wrap=True
            )


class _Tickets(ProgressColumn):
    """The running round's tickets, red when there are more than seats; read from its file at each drawing."""

    def render(self, task: Task) -> Text:
        live: LiveCount | None = task.fields["live"]
        tickets = live.read() if live is not None else 0
        if not tickets:
            return Text("")
        return Text(f"{tickets:,} sold", style="bold red" if tickets > task.fields["seats"] else "green")
