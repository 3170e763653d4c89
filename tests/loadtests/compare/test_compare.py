"""``lastseat compare``: what comes first, what is not measured twice, what is said of it."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from rich.console import Console

from loadtests.lab.checks.anomalies import ANOMALIES, anomalies_of
from loadtests.lab.checks.verdict import CheckResult, Verdict, Witness, WitnessOperation
from loadtests.lab.commands.compare import compare
from loadtests.lab.commands.options import read_budget
from loadtests.lab.compare import cache as keeping
from loadtests.lab.compare.anomalies import provoking_cells
from loadtests.lab.compare.cache import FolderInUse, SalesCache, open_cache, source_digest
from loadtests.lab.compare.evidence import BEGIN, END, PairEvidence, Schedules, gather, markdown
from loadtests.lab.compare.findings import answers, first_line
from loadtests.lab.compare.heat_map import heat_map
from loadtests.lab.compare.matrix import PER_BLOCK, Cell, CellSettings, Matrix, PlannedCells, plan
from loadtests.lab.compare.page import BEGIN as MATRIX_BEGIN
from loadtests.lab.compare.page import END as MATRIX_END
from loadtests.lab.compare.page import as_json, write_report, write_section
from loadtests.lab.compare.results import NO_TIME, Results, SaleFigures, summarize
from loadtests.lab.compare.run import FEWEST, MOST, CompareProgress, Comparison, seats_for, turns
from loadtests.lab.experiment.runner import Experiment, LabFailed, OnStep
from loadtests.lab.explore.exploration import SeenAnomaly
from loadtests.lab.report import markdown as sections
from loadtests.lab.servers import office
from loadtests.lab.servers.machine import describe
from service.catalogue import GUARDS, GUARDS_OF, STORES
from tests.combinations import shortened
from tests.loadtests.commands.test_demo import interrupted, processes_of
from tests.loadtests.target.test_target import lastseat
from workers import WORKER_MODELS

SHAPE = CellSettings()


def sale(**changes: Any) -> SaleFigures:
    values: dict[str, Any] = {
        "verdict": "valid", "wrong": False, "seats": 100, "acknowledged": 100, "oversold": 0, "lost": 0,
        "double_booked": 0, "anomalies": {}, "sold_per_s": 500.0, "refused_per_s": 400.0, "unavailable": 0,
        "p50_ms": 20.0, "p99_ms": 60.0, "wait_p50_ms": 1.5, "wait_p99_ms": 9.0, "overtaken_max": 4, "cpu_ms": 0.8,
        "engine_cpu_ms": None, "seats_per_s": 500.0, "slow_load": False, "folder": "cell/1",
    }  # fmt: skip
    return SaleFigures(**(values | changes))


def wrong(**changes: Any) -> SaleFigures:
    bad = {"verdict": "invalid", "wrong": True, "oversold": 50, "lost": 7, "anomalies": {"oversold": 50, "lost": 7}}
    return sale(**(bad | changes))


def cell(guard: str = "file", worker: str = "gevent", processes: int = 2, think: str = "none", **more: str) -> Cell:
    return Cell(more.get("store", "json"), guard, worker, processes, think, more.get("fault", ""))


def results_of(
    tmp_path: Path, sales: dict[Cell, list[SaleFigures]], failures: dict[Cell, str] | None = None
) -> Results:
    whole = PlannedCells([list({**sales, **(failures or {})})], {})
    return summarize(whole, sales, failures or {}, shape=SHAPE, machine=describe(tmp_path), why_not=NO_TIME)


# -- which cells, and which come first -------------------------------------------------------------------------------


def test_every_pair_of_the_registries_is_there_under_every_worker_model() -> None:
    found = plan(Matrix()).cells
    for store, guards in GUARDS_OF.items():
        if STORES[store].scope == "process":
            continue
        for guard in set(guards) - {"leaky"}:
            mine = {each.worker for each in found if (each.store, each.guard) == (store, guard)}
            assert mine == set(WORKER_MODELS)
    assert len(found) == len(set(found))
    assert {each.guard for each in found} == set(GUARDS) - {"leaky"}


def test_the_first_cells_tell_what_a_worker_class_is_worth_and_whether_the_lock_matters() -> None:
    first = plan(Matrix()).blocks[0]
    assert {(each.guard, each.worker, each.think) for each in first} == {
        (guard, worker, think)
        for guard in ("none", "file")
        for worker in WORKER_MODELS
        for think in ("none", "io", "cpu")
    }
    assert {each.store for each in first} == {"json"}
    assert all(each.processes == WORKER_MODELS[each.worker].processes for each in first)


def test_then_come_other_stores_then_other_guards_then_other_numbers_of_processes() -> None:
    cells = plan(Matrix(thinks=("none",), stores=("json", "sqlite"))).cells
    places = [
        max(cells.index(each) for each in cells if chosen(each))
        for chosen in (
            lambda each: each.store == "sqlite" and each.guard in {"none", "immediate"} and each.processes > 1,
            lambda each: each.guard in {"thread", "atomic"} and each.processes > 1,
            lambda each: each.processes == 1 and each.guard in {"none", "file", "immediate"},
            lambda each: each.processes == 1 and each.guard in {"thread", "atomic"},
        )
    ]
    assert places == sorted(places)


def test_no_block_is_so_long_that_its_cells_lie_far_apart() -> None:
    assert all(len(block) <= PER_BLOCK for block in plan(Matrix()).blocks)


def test_a_store_of_one_process_is_compared_only_where_asked_for_and_never_with_several() -> None:
    assert not any(each.store == "memory" for each in plan(Matrix()).cells)
    asked = plan(Matrix(stores=("memory",)))
    assert {each.processes for each in asked.cells} == {1}
    assert set(asked.impossible.values()) == {"the store memory lives in one process"}


def test_a_fault_among_the_guards_is_compared_only_where_asked_for() -> None:
    assert not any(each.guard == "leaky" for each in plan(Matrix()).cells)
    assert {each.guard for each in plan(Matrix(guards=("leaky",))).cells} == {"leaky"}


def test_a_block_is_gone_through_forwards_backwards_forwards() -> None:
    a, b = cell("none"), cell("file")
    assert [(each.cell, each.number) for each in turns([[a, b], [a]], 3)] == [
        (a, 1), (b, 1), (b, 2), (a, 2), (a, 3), (b, 3), (a, 1), (a, 2), (a, 3),
    ]  # fmt: skip


def test_a_sale_has_as_many_seats_as_its_length_asks_for_by_what_was_measured_before() -> None:
    slow = {cell(): [sale(seats_per_s=100.0), sale(seats_per_s=300.0), sale(seats_per_s=200.0)]}
    assert seats_for(cell(), CellSettings(seconds=2), slow) == 400
    assert seats_for(cell(worker="sync", processes=4), CellSettings(seconds=2), slow) == 400  # of the one most like it
    quick = {cell(fault="pause"): [sale(seats_per_s=20.0)], cell(fault="starve"): [sale(seats_per_s=90.0)]}
    assert seats_for(cell(fault="kill-worker"), CellSettings(seconds=2), quick) == 180  # of the quickest of these
    assert seats_for(cell(), CellSettings(seconds=100), slow) == MOST
    assert seats_for(cell(think="io"), CellSettings(think_ms=1000), slow) == FEWEST


# -- what is not measured twice --------------------------------------------------------------------------------------


class Clock:
    """Time passes only while a sale is held."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Lab:
    """In the place of real sales: remembers what was held, and lets time pass."""

    def __init__(self, lasts_s: float = 10.0, fails: Callable[[Experiment], bool] = lambda _: False) -> None:
        self.clock = Clock()
        self.held: list[Experiment] = []
        self._lasts_s = lasts_s
        self._fails = fails

    def hold(self, experiment: Experiment, _place: Path, _step: OnStep) -> SaleFigures:
        self.clock.now += self._lasts_s
        if self._fails(experiment):
            raise LabFailed("the server ended with status 1")
        self.held.append(experiment)
        return sale(seats=experiment.workload.capacity)


