"""``lastseat faults``: what is listed, which cells there are, and what is said of what came out."""

from __future__ import annotations

import io
import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from rich.console import Console

from loadtests.lab.commands.faults import faults
from loadtests.lab.compare.fault_page import BEGIN, END, fault_drawing, notes, write_fault_page, write_fault_section
from loadtests.lab.compare.fault_plan import FaultMatrix, plan_faults
from loadtests.lab.compare.fault_table import FaultOutcome, FaultResults, collect, expected_of, fault_grids
from loadtests.lab.compare.matrix import Cell, CellSettings, PlannedCells
from loadtests.lab.compare.results import NO_TIME
from loadtests.lab.faults import FAULTS, fault_class
from loadtests.lab.servers.machine import describe
from service.catalogue import GUARDS, OFF, STORES
from tests.loadtests.compare.test_compare import sale, wrong
from tests.loadtests.target.test_target import lastseat

SHAPE = CellSettings()


def cell(store: str = "json", guard: str = "file", fault: str = "kill-worker", think: str = "none") -> Cell:
    return Cell(store, guard, "gthread", 2, think, fault)


def results() -> FaultResults:
    """One cell is held, one refused, one lost; one failed, one is left."""
    measured = {
        cell(): [sale()],
        cell("redis", "atomic", "kill-node"): [sale(failed=7, stood_still_s=2.14)],
        cell(guard=OFF, think="io"): [wrong(folder="a/1")],
    }
    failures = {cell("journal"): "the fault did not happen"}
    left = cell("sqlite", "immediate")
    whole = PlannedCells([[*measured, *failures, left]], {cell(fault="kill-node"): "it takes several nodes"})
    return collect(whole, measured, failures, SHAPE, ended=True)


# -- the list ----------------------------------------------------------------------------------------------------------


def test_a_user_without_root_is_told_what_cannot_be_done_with_one_store_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    said = " ".join(CliRunner().invoke(faults, []).output.split())
    assert "this machine can do it; but not with --store postgres: a disk of its own takes Linux, root" in said
    listed = {each["name"]: each for each in json.loads(CliRunner().invoke(faults, ["--json"]).output)}
    assert [*listed["full-engine"]["missing_under"]] == ["postgres"]
    assert not listed["full-engine"]["missing"]
    assert not listed["read-only"]["missing_under"]
    assert "root" in listed["cut-node"]["missing"]


def test_every_fault_is_listed_with_what_it_needs_and_whether_this_machine_can(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fault_class("oom-kill"), "needs", classmethod(lambda _cls: "take root."))
    said = CliRunner().invoke(faults, []).output
    listed = json.loads(CliRunner().invoke(faults, ["--json"]).output)
    assert [each["name"] for each in listed] == [*FAULTS]
    for each in listed:
        assert each["says"] in said
        assert each["needs"] in said
    assert "not on this machine: take root." in said
    assert {each["name"] for each in listed if each["of_target"]} >= {
        "pause",
        "kill-worker",
        "starve",
        "no-descriptors",
    }


# -- the cells ---------------------------------------------------------------------------------------------------------


def test_each_durable_store_has_its_safe_guard_and_the_canaries_are_there() -> None:
    cells = plan_faults(FaultMatrix(workers=("gthread",))).cells
    pairs = {(each.store, each.guard) for each in cells}
    assert {(name, store.safe_guard) for name, store in STORES.items() if store.durable} <= pairs
    assert ("redis", "lease") in pairs
    assert any(guard == OFF for _, guard in pairs)
    assert len(cells) == len(set(cells)) == len({each.name for each in cells})
    assert {each.nodes for each in cells if each.fault in {"kill-node", "cut-node"}} <= {3}


def test_a_cell_that_cannot_be_has_its_reason() -> None:
    impossible = plan_faults(FaultMatrix()).impossible
    why = {(each.store, each.guard, each.fault): reason for each, reason in impossible.items()}
    assert "say --nodes 3" in why["json", "file", "kill-node"]
    assert "leaves no place between reading and writing" in why["redis", "atomic", "pause"]


def test_faults_of_processes_and_disks_are_planned_under_every_worker_model_and_others_under_one() -> None:
    by_itself = plan_faults(FaultMatrix(guards=("immediate",), faults=("kill-worker", "latency"))).cells
    asked = plan_faults(FaultMatrix(guards=("immediate",), faults=("latency",), workers=("gevent",))).cells
    assert [(each.worker, each.fault) for each in by_itself] == [
        ("sync", "kill-worker"), ("sync", "latency"), ("gthread", "kill-worker"), ("gevent", "kill-worker"),
    ]  # fmt: skip
    assert [(each.worker, each.fault) for each in asked] == [("gevent", "latency")]


def test_what_is_expected_stands_with_store_and_guard() -> None:
    assert expected_of(cell(), SHAPE) == "holds"
    assert expected_of(cell(fault="no-descriptors"), SHAPE) == "may refuse"
    assert expected_of(cell("redis", "lease", "pause"), SHAPE) == "loses"
    assert expected_of(cell("redis", "lease", "loss"), SHAPE) == "may lose"
    assert expected_of(cell("redis", "fenced", "pause"), SHAPE) == "holds"
    assert expected_of(cell("redis", "fenced", "loss"), SHAPE) == "may refuse"
    assert expected_of(cell("redis", "lease", "starve"), SHAPE) == "holds"
    assert expected_of(cell("redis", "atomic", "failover"), SHAPE) == "loses"
    assert expected_of(cell("redis", "atomic", "read-only"), SHAPE) == "may refuse"
    assert expected_of(cell(guard=OFF, think="io"), SHAPE) == "loses"
    assert expected_of(cell(guard="leaky"), SHAPE) == "may lose"


