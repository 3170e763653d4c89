"""Two sales whose halls are shown beside each other: one without the lock that went wrong, and the same with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from loadtests.lab.experiment.result import load_conclusion
from loadtests.lab.history.columns import HistoryError
from loadtests.lab.report.hall.drawing import HallDrawing
from loadtests.lab.report.hall.recorded import RecordedSale
from loadtests.lab.untrusted import NOT_JSON


@dataclass(frozen=True)
class HallSource:
    """A results folder, and how its hall is headed."""

    folder: Path
    title: str


@dataclass(frozen=True)
class Pair:
    """The halls of two sales, the second of which may be missing, after a round; it is counted from 1."""

    halls: list[HallDrawing]
    round: int
    rounds: int


def draw_pair(off: HallSource, on: HallSource | None) -> Pair | None:
    """The halls after the first round of ``off`` that went wrong, and after the same round of ``on``.

    None where the folder of ``off`` cannot be read, or has no places to draw.
    """
    first, second = _recorded(off), _recorded(on)
    if first is None:
        return None
    at = first.first_wrong
    halls = [first.drawing(at, off.title)]
    if halls[0] is None:
        return None
    if on is not None and second is not None:
        halls.append(second.drawing(at, on.title))
    return Pair([hall for hall in halls if hall is not None], at + 1, len(first.events))


def first_wrong(folders: Sequence[Path]) -> Path:
    """The first results folder whose verdict is invalid; the first of all where there is none."""
    return next((folder for folder in folders if _is_invalid(folder)), folders[0])


def _is_invalid(folder: Path) -> bool:
    try:
        return load_conclusion(folder).verdict.verdict == "invalid"
    except (OSError, *NOT_JSON):
        return False


def _recorded(sale: HallSource | None) -> RecordedSale | None:
    if sale is None:
        return None
    try:
        return RecordedSale(sale.folder, load_conclusion(sale.folder).verdict)
    except (HistoryError, OSError, *NOT_JSON):
        return None