def comparison(folder: Path, lab: Lab, cells: list[Cell]) -> Comparison:
    kept = SalesCache(folder, describe(folder))
    progress = CompareProgress(Console(quiet=True))
    return Comparison(PlannedCells([cells], {}), SHAPE, kept, progress, clock=lab.clock, hold_one=lab.hold)


def test_what_is_in_the_folder_is_not_held_again_unless_asked(tmp_path: Path) -> None:
    first, second, third = Lab(), Lab(), Lab()
    comparison(tmp_path, first, [cell("none"), cell("file")]).run(2, None)
    assert len(first.held) == 4
    comparison(tmp_path, second, [cell("none"), cell("file")]).run(2, None)
    assert second.held == []
    asked_again = comparison(tmp_path, third, [cell("none")])
    asked_again.run(1, None, again=True)
    assert len(third.held) == 1
    assert len(asked_again.sales[cell("none")]) == 3


def test_a_compare_that_was_killed_in_a_sale_holds_that_sale_again_and_no_other(tmp_path: Path) -> None:
    kept = SalesCache(tmp_path, describe(tmp_path))
    kept.add(kept.place(cell("none")), sale())
    killed = kept.place(cell("file"))
    (killed / "history.jsonl").write_text("half a li")
    lab = Lab()
    comparison(tmp_path, lab, [cell("none"), cell("file")]).run(1, None)
    assert [each.service.guard for each in lab.held] == ["file"]
    assert not (killed / "history.jsonl").exists()
    assert len(kept.sales(cell("file"))) == 1


