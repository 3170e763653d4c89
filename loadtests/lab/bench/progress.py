"""What a person sees while the benchmark runs: a bar on a terminal, elsewhere a line for each thing measured."""

from __future__ import annotations

from rich.console import Console
from rich.progress import TextColumn, TimeRemainingColumn

from loadtests.lab.bench.benchmark import Reporter
from loadtests.lab.report.progress import OneBar


class BenchProgress(OneBar, Reporter):
    """The bar, and above it what came out so far."""

    def __init__(self, screen: Console) -> None:
        super().__init__(screen, after=(TextColumn("left"), TimeRemainingColumn()))

    def begin(self, steps: int) -> None:
        self._bars.update(self._task, total=steps)

    def doing(self, what: str) -> None:
        self._bars.update(self._task, description=what)

    def done(self, steps: int = 1, said: str = "") -> None:
        self._bars.update(self._task, advance=steps)
        if said:
            self._screen.print(said, highlight=False, markup=False, soft_wrap=True)
