"""The halls that a demo's report opens with: the first sale that went wrong, and its counterpart with the lock on."""

from __future__ import annotations

from dataclasses import dataclass

from loadtests.lab.experiment.expectation import Expectation
from loadtests.lab.experiment.runner import Result
from loadtests.lab.report.hall.drawing import HallDrawing, beside
from loadtests.lab.report.hall.pair import HallSource, draw_pair
from loadtests.lab.report.text import heading
from service.catalogue import OFF


@dataclass(frozen=True)
class DemoHalls:
    """Halls beside each other, and which sales they are of."""

    halls: list[HallDrawing]
    caption: str

    @property
    def svg(self) -> str:
        """Both in one drawing, for a README or a slide."""
        return beside(self.halls, "halls")


def demo_halls(results: list[Result]) -> DemoHalls | None:
    """The halls of the first worker model whose sale without a lock went wrong; if none did, of the first of all.

    The counterpart is the cell of the same worker model under a guard that kept its promise, with the same delay where
    there is one. None where nothing can be drawn.
    """
    off = next((each for each in results if each.experiment.service.guard == OFF and each.rounds_wrong), None)
    off = off or (results[0] if results else None)
    if off is None:
        return None
    on = _counterpart(off, results)
    pair = draw_pair(_sale(off, results), None if on is None else _sale(on, results))
    if pair is None:
        return None
    which = f"{off.experiment.service.spelled}, round {pair.round} of {pair.rounds}"
    if off.rounds_wrong:
        which += ": the first sale that went wrong"
    if len(pair.halls) > 1:
        which += "; beside it the same round with the lock on"
    return DemoHalls(pair.halls, f"{which}.")


def _counterpart(off: Result, results: list[Result]) -> Result | None:
    service = off.experiment.service
    same = [
        each
        for each in results
        if each.experiment.service.spelled == service.spelled
        and each.experiment.service.guard != OFF
        and each.expectation is Expectation.EXACT
        and not each.rounds_wrong
    ]
    same.sort(key=lambda each: abs(each.experiment.service.think_ms - service.think_ms))
    return same[0] if same else None


def _sale(result: Result, results: list[Result]) -> HallSource:
    title = heading(result, results)
    return HallSource(result.folder, title[0].upper() + title[1:])