def test_figures_that_cannot_be_read_were_not_measured(tmp_path: Path) -> None:
    kept = SalesCache(tmp_path, describe(tmp_path))
    place = kept.place(cell())
    kept.add(place, sale())
    kept.add(kept.place(cell()), sale(seats=7))
    place.with_name("1.json").write_text("{")
    assert [each.seats for each in kept.sales(cell())] == [7]
    assert kept.place(cell()).name == "3"  # what is readable is not overwritten


def test_no_two_sales_of_a_cell_are_the_same_sale(tmp_path: Path) -> None:
    lab = Lab()
    comparison(tmp_path, lab, [cell()]).run(3, None)
    assert len({each.workload.seed for each in lab.held}) == 3


def test_no_sale_is_begun_that_would_not_end_within_the_budget(tmp_path: Path) -> None:
    lab = Lab(lasts_s=10.0)
    running = comparison(tmp_path, lab, [cell(think=think) for think in ("none", "io", "cpu")])
    running.run(1, 25.0)
    assert len(lab.held) == 2
    assert lab.clock.now <= 25.0
    assert running.out_of_time


def test_a_cell_that_cannot_be_started_is_not_measured_with_the_reason_and_is_no_figure(tmp_path: Path) -> None:
    lab = Lab(fails=lambda experiment: experiment.service.guard == "file")
    running = comparison(tmp_path, lab, [cell("none"), cell("file")])
    running.run(3, None)
    assert [each.service.guard for each in lab.held] == ["none"] * 3  # and the other was tried once
    found = summarize(running.plan, running.sales, running.failures, shape=SHAPE, machine=describe(tmp_path))
    assert [each.cell for each in found.found] == [cell("none")]
    assert [(each.cell, each.why, each.failed) for each in found.missing] == [
        (cell("file"), "the server ended with status 1", True)
    ]
    assert found.status != 0
    assert any("not measured" in note and "status 1" in note for note in answers(found).notes)
    assert "failed" in heat_map(found)


def test_a_folder_is_gone_on_with_only_under_the_same_conditions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def folder(shape: CellSettings = SHAPE, *, fresh: bool = False) -> tuple[Path, str]:
        with open_cache(str(tmp_path), shape, fresh=fresh) as (kept, said):
            return kept.folder, said

    first, said = folder()
    assert "none to go on with" in said
    assert folder() == (first, "going on with what was measured there")
    other, said = folder(CellSettings(buyers=7))
    assert other != first
    assert "another shape" in said
    assert folder(CellSettings(buyers=7), fresh=True)[0] != other
    monkeypatch.setattr(keeping, "source_digest", lambda: "another service")
    assert "the service is not the one" in folder(CellSettings(buyers=7))[1]


