"""``lastseat explore --all``: which cells there are, what is said of them, and that it goes on where it ended."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import planted_bugs
import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from loadtests.lab.commands.explore import explore as command
from loadtests.lab.compare.exploration_table import BEGIN, END, counts, markdown
from loadtests.lab.compare.explorations import (
    ExplorationCell,
    Explorations,
    Tried,
    cells,
    status_of,
)
from loadtests.lab.explore.exploration import Scenario
from loadtests.lab.explore.scenarios import SCENARIOS
from loadtests.lab.report.progress import ProgressBar
from service.catalogue import GUARDS, GUARDS_OF, OFF, STORES

SEATS = ExplorationCell("seats", "memory", "thread")


def make(scenario: str, store: str, guard: str) -> Scenario:
    case = Scenario.of(scenario, store=store, guard=guard, worker="gthread")
    case.check()
    return case


def explorations(folder: Path, ends: float, clock: object = lambda: 0.0) -> Explorations:
    return Explorations(make, folder, ProgressBar(Console(quiet=True)), ends, clock=clock)  # type: ignore[arg-type]


def tried(state: str, guard: str = "file", scenario: str = "buy", **more: object) -> Tried:
    return Tried(scenario=scenario, store="json", guard=guard, state=state, **more)  # type: ignore[arg-type]


def explored_all(*arguments: str) -> Result:
    return CliRunner().invoke(command, ["--all", *arguments], standalone_mode=False)


def test_there_is_a_cell_for_each_scenario_and_guard_of_each_store_the_safe_guards_first() -> None:
    found = cells()
    assert len(set(found)) == len(found)
    assert set(found) == {
        ExplorationCell(scenario, store, guard)
        for store in STORES
        for guard in GUARDS_OF[store]
        if not GUARDS[guard].is_leaky
        for scenario in SCENARIOS
    }
    safe = [cell.guard == STORES[cell.store].safe_guard for cell in found]
    assert safe == sorted(safe, reverse=True)
    assert cells(("seats",), ("json",), (OFF,)) == [ExplorationCell("seats", "json", OFF)]


def test_what_there_is_no_time_for_is_not_tried_and_what_a_store_cannot_do_is_not_offered(tmp_path: Path) -> None:
    cart, seats = explorations(tmp_path, ends=0).run([ExplorationCell("cart", "memory", "thread"), SEATS])
    assert (cart.state, seats.state) == ("not offered", "not tried")
    assert "memory writes to one event at a time" in cart.why
    assert status_of([cart, seats]) == 2


@pytest.mark.servers
def test_what_was_tried_is_not_tried_again_and_what_was_interrupted_is(tmp_path: Path) -> None:
    ticks = itertools.chain([0.0, 0.0], itertools.repeat(1.0))
    [interrupted] = explorations(tmp_path, 1, lambda: next(ticks)).run([SEATS])
    assert (interrupted.state, interrupted.schedules) == ("not tried", 2)
    assert list(tmp_path.iterdir()) == []
    first = explorations(tmp_path, math.inf).run([SEATS])
    assert [(each.state, each.schedules) for each in first] == [("valid", 6)]
    assert explorations(tmp_path, ends=0).run([SEATS]) == first, "though there is no time at all"


@pytest.mark.servers
def test_a_cell_that_promises_to_be_right_and_loses_fails_the_command(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\n{END}\nafter\n")
    asked = ("--scenario", "retry", "--store", "memory", "--write", str(page), "--results", str(tmp_path / "results"))
    with planted_bugs.planted(planted_bugs.a_retry_without_its_key, tmp_path):
        ran = explored_all("--guard", "thread", *asked)
    assert ran.exception is None
    assert ran.return_value == 1
    assert "| `thread` | **loses, and should not** |" in ran.stdout
    assert "- `thread`, retry: `2.memory.thread.retry.2.ivp.AAABBB`" in page.read_text()
    assert page.read_text().endswith("\nafter\n")
    again = explored_all("--guard", "none", *asked, "--json")
    assert again.return_value == 0, "without a guard it has to lose"
    assert [each["state"] for each in json.loads(again.stdout)["cells"]] == ["loses"]


def test_the_table_counts_what_was_not_tried_and_never_calls_it_valid() -> None:
    found = [
        tried("valid", safe=True, schedules=20),
        tried("loses", OFF, replay="1.json.none.2x1.avpw.AABBBBAA", schedules=4),
        tried("not all tried", scenario="cart", schedules=2000),
        tried("not tried", OFF, "cart", why="the budget ended first", schedules=3),
        tried("not offered", scenario="switch", why="time is no step there"),
    ]
    table = markdown(found, command="lastseat explore --all", when="today", machine="this one")
    assert counts(found) == "5 cells: 1 valid, 1 loses, 1 not all tried, 1 not offered, 1 not tried."
    assert "| guard | buy | cart | switch |" in table
    assert "| `file` | valid (20) | not all tried (2000) | not offered |" in table
    assert "| `none` | **loses** | not tried (3) |  |" in table
    assert "- `none`, buy: `1.json.none.2x1.avpw.AABBBBAA`" in table
    assert "Not tried: `none` cart: the budget ended first." in table
    assert "Not offered: switch: time is no step there." in table
    assert status_of(found) == 2
    assert status_of(found[:2]) == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--script", "A: buy"], "without --script."),
        (["--replay", "1.json.none.2x1.avpw.AABBBBAA"], "without --replay."),
        (["--scenario", "lunch"], "there is no scenario 'lunch'"),
        (["--store", "redis", "--guard", "file"], "the guard does not fit the store"),
        (["--budget", "soon"], "is no time like 90s"),
        (["--write", __file__], "has no place for results"),
    ],
)
def test_what_cannot_be_asked_for_is_refused_before_anything_starts(
    arguments: list[str], says: str, tmp_path: Path
) -> None:
    ran = CliRunner().invoke(command, ["--all", *arguments, "--results", str(tmp_path)])
    assert ran.exit_code == 2
    assert says in ran.output
