"""The options of ``lastseat explore`` for its game: ``--serve`` plays it live, ``--export`` writes it into one file."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import click

from loadtests.lab.commands import options
from loadtests.lab.commands.places import READ_FILE, WRITTEN_FILE
from loadtests.lab.explore.game.levels import Level, load, named

Play = Callable[[str], int]
"""Plays or writes the game, its services under a worker model; the exit status."""

_LEVELS = options.Parsed("levels", lambda text: named(name.strip() for name in text.split(",") if name.strip()))
_OWN = ("serve", "port", "export", "levels", "from_page")


add = options.together(
    click.option("--serve", is_flag=True, help="The game, live: a page on which you are the scheduler."),
    options.option("--port", click.IntRange(0, 65535), "Of --serve; 0: any free.", default=8090),
    options.option("--export", WRITTEN_FILE, "Write the game as one page that needs no server; takes minutes."),
    options.option("--levels", _LEVELS, "With --serve or --export: only these levels, a,b,…", note="all"),
    options.option("--from from_page", READ_FILE, "With --export: take the recordings that this page has."),
)
"""Gives a command the options of the game."""


def take(given: dict[str, Any]) -> Play | None:
    """Take the game's options out of those of a command: what to do, or None where it is not asked for.

    Raises ``UsageError`` beside an option that the levels decide.
    """
    own = {name: given.pop(name) for name in _OWN}
    if not own["serve"] and own["export"] is None:
        return None
    _refuse_all_but([*_OWN, *(["worker"] if own["serve"] else [])])
    levels = own["levels"] or load()
    if own["serve"]:
        from loadtests.lab.explore.game.server import serve_page

        return lambda worker: serve_page(levels, worker, own["port"])
    return lambda _worker: _export(own["export"], levels, own["from_page"])


def _refuse_all_but(names: Collection[str]) -> None:
    for name, option in options.typed().items():
        if name not in names:
            raise click.UsageError(f"{option} is decided by the levels of the game; leave it out.")


def _export(path: Path, levels: dict[str, Level], from_page: Path | None) -> int:
    from loadtests.lab.explore.game.export import export
    from loadtests.lab.explore.game.page import recordings_in
    from loadtests.lab.explore.game.recording import Unrecordable

    try:
        known = recordings_in(from_page.read_text(encoding="utf-8")) if from_page is not None else {}
        export(path, levels, known)
    except ValueError as error:
        raise click.UsageError(f"{from_page}: {error}. Nothing was written.") from None
    except (Unrecordable, OSError) as error:
        raise click.ClickException(f"{error}. {path} was not written.") from None
    return 0