def test_what_is_expected_under_a_fault_is_no_condition_of_what_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    before, journal = source_digest(), STORES["journal"]
    monkeypatch.setitem(STORES, "journal", replace(journal, refuses_under=("pause",), loses_under=("eio",)))
    assert source_digest() == before
    monkeypatch.setitem(STORES, "journal", replace(journal, default_batch=1))
    assert source_digest() != before


def test_two_compares_do_not_work_in_one_folder(tmp_path: Path) -> None:
    with (
        open_cache(str(tmp_path), SHAPE, fresh=False),
        pytest.raises(FolderInUse, match="Another lastseat works in"),
        open_cache(str(tmp_path), SHAPE, fresh=False),
    ):
        pass


@pytest.mark.parametrize(("given", "seconds"), [("90s", 90), ("10m", 600), ("1.5h", 5400), ("none", float("inf"))])
def test_a_budget_is_a_time(given: str, seconds: float) -> None:
    assert read_budget(given) == seconds


@pytest.mark.parametrize("given", ["10", "m", "0m", "-1m", "10 m", "10min", ""])
def test_what_is_no_time_is_refused(given: str) -> None:
    with pytest.raises(ValueError, match="is no time like 90s"):
        read_budget(given)


# -- what is said ----------------------------------------------------------------------------------------------------


def test_what_went_wrong_is_said_by_guard_and_what_tells_it_apart(tmp_path: Path) -> None:
    found = results_of(
        tmp_path,
        {
            cell("none"): [wrong()],
            cell("none", processes=1): [sale()],
            cell("thread"): [wrong()],
            cell("thread", processes=1): [sale()],
            cell("file"): [sale(), sale()],
        },
    )
    said = " ".join(answers(found).wrong)
    assert "`none` went wrong in 1 of 2 cells: 50 tickets too many, 7 acknowledged orders lost." in said
    assert "By luck it did not in gevent × 1, json + none." in said
    assert "`thread` went wrong in 1 of 2 cells" in said
    assert "It did with several processes and did not within one." in said
    assert "No violation was found in 3 sales of 2 cells" in said
    assert found.status == 0


def test_a_safe_guard_that_goes_wrong_is_an_alarm_and_exit_status_1(tmp_path: Path) -> None:
    found = results_of(tmp_path, {cell("file"): [sale(), wrong()]})
    assert found.found[0].verdict == "invalid"
    assert found.status == 1
    assert any(note.startswith("! gevent × 2, json + file") for note in answers(found).notes)


def test_a_guard_that_should_have_gone_wrong_and_did_not_is_an_alarm_too(tmp_path: Path) -> None:
    assert results_of(tmp_path, {cell("none", think="io"): [sale()]}).status == 1


def test_without_a_delay_whether_unguarded_purchases_meet_is_luck(tmp_path: Path) -> None:
    found = results_of(tmp_path, {cell("none"): [sale()], cell("thread"): [wrong()]})
    assert found.status == 0
    assert [each.by_luck for each in found.found] == [True, False]


def test_the_fastest_is_the_fastest_right_one(tmp_path: Path) -> None:
    found = results_of(
        tmp_path,
        {
            cell("none"): [wrong(sold_per_s=9000.0)] * 3,
            cell("file"): [sale(sold_per_s=rate) for rate in (480.0, 500.0, 520.0)],
            cell("immediate", store="sqlite"): [sale(sold_per_s=rate) for rate in (290.0, 300.0, 310.0)],
        },
    )
    assert answers(found).fastest == ["gevent: json + file (gevent × 2), 500/s [480, 520], of 2."]


def test_rates_whose_intervals_overlap_are_not_told_apart(tmp_path: Path) -> None:
    found = results_of(
        tmp_path,
        {
            cell("file"): [sale(sold_per_s=rate) for rate in (400.0, 500.0, 520.0)],
            cell("immediate", store="sqlite"): [sale(sold_per_s=rate) for rate in (390.0, 450.0, 470.0)],
        },
    )
    [said] = answers(found).fastest
    assert "not told apart from sqlite + immediate (gevent × 2)." in said


