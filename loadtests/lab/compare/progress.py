"""What a person sees while a compare runs: a bar on a terminal, elsewhere a line for each sale."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.progress import MofNCompleteColumn
from rich.text import Text

from loadtests.lab.compare.findings import first_line
from loadtests.lab.compare.run import Reporter, Turn
from loadtests.lab.compare.sale import Sale
from loadtests.lab.experiment.runner import Step
from loadtests.lab.report.progress import OneBar


class CompareProgress(OneBar, Reporter):
    """The bar, and above it what came out so far."""

    def __init__(self, screen: Console) -> None:
        super().__init__(screen, before=(MofNCompleteColumn(),))

    def begin(self, sales: int, there: int) -> None:
        self._bars.update(self._task, total=sales)
        if there:
            self._screen.print(f"{there:,} sales are there already; {sales:,} are to be held", highlight=False)

    def turn(self, turn: Turn, left_s: float | None) -> Step:
        left = "" if left_s is None else f"  (at most {max(0, left_s) / 60:.0f} min more)"

        def step(doing: str, _folder: Path) -> None:
            self._bars.update(self._task, description=f"{turn.cell.spelled}: {doing}{left}")

        return step

    def done(self, turn: Turn, sale: Sale) -> None:
        self._bars.update(self._task, advance=1)
        colour = "red" if sale.wrong else "green" if sale.verdict == "valid" else "yellow"
        said = f"{sale.acknowledged:,} tickets for {sale.seats:,} seats, {sale.sold_per_s:,.0f}/s"
        self._screen.print(
            Text.assemble(f"{turn.cell.spelled}: ", (sale.verdict, colour), f", {said}"),
            soft_wrap=True,
            highlight=False,
        )

    def failed(self, turn: Turn, why: str) -> None:
        self._bars.update(self._task, advance=1)
        self._screen.print(Text(f"{turn.cell.spelled}: not measured: {first_line(why)}", "yellow"), soft_wrap=True)
