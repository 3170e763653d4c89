"""``lastseat explore --export FILE``: record the levels of the game, and write the page."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console

from loadtests.lab.explore.game.levels import Level
from loadtests.lab.explore.game.page import recorded_page
from loadtests.lab.explore.game.recording import LevelRecording, check, record
from loadtests.lab.report.progress import ProgressBar
from loadtests.lab.report.text import counted


def export(path: Path, levels: Mapping[str, Level], known: Mapping[str, LevelRecording]) -> None:
    """Write the page of these levels; the recordings that are known are not made again.

    The file is replaced as a whole at the end: if this is interrupted nothing was written.
    Errors: ``Unrecordable``, ``OSError``.
    """
    recordings = _recorded(levels, known)
    for level in levels.values():
        check(level, recordings[level.name])
    text = recorded_page(levels, recordings)
    number, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(number, "w", encoding="utf-8") as file:
            file.write(text)
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _fits(level: Level, recording: LevelRecording) -> bool:
    return (level.replay, level.tokens) == (recording.replay, recording.tokens)


def _recorded(levels: Mapping[str, Level], known: Mapping[str, LevelRecording]) -> dict[str, LevelRecording]:
    screen = Console(stderr=True, highlight=False)
    recordings = {name: each for name, each in known.items() if name in levels and _fits(levels[name], each)}
    missing = [level for level in levels.values() if level.name not in recordings]
    if missing:
        minutes = counted(-(-len(missing) // 3), "minute")
        screen.print(f"every order of {counted(len(missing), 'level')} runs on the real service: about {minutes}")
    with ProgressBar(screen) as bar:
        bar.begin(len(missing))
        for level in missing:

            def tell(orders: int, name: str = level.name) -> None:
                bar.doing(f"{name}: {counted(orders, 'order')}")

            tell(0)
            made = recordings[level.name] = record(level, tell)
            bar.done(1, f"{level.name}: {made.orders} orders, {made.broken} break it; {len(made.nodes)} nodes")
    return recordings