def test_a_rate_that_the_load_generator_limits_is_a_lower_bound(tmp_path: Path) -> None:
    found = results_of(tmp_path, {cell("file"): [sale(slow_load=True)] * 2})
    assert "≥ 500/s" in answers(found).fastest[0]
    assert any("load generator was the bottleneck" in note for note in answers(found).notes)


def test_what_a_worker_class_is_worth_is_said_without_a_guard_and_behind_one(tmp_path: Path) -> None:
    rates = {("sync", "io"): 600.0, ("gevent", "io"): 2400.0, ("sync", "cpu"): 300.0, ("gevent", "cpu"): 300.0}
    sales: dict[Cell, list[SaleFigures]] = {}
    for (worker, think), rate in rates.items():
        processes = WORKER_MODELS[worker].processes
        sales[cell("none", worker, processes, think)] = [wrong(sold_per_s=rate)] * 2
        sales[cell("file", worker, processes, think)] = [sale(sold_per_s=150.0)] * 2
    said = answers(results_of(tmp_path, sales)).worth
    assert said[0].startswith("When a purchase waits 5 ms, without a guard: json + none: ")
    assert "gevent × 2 2,400/s [2,400, 2,400], 4.0 [4.0, 4.0] times sync × 4" in said[0]
    assert "json + file" in said[1]
    assert "1.0 [1.0, 1.0] times sync × 4" in said[1]
    assert "by a factor of 4.0 where a purchase waits, and of 1.0 where it computes" in said[-1]


def test_no_explanation_is_given_that_the_figures_contradict(tmp_path: Path) -> None:
    sales = {
        cell("none", worker, WORKER_MODELS[worker].processes, think): [wrong(sold_per_s=rate)]
        for worker, think, rate in (("sync", "io", 100.0), ("gevent", "io", 110.0), ("sync", "cpu", 100.0),
                                    ("gevent", "cpu", 300.0))
    }  # fmt: skip
    last = answers(results_of(tmp_path, sales)).worth[-1]
    assert "a factor of 1.1 where a purchase waits, and of 3.0 where it computes. One expects the contrary" in last
    assert "lets others go on" not in last


def test_the_reason_of_a_server_that_did_not_start_is_what_the_service_said() -> None:
    log = (
        "json: the server ended with status 3. Its log x ends:\nBooting\nLASTSEAT_GUARD='row' cannot be used: no.\nBye"
    )
    assert first_line(log) == "LASTSEAT_GUARD='row' cannot be used: no"


def test_the_heat_map_says_wrong_and_luck_without_colour_and_is_well_formed(tmp_path: Path) -> None:
    found = results_of(
        tmp_path,
        {
            cell("none"): [wrong(sold_per_s=800.0)],
            cell("none", processes=1): [sale(sold_per_s=700.0)],
            cell("file"): [sale(sold_per_s=600.0)],
        },
    )
    drawn = heat_map(found)
    texts = ["".join(each.itertext()) for each in ET.fromstring(drawn).iter("{http://www.w3.org/2000/svg}text")]
    assert {"✗ 800", "* 700", "600"} <= set(texts)
    titles = [each.text or "" for each in ET.fromstring(drawn).iter("{http://www.w3.org/2000/svg}title")]
    assert any("invalid, 1 of 1 sales wrong, 50 oversold, 7 lost" in title for title in titles)


def test_the_heat_map_leaves_out_of_what_nothing_was_tried(tmp_path: Path) -> None:
    cells = [cell("none"), cell("file"), cell("none", store="sqlite"), cell("none", think="io")]
    whole = PlannedCells([cells], {})
    found = summarize(whole, {cell("none"): [wrong()]}, {cell("file"): "no"}, shape=SHAPE, machine=describe(tmp_path))
    drawn = heat_map(found)
    assert ">json<" in drawn
    assert ">failed<" in drawn
    assert ">sqlite<" not in drawn
    assert ">waits<" not in drawn


