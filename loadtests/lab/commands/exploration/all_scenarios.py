"""The options of ``lastseat explore --all``: every scenario over every store and guard that fit, as one table."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.progress import MofNCompleteColumn

from loadtests.lab.commands import options, output
from loadtests.lab.compare import exploration_table
from loadtests.lab.compare.explorations import (
    Explorations,
    Make,
    Tried,
    cells,
    status_of,
    worker_of,
)
from loadtests.lab.compare.matrix import CellSettings
from loadtests.lab.explore.exploration import Scenario
from loadtests.lab.explore.scenarios import SCENARIOS
from loadtests.lab.report.progress import ProgressBar
from service.catalogue import GUARDS, STORES

_SECTION = (exploration_table.BEGIN, exploration_table.END)
_OWN = ("everything", "budget", "fresh", "page")
_NAMES: dict[str, Collection[str]] = {"scenario": SCENARIOS, "store": STORES, "guard": GUARDS}
"""The options that restrict the table, and what they may name."""
_OF_ONE = ("scripts", "buyers", "replay_id", "step")

Case = Callable[[dict[str, Any]], Scenario]
"""The case of the command's options. Raises ``ValueError`` where it cannot be."""


add = options.together(
    click.option("--all", "everything", is_flag=True, help="Every scenario, store and guard; again: goes on."),
    options.budget("Of --all: it ends after this time."),
    click.option("--fresh", is_flag=True, help="With --all: begin a new results folder."),
    options.write("With --all: replace the table in this Markdown page, between its markers."),
)
"""Gives a command the options of the table."""


def take(given: dict[str, Any], case: Case, results: str, *, as_json: bool) -> Callable[[], int] | None:
    """Take the options of the table out of those of a command: what to do, or None where it is not asked for.

    ``case`` has the other options' meaning. Raises ``UsageError`` beside an option of one exploration.
    """
    own = {name: given.pop(name) for name in _OWN}
    if not own["everything"]:
        return None
    typed = options.typed()
    if alone := [option for name, option in typed.items() if name in _OF_ONE]:
        raise click.UsageError(f"--all tries the scenarios as they are, without {alone[0]}. Nothing was started.")
    named = {name: given[name] for name in _NAMES if name in typed}
    for name, value in named.items():
        if value not in _NAMES[name]:
            raise click.UsageError(f"there is no {name} {value!r}; they are: {', '.join(_NAMES[name])}")
    output.refuse_page_without_place(own["page"], *_SECTION)

    def make(scenario: str, store: str, guard: str) -> Scenario:
        worker = given["worker"] if "worker" in typed else worker_of(store)
        return case(given | {"scenario": scenario, "store": store, "guard": guard, "worker": worker})

    return lambda: _run(named, make, own, results, as_json=as_json)


def _run(named: dict[str, str], make: Make, own: dict[str, Any], results: str, *, as_json: bool) -> int:
    wanted = cells(**{f"{name}s": (value,) for name, value in named.items()})
    if not wanted:
        raise click.UsageError("there is no such cell: the guard does not fit the store")
    screen, ends = Console(stderr=True), time.monotonic() + own["budget"]
    kind = "explore-all"
    with output.folder_to_go_on_in(screen, results, CellSettings(), fresh=own["fresh"], kind=kind) as cache:
        with ProgressBar(screen, before=(MofNCompleteColumn(),)) as progress:
            found = Explorations(make, cache.folder, progress, ends).run(wanted)
        table = exploration_table.markdown(
            found, command=output.as_typed(), when=time.strftime("%Y-%m-%d"), machine=cache.machine.in_words
        )
        (cache.folder / "scenarios.md").write_text(table + "\n", encoding="utf-8")
    output.write_table(screen, own["page"], _SECTION, table)
    _say(found, table, as_json=as_json)
    return status_of(found)


def _say(found: list[Tried], table: str, *, as_json: bool) -> None:
    counts = exploration_table.counts(found)
    click.echo(
        msgspec.json.encode({"cells": found, "counts": counts, "status": status_of(found)}) if as_json else table
    )