def test_the_faults_that_store_and_guard_name_exist() -> None:
    named = {name for store in STORES.values() for name in store.refuses_under + store.loses_under}
    named |= {name for guard in GUARDS.values() for name in guard.loses_under + guard.may_lose_under}
    assert named <= set(FAULTS)


# -- what is said ------------------------------------------------------------------------------------------------------


def test_a_cell_is_held_refused_or_lost_and_all_as_expected_is_no_success_where_one_was_not_measured() -> None:
    found = results()
    assert [(each.outcome, each.as_expected) for each in found.found] == [
        (FaultOutcome.HELD, True), (FaultOutcome.REFUSED, True), (FaultOutcome.LOST, True),
    ]  # fmt: skip
    assert found.found[2].counterexample == "cells/a/1/counterexample.svg"
    assert found.status == 2
    assert collect(PlannedCells([[cell()]], {}), {cell(): [sale()]}, {}, SHAPE, ended=True).status == 0


@pytest.mark.parametrize(
    ("where", "came"),
    [
        (cell(), wrong()),
        (cell(), sale(failed=3)),
        (cell(guard=OFF, think="io"), sale()),
        (cell("redis", "lease", "pause"), sale()),
    ],
    ids=["a safe guard loses", "it refuses where it should hold", "a canary holds", "a lease holds"],
)
def test_a_cell_that_is_not_as_expected_fails_also_a_canary_that_is_not_caught(where: Cell, came: Any) -> None:
    found = collect(PlannedCells([[where]], {}), {where: [came]}, {}, SHAPE, ended=True)
    assert found.status == 1
    assert found.found[0].words.endswith(" !")
    assert where.spelled in notes(found)[0]


def test_the_table_says_of_each_cell_what_came_out() -> None:
    [grid] = fault_grids(results())
    assert "gthread" in grid.title
    assert grid.columns[1:] == ["json + none", "json + file", "journal + file", "sqlite + immediate", "redis + atomic"]
    assert grid.rows == [
        ["kill-worker", "✗ lost", "held", "failed !", "–", ""],
        ["kill-node", "", "", "", "", "refused 2.1 s"],
    ]
    said = notes(results())
    assert any("the fault did not happen" in note for note in said)
    assert any(NO_TIME in note for note in said)


def test_on_a_terminal_of_80_columns_no_line_is_longer_and_no_cell_is_cut() -> None:
    plan = plan_faults(FaultMatrix(workers=("gthread",)))
    sold = {each: [sale(failed=1, stood_still_s=10.25)] for each in plan.cells}
    console = Console(width=80, file=io.StringIO(), highlight=False)
    for grid in fault_grids(collect(plan, sold, {}, SHAPE, ended=True)):
        for table in grid.for_console(console):
            console.print(table)
    said = console.file.getvalue()  # type: ignore[attr-defined]
    assert max(map(len, said.splitlines())) <= 80
    assert said.count("refused 10.2 s") == len(plan.cells)


def test_the_page_links_the_counterexample_and_the_drawing_has_a_word_in_each_cell(tmp_path: Path) -> None:
    found = results()
    page = write_fault_page(
        tmp_path, found, SHAPE, describe(tmp_path), when="now", command="lastseat faults"
    ).read_text()
    assert 'href="cells/a/1/counterexample.svg"' in page
    drawn = "".join(ET.fromstring(fault_drawing(found)).itertext())
    for words in ("held", "refused 2.1 s", "✗ lost", "failed !"):
        assert words in drawn
    assert "cells/a/1/counterexample.svg" in fault_drawing(found)
    saved = json.loads((tmp_path / "matrix.json").read_text())
    assert [each["outcome"] for each in saved["cells"]] == ["held", "refused", "lost"]


def test_the_table_replaces_the_one_in_a_page(tmp_path: Path) -> None:
    page = tmp_path / "faults.md"
    page.write_text(f"before\n{BEGIN}\nolder\n{END}\nafter\n")
    write_fault_section(page, results(), describe(tmp_path), when="now", command="lastseat faults")
    assert "| kill-worker | ✗ lost | held | failed ! | – |  |" in page.read_text()
    assert "older" not in page.read_text()
    assert page.read_text().startswith("before\n")


@pytest.mark.servers
def test_a_matrix_goes_on_where_it_was_and_holds_no_sale_twice(tmp_path: Path) -> None:
    asked = ["faults", "--matrix", "--store", "journal", "--fault", "kill-worker", "--worker", "gthread"]
    asked += ["--guard", "file", "--seconds", "0.5", "--buyers", "8", "--json"]
    first, again = lastseat(tmp_path, *asked), lastseat(tmp_path, *asked)
    assert first.returncode == again.returncode == 0, first.stderr
    [one] = json.loads(first.stdout)["cells"]
    assert (one["store"], one["guard"], one["fault"], one["outcome"]) == ("journal", "file", "kill-worker", "held")
    assert json.loads(again.stdout)["cells"] == [one]
    [place] = (tmp_path / "results" / "faults").glob("2*/cells/*")
    assert [each.name for each in place.glob("*.json")] == ["1.json"]
