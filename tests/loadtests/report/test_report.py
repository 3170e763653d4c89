"""The report: one page, offline, every number as text; the picture beside it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from xml.etree import ElementTree

import pytest
from playwright.sync_api import Browser
from rich.console import Console

from loadtests.lab.checks.files import judge_folder
from loadtests.lab.checks.verdict import CheckResult, EventCounts, Verdict
from loadtests.lab.commands.demo import say
from loadtests.lab.experiment.expectation import expectation_of
from loadtests.lab.experiment.knobs import Workload
from loadtests.lab.experiment.measurement import Course, Measures
from loadtests.lab.experiment.result import Conclusion
from loadtests.lab.experiment.runner import Experiment, Result
from loadtests.lab.report.demo_halls import demo_halls
from loadtests.lab.report.demo_picture import picture
from loadtests.lab.report.demo_report import write_page
from loadtests.lab.report.tables import Grid, cell_tables, matrix_table
from loadtests.lab.report.text import sentence, summary
from loadtests.lab.servers.machine import describe
from loadtests.lab.servers.office import Service


def result(guard: str, acknowledged: int, *, worker: str = "gevent", lost: int = 0, folder: Path = Path("x")) -> Result:
    """A cell of one round with 100 seats."""
    service = Service(worker=worker, guard=guard, think_ms=5)
    wrong = acknowledged > 100
    counts = EventCounts(
        capacity=100, acknowledged=acknowledged, oversold=max(0, acknowledged - 100), double_booked=0, lost=lost
    )
    checks = [CheckResult("answers", "invalid" if wrong else "valid", count=1, why="</script><b>sold twice</b>")]
    verdict = Verdict("invalid" if wrong else "valid", "A", 500, 0.1, checks, "", {"show": counts})
    return Result(
        experiment=Experiment(service=service, workload=Workload(capacity=100, rounds=1)),
        folder=folder,
        conclusion=Conclusion(verdict=verdict, folder=folder),
        measures=Measures(
            sold_per_s=120.4,
            refused_per_s=10.0,
            unavailable=0,
            p50_ms=12.3,
            p99_ms=45.6,
            courses=[Course(event="show", seconds=[0, 0.5, 1], tickets=[0, acknowledged // 2, acknowledged])],
        ),
        expectation=expectation_of(service),
    )


@pytest.fixture
def cells() -> list[Result]:
    return [result("none", 1_765, lost=31), result("file", 100)]


@pytest.fixture
def page(tmp_path: Path, cells: list[Result]) -> Path:
    path = tmp_path / "report.html"
    write_page(path, cells, describe(tmp_path), when="2026-11-23 20:00", command="lastseat demo")
    return path


def test_a_cell_that_went_wrong_is_told_in_a_sentence() -> None:
    assert sentence(result("none", 1_765, lost=31)) == (
        "gevent × 2 without a lock: 1 of 1 round went wrong. Buyers were promised 1,765 tickets for 100 seats: 1,665"
        " too many. The office has no record of 31 orders that it had confirmed to buyers."
    )


def test_a_cell_that_kept_its_promise_is_told_too() -> None:
    assert sentence(result("file", 100)).startswith("gevent × 2 with the lock: 100 tickets for 100 seats in 1 round")


def test_the_summary_tells_off_from_on(cells: list[Result]) -> None:
    assert summary(cells) == (
        "Lock off: 1 of 1 sale went wrong, 1,665 tickets too many and 31 confirmed orders lost."
        " Lock on: 1 sale to the last seat, 100 tickets for 100 seats, nothing lost."
    )


def test_the_page_loads_nothing_from_anywhere(page: Path) -> None:
    markup = re.sub(r"<script>.*?</script>", "", page.read_text(), flags=re.DOTALL)
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', markup)
    assert not re.search(r"@import|url\(", markup)


def test_plotly_stands_in_the_page_once(page: Path) -> None:
    assert page.read_text().count("plotly.js v") == 1


def test_what_a_service_says_cannot_become_markup(page: Path) -> None:
    assert "<b>sold twice</b>" not in page.read_text()
    assert "&lt;b&gt;sold twice" in page.read_text()


def test_every_number_of_the_plots_is_in_the_table_too(page: Path) -> None:
    table = page.read_text().split("<table>")[1].split("</table>")[0]
    for number in ("1,765", "1,665", "31", "120", "12", "46"):
        assert f">{number}<" in table


def test_the_picture_is_an_svg_with_the_capacity_in_every_panel(cells: list[Result]) -> None:
    drawn = ElementTree.fromstring(picture(cells))
    lines = [line for line in drawn.iter("{http://www.w3.org/2000/svg}path") if line.get("class") == "capacity"]
    assert len(lines) == 2


def test_a_narrow_terminal_gets_two_tables_and_no_number_is_cut(cells: list[Result]) -> None:
    narrow, wide = Console(width=80), Console(width=200)
    assert len(cell_tables(cells, wide)) == 1
    tables = cell_tables(cells, narrow)
    assert len(tables) == 2
    with narrow.capture() as captured:
        for table in tables:
            narrow.print(table)
    rows = captured.get().splitlines()
    assert any(row.split()[:3] == ["gevent", "×", "2"] and "1,765" in row and "invalid" in row for row in rows)
    assert "…" not in captured.get()


def test_a_wide_grid_is_divided_and_each_part_says_whose_rows_they_are() -> None:
    names = [f"figure {number}" for number in range(12)]
    rows = [[f"store {row}", "guard", *(f"row {row} of {number:02}" for number in range(12))] for row in range(3)]
    grid = Grid("All", ["store", "guard", *names], rows, words=frozenset({"store", "guard"}))
    wide, narrow = Console(width=400), Console(width=80)
    assert len(grid.for_console(wide)) == 1
    with narrow.capture() as captured:
        for table in grid.for_console(narrow):
            narrow.print(table)
    shown = captured.get()
    assert "…" not in shown
    assert max(map(len, shown.splitlines())) <= 80
    assert all(shown.count(cell) == 1 for row in rows for cell in row[2:])
    assert shown.count("store 1") == len(grid.for_console(narrow)) > 1


def test_for_people_it_ends_with_the_sentences_and_what_to_try_next(
    cells: list[Result], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    say(cells, tmp_path / "demo" / "now", full=False)
    said = capsys.readouterr().out
    for words in ("acknowledged", "1 of 1", "Lock off: 1 of 1 sale went wrong", "lock off", "report.html", "p99 ms"):
        assert words in said


def test_a_broken_promise_is_said_last_and_loud(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    say([result("file", 130)], tmp_path / "demo" / "now", full=False)
    assert "30 too many. Expected: exact." in capsys.readouterr().out


def test_the_matrix_has_a_row_for_each_worker_model_and_a_column_for_each_guard() -> None:
    table = matrix_table([result("none", 300), result("file", 100), result("none", 200, worker="sync")])
    assert (table.row_count, len(table.columns)) == (2, 3)


def test_the_page_opens_with_the_first_worker_class_that_went_wrong_and_its_counterpart(tmp_path: Path) -> None:
    recorded = Path(__file__).parents[1] / "histories"
    sales = [
        ("sync", "none", 100, "valid/recorded_from_gevent_with_a_file_lock"),
        ("sync", "file", 100, "valid/recorded_from_gevent_with_a_file_lock"),
        ("gthread", "none", 300, "invalid/recorded_from_gthread_with_a_lock_in_each_process"),
        ("gthread", "file", 100, "valid/recorded_from_gthread_with_a_file_lock"),
        ("gevent", "none", 300, "invalid/recorded_from_sync_without_a_lock"),
    ]
    cells = []
    for worker, guard, acknowledged, history in sales:
        folder = tmp_path / f"{worker}-{guard}"
        shutil.copytree(recorded / history, folder)
        Conclusion(verdict=judge_folder(folder), folder=folder).save()
        cells.append(result(guard, acknowledged, worker=worker, folder=folder))
    found = demo_halls(cells)
    assert found is not None
    assert found.caption.startswith("gthread 2 × 16, round 1 of 1: the first sale that went wrong; beside it")
    assert [(hall.title, hall.is_wrong) for hall in found.halls] == [("Lock off", True), ("Lock on", False)]
    path = tmp_path / "report.html"
    write_page(path, cells, describe(tmp_path), when="2026-11-23 20:00", command="lastseat demo")
    page = path.read_text()
    assert page.index("The hall after the sale") < page.index('class="plot"')
    shutil.rmtree(tmp_path / "gthread-file")
    alone = demo_halls(cells)
    assert alone is not None
    assert [hall.title for hall in alone.halls] == ["Lock off"]


def test_without_a_history_the_page_is_there_and_has_no_hall(page: Path) -> None:
    assert 'class="halls"' not in page.read_text()


@pytest.mark.browser
def test_in_a_browser_it_draws_without_network_and_saves_svg(page: Path, browser: Browser) -> None:
    asked: list[str] = []
    errors: list[str] = []
    view = browser.new_page()
    view.on("request", lambda request: asked.append(request.url))
    view.on("pageerror", lambda error: errors.append(str(error)))
    view.goto(page.as_uri())
    view.locator(".plot svg.main-svg").first.wait_for()
    with view.expect_download() as download:
        view.get_by_role("button", name="Save as SVG").click()
    assert Path(download.value.path()).read_text().startswith("<svg")
    view.close()
    assert [url for url in asked if not url.startswith(("file:", "blob:", "data:"))] == []
    assert errors == []
