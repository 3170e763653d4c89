"""A single progress bar for long work, on a terminal; elsewhere nothing of it is shown, only what is printed."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, TextColumn, TimeElapsedColumn


class OneBar:
    """``_bars`` has one task, ``_task``; what is printed on ``_screen`` stands above it. Gone when the block ends."""

    def __init__(
        self, screen: Console, *, before: tuple[ProgressColumn, ...] = (), after: tuple[ProgressColumn, ...] = ()
    ) -> None:
        """``before`` and ``after`` the time that has passed stand more columns."""
        self._screen = screen
        self._bars = Progress(
            SpinnerColumn(),
            BarColumn(bar_width=24),
            *before,
            TimeElapsedColumn(),
            *after,
            TextColumn("{task.description}"),
            console=screen,
            disable=not screen.is_terminal,
            transient=True,
        )
        self._task = self._bars.add_task("starting", total=None)

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bars.stop()