def test_the_report_has_every_number_as_text_and_no_address_of_another_machine(tmp_path: Path) -> None:
    found = results_of(tmp_path, {cell("none"): [wrong()], cell("file"): [sale(folder="a-cell/1")]}, {cell("x"): "why"})
    page = write_report(tmp_path, found, when="today", command="lastseat compare").read_text()
    assert "Which combinations lose orders" in page
    assert '<a href="cells/a-cell/1/report.html"' in page
    assert "<code>none</code> went wrong" in page
    assert "http://" not in page.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in page
    told = (tmp_path / "report.md").read_text()
    assert "| worker | store | guard |" in told
    assert "![Right or wrong, and tickets sold a second](heat-map.svg)" in told
    assert (tmp_path / "heat-map.svg").exists()


def test_the_json_has_a_line_for_each_cell_the_answers_and_what_is_missing(tmp_path: Path) -> None:
    found = results_of(tmp_path, {cell("file"): [sale(), sale()]}, {cell("none"): "no server"})
    said = json.loads(json.dumps(as_json(tmp_path, found, when="today", command="lastseat compare")))
    assert set(said) == {"cells", "missing", "answers", "shape", "machine", "when", "command", "report"}
    [line] = said["cells"]
    assert line.items() >= {
        "store": "json", "guard": "file", "worker": "gevent", "processes": 2, "think": "none", "sales": 2, "wrong": 0,
        "verdict": "valid", "kept": "yes", "refused_per_s": 400.0, "unavailable": 0, "p99_ms": 60.0, "cpu_ms": 0.8,
    }.items()  # fmt: skip
    assert line["sold_per_s"] == {"median": 500.0, "low": 500.0, "high": 500.0}
    assert said["missing"][0]["why"] == "no server"
    assert set(said["answers"]) == {"wrong", "fastest", "worth", "notes"}


# -- guard × anomaly -------------------------------------------------------------------------------------------------


def inversion(op: str, outcome: str = "ok") -> CheckResult:
    pair = [
        WitnessOperation("buy", 1, "e", 1, 10, 20, key="a"),
        WitnessOperation(op, 2, "e", 2, 30, 40, outcome=outcome),
    ]
    return CheckResult("real time", "invalid", 3, [Witness("inversion", "…", pair)], "", {"inversion": 3})


@pytest.mark.parametrize(
    ("op", "outcome", "name"), [("read", "ok", "stale"), ("buy", "sold_out", "stale"), ("buy", "ok", "inversion")]
)
def test_an_inversion_of_who_changed_nothing_is_stale(op: str, outcome: str, name: str) -> None:
    verdict = Verdict("invalid", "A", 2, 0.0, [inversion(op, outcome)], "")
    assert anomalies_of(verdict) == {name: 3}
    assert name in ANOMALIES


def evidence(guard: str, sales: int = 2, **changes: Any) -> PairEvidence:
    replay = f"1.json.{guard}.2x1.avpw.AABBBBAA"
    seen = {"oversold": SeenAnomaly(36, replay), "lost": SeenAnomaly(36, replay)} if guard == "none" else {}
    tried = Schedules(
        store="json", guard=guard, pause=False, schedules=62, whole=True, undecided=0, met=True, anomalies=seen
    )
    held = [wrong() if guard == "none" else sale() for _ in range(sales)]
    return gather("json", guard, changes.get("explored", [tried]), {cell(guard): held}, changes.get("trouble", ""))


def test_the_table_says_where_each_anomaly_was_seen_and_how_much_was_tried_where_none_was() -> None:
    table = markdown([evidence("none"), evidence("file")], command="c", when="w", machine="m")
    rows = {line.split(" | ")[0]: line for line in table.splitlines()}
    assert "**seen** (36 of 62 schedules, 2 of 2 sales)" in rows["| `none`"]
    assert "no violation found (62 schedules, 2 sales)" in rows["| `none`"]
    assert "seen" not in rows["| `file`"]
    assert "- `none`: oversold, lost: `1.json.none.2x1.avpw.AABBBBAA`" in table


