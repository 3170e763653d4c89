"""What a person sees while the benchmark runs: a bar on a terminal, elsewhere a line for each thing measured."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from loadtests.lab.bench.bench import Reporter


class BenchProgress(Reporter):
    """Rich's progress bar, and above it what came out so far."""

    def __init__(self, screen: Console) -> None:
        self._screen = screen
        self._bars = Progress(
            SpinnerColumn(),
            BarColumn(bar_width=24),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.description}"),
            console=screen,
            disable=not screen.is_terminal,
            transient=True,
        )
        self._task = self._bars.add_task("starting", total=None)

    def __enter__(self) -> BenchProgress:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bars.stop()

    def begin(self, steps: int) -> None:
        self._bars.update(self._task, total=steps)

    def doing(self, what: str) -> None:
        self._bars.update(self._task, description=what)

    def done(self, steps: int = 1, said: str = "") -> None:
        self._bars.update(self._task, advance=steps)
        if said:
            self._screen.print(said, highlight=False, markup=False, soft_wrap=True)