def test_every_pair_has_a_sale_before_any_has_two() -> None:
    whole = plan(Matrix())
    first, rest = provoking_cells(Matrix(), whole).blocks
    assert {each.pair for each in first} == {each.pair for each in whole.cells}
    assert len(first) == len({each.pair for each in first})
    assert {(each.worker, each.think) for each in first} == {("gthread", "io")}
    assert not set(first) & set(rest)


def test_what_was_not_tried_is_said_and_is_not_no_violation() -> None:
    table = markdown([evidence("file", sales=0, explored=[], trouble="no server")], command="c", when="w", machine="m")
    assert "not tried" in table
    assert "no violation found" not in table
    assert "`file`: not all tried: no server" in table


def test_a_page_keeps_everything_but_what_stands_between_the_markers(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    sections.replace_section(page, BEGIN, END, "new")
    assert page.read_text() == f"before\n{BEGIN}\n\nnew\n\n{END}\nafter\n"
    found = results_of(tmp_path, {cell("none"): [wrong(sold_per_s=800.0)]})
    page.write_text(f"before\n{MATRIX_BEGIN}\nold\n{MATRIX_END}\nafter\n")
    write_section(page, found, when="today", command="lastseat compare")
    text = page.read_text()
    assert text.startswith(f"before\n{MATRIX_BEGIN}\n\n**Which combinations lose orders**")
    assert text.endswith(f"{MATRIX_END}\nafter\n")
    assert text.index("**Every cell**") < text.index("`lastseat compare`, today.") < text.index(MATRIX_END)
    assert "(pictures/compare.svg)" in text
    assert "\nold\n" not in text
    assert "<svg" in (tmp_path / "pictures" / "compare.svg").read_text()
    page.write_text("no markers")
    with pytest.raises(ValueError, match="has no place for it"):
        sections.replace_section(page, BEGIN, END, "new")
    assert page.read_text() == "no markers"


def test_the_page_on_guards_has_a_place_for_the_table_and_names_every_guard() -> None:
    page = Path(__file__).resolve().parents[3] / "docs" / "guards.md"
    assert sections.has_section(page, BEGIN, END)
    text = page.read_text()
    assert all(f"| `{guard}` |" in text for guard in GUARDS)
    assert all(f"| {anomaly} |" in text for anomaly in ANOMALIES)


# -- real servers ----------------------------------------------------------------------------------------------------

TINY = (
    "compare", "--store", "json", "--guard", "none", "--guard", "file", "--worker", "gevent", "--processes", "2",
    "--think", "none", "--buyers", "16", "--seconds", "0.2", "--repeats", "1",
)  # fmt: skip


@pytest.mark.servers
def test_two_cells_are_judged_and_measured_and_the_same_command_measures_nothing_twice(tmp_path: Path) -> None:
    done = lastseat(tmp_path, *TINY, "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    off, on = said["cells"]
    assert (off["guard"], off["verdict"], off["kept"], off["wrong"]) == ("none", "invalid", "yes", 1)
    assert off["oversold"] > 0
    assert "oversold" in off["anomalies"]
    assert (on["guard"], on["verdict"], on["wrong"], on["lost"]) == ("file", "valid", 0, 0)
    assert on["acknowledged"] == on["seats"]
    assert all(on[name] > 0 for name in ("refused_per_s", "p50_ms", "p99_ms", "wait_p99_ms", "cpu_ms"))
    assert said["missing"] == []
    assert "`none` went wrong in 1 of 1 cell" in said["answers"]["wrong"][0]
    folder = (tmp_path / "results/compare/latest").resolve()
    assert {"report.html", "report.md", "heat-map.svg", "compare.json"} <= {path.name for path in folder.iterdir()}
    halls = re.findall(r'<figure class="hall.*aria-label="(.+)">', (folder / "report.html").read_text())
    assert halls == ["gevent × 2: json + none", "gevent × 2: json + file"]
    assert all((Path(place) / "report.html").exists() for line in said["cells"] for place in line["folders"])
    assert list(folder.rglob("data")) == []
    figures = {path: path.stat().st_mtime_ns for path in folder.glob("cells/*/*.json")}
    again = lastseat(tmp_path, *TINY, "--json")
    assert again.returncode == 0, again.stderr
    assert "going on with what was measured there" in again.stderr
    assert {path: path.stat().st_mtime_ns for path in folder.glob("cells/*/*.json")} == figures
    assert json.loads(again.stdout)["cells"] == said["cells"]
    assert processes_of(tmp_path) == []


@pytest.mark.servers
@pytest.mark.parametrize(("store", "guard"), shortened([("postgres", "row"), ("redis", "atomic")], ("redis", "atomic")))
def test_a_cell_of_a_store_that_needs_an_engine_gets_one_of_its_own(tmp_path: Path, store: str, guard: str) -> None:
    options = ("--store", store, "--guard", guard, *TINY[7:])
    done = lastseat(tmp_path, "compare", *options, "--json")
    assert done.returncode == 0, done.stderr
    [found] = json.loads(done.stdout)["cells"]
    assert (found["verdict"], found["acknowledged"]) == ("valid", found["seats"])
    assert found["engine_cpu_ms"] is not None
    assert processes_of(tmp_path) == []


@pytest.mark.servers
def test_ctrl_c_leaves_nothing_running_keeps_what_was_measured_and_the_compare_goes_on_there(tmp_path: Path) -> None:
    cells = tmp_path / "results/compare/latest/cells"
    interrupted(
        tmp_path, *TINY, once=lambda: any(cells.glob("gevent-2-json-file-none/1/parts-*")), what="the second cell"
    )
    kept = cells / "gevent-2-json-none-none" / "1.json"
    assert kept.exists()
    assert not (cells / "gevent-2-json-file-none" / "1.json").exists()
    told = json.loads((cells.parent / "compare.json").read_text())
    assert [line["guard"] for line in told["cells"]] == ["none"]
    assert [(line["guard"], line["why"]) for line in told["missing"]] == [("file", "interrupted first")]
    before = kept.stat().st_mtime_ns
    done = lastseat(tmp_path, *TINY, "--json")
    assert done.returncode == 0, done.stderr
    assert [line["guard"] for line in json.loads(done.stdout)["cells"]] == ["none", "file"]
    assert kept.stat().st_mtime_ns == before


@pytest.mark.servers
def test_a_real_server_that_does_not_start_is_not_measured_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(office, "GUNICORN_CONF", tmp_path / "there-is-no.conf.py")
    done = CliRunner().invoke(compare, [*TINY[1:], "--results", str(tmp_path), "--json"], standalone_mode=False)
    assert done.return_value == 2
    said = json.loads(done.stdout)
    assert said["cells"] == []
    assert all(line["failed"] and "there-is-no.conf.py" in line["why"] for line in said["missing"])
    assert "Nothing was measured" in Path(said["report"]).read_text()


@pytest.mark.servers
def test_the_anomalies_of_a_pair_are_seen_in_the_explorer_and_in_sales_and_written_into_a_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\n{END}\nafter\n")
    narrow = (*TINY, "--anomalies", "--write", str(page))
    done = lastseat(tmp_path, *narrow, "--json")
    assert done.returncode == 0, done.stderr
    off, on = json.loads(done.stdout)["pairs"]
    assert (off["guard"], on["guard"]) == ("none", "file")
    assert off["explored"][0]["anomalies"]["oversold"]["replay"].startswith("1.json.none.2x1.")
    assert off["seen_in"]["oversold"] == off["sales"] == 1
    assert (on["explored"][0]["anomalies"], on["seen_in"], on["explored"][0]["whole"]) == ({}, {}, True)
    text = page.read_text()
    assert text.startswith("before\n")
    assert "**seen**" in text
    assert "| `file` | no violation found (20 schedules, 1 sale) |" in text
    assert processes_of(tmp_path) == []


@pytest.mark.slow
def test_wrong_usage_is_64(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text("no markers")
    for options in (
        ["--budget", "soon"],
        ["--store", "bogus"],
        ["--guard", "row", "--store", "json"],
        ["--write", "page.md"],
        ["--anomalies", "--write", "page.md"],
    ):
        done = lastseat(tmp_path, "compare", *options)
        assert done.returncode == 64, (options, done.stderr)
    assert not (tmp_path / "results").exists()
