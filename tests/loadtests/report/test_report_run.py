"""The report of one run: the verdict first, the counterexample drawn, right numbers, a page of bounded size."""

from __future__ import annotations

import itertools
import json
import random
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from playwright.sync_api import Browser

from loadtests.lab.checks.files import judge_folder
from loadtests.lab.experiment.fairness import larger_before
from loadtests.lab.faults.happened import Happened, keep
from loadtests.lab.history.columns import HistoryError
from loadtests.lab.history.operations import Operations, read_operations
from loadtests.lab.history.synthetic import draw, write
from loadtests.lab.report.counterexample.sentence import duration, numbers_of
from loadtests.lab.report.counterexample.time_axis import time_axis
from loadtests.lab.report.figures import distribution, jain, latencies, overtaking, rates, workers
from loadtests.lab.report.run_report import draw_counterexamples, write_run_report

INVALID = Path(__file__).parents[1] / "histories" / "invalid"
VALID = Path(__file__).parents[1] / "histories" / "valid"
FIRST_OF_EACH = [
    next(group) for _, group in itertools.groupby(sorted(INVALID.iterdir()), lambda p: p.name.split(".")[0])
]
SVG = "{http://www.w3.org/2000/svg}"

Line = dict[str, Any]


def copied(recorded: Path, folder: Path) -> Path:
    """A recorded history in a folder that may be written to."""
    folder.mkdir(exist_ok=True)
    for path in recorded.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


def operations(*lines: Line) -> Operations:
    base = {"process": 1, "op": "buy", "event": "show", "outcome": "ok", "quantity": 1}
    return read_operations(
        b"\n".join(json.dumps(base | {"key": f"k{n}"} | line).encode() for n, line in enumerate(lines))
    )


def race(folder: Path) -> Path:
    """One seat, read by two at version 0, sold to both; only one of them is in the audit."""
    bought = {
        "op": "buy",
        "event": "show",
        "quantity": 1,
        "outcome": "ok",
        "tickets": [1],
        "remaining": 0,
        "version": 1,
    }
    lines: list[Line] = [
        bought | {"process": 12, "key": "12-1", "order": "o1", "invoke_ns": 1_000_000, "return_ns": 5_000_000},
        bought | {"process": 40, "key": "40-1", "order": "o2", "invoke_ns": 2_000_000, "return_ns": 6_000_000},
        {"process": 7, "op": "read", "event": "show", "outcome": "ok", "remaining": 1, "version": 0}
        | {"invoke_ns": 1_500_000, "return_ns": 1_900_000},
    ]
    records: list[Line] = [
        {"event": "show", "capacity": 1, "versions": 1},
        {"version": 1, "kind": "sold", "key": "40-1", "order": "o2", "quantity": 1, "tickets": [1]},
    ]
    folder.mkdir(exist_ok=True)
    (folder / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "audit.jsonl").write_text("".join(json.dumps(line) + "\n" for line in records))
    return folder


def test_the_sentence_says_what_both_read_and_what_both_were_sold(tmp_path: Path) -> None:
    folder = race(tmp_path)
    oversold, lost = draw_counterexamples(folder, judge_folder(folder))
    assert (oversold.title, lost.title) == ("Oversold, double-booked", "Lost sale")
    assert oversold.sentence == (
        "Client 12 and client 40 both read 1 left at version 0; both were sold ticket 1. There is 1 seat, and buyers"
        " were promised 2: counted in the order of their versions, the first too many went to client 40, who was sold"
        " ticket 1."
    )
    assert lost.sentence == (
        "Client 12 asked for 1 ticket and was sold ticket 1 at version 1, and the office's own list has no record of"
        " it: at that version stands client 40, who was sold ticket 1. One was written over the other."
    )
    assert [row["client"] for row in oversold.rows] == ["40", "12"]


@pytest.mark.parametrize("folder", FIRST_OF_EACH, ids=lambda folder: folder.name)
def test_every_violation_is_drawn_and_names_who_took_part(folder: Path) -> None:
    verdict = judge_folder(folder)
    drawings = draw_counterexamples(folder, verdict)
    assert 1 <= len(drawings) <= 4
    for drawing in drawings:
        root = ElementTree.fromstring(drawing.svg)
        assert root.findtext(f"{SVG}desc") == drawing.sentence
        marked = [group for group in root.iter(f"{SVG}g") if group.get("tabindex") == "0"]
        assert len(marked) == len(drawing.rows)
        words = "".join(root.itertext())
        for row in drawing.rows:
            assert f"client {row['client']}" in words
        assert len(drawing.svg) < 40_000


def test_a_drawing_has_a_handful_of_neighbours_and_never_the_whole_history() -> None:
    folder = INVALID / "recorded_from_sync_without_a_lock"
    for drawing in draw_counterexamples(folder, judge_folder(folder)):
        bars = drawing.svg.count('class="other"')
        assert bars <= 6


def test_tickets_held_twice_are_not_drawn_again_beside_the_same_oversell() -> None:
    folder = INVALID / "recorded_from_sync_without_a_lock"
    titles = [drawing.title for drawing in draw_counterexamples(folder, judge_folder(folder))]
    assert titles[0] == "Oversold, double-booked"
    assert "Double-booked" not in titles


def test_nothing_is_drawn_of_a_valid_run() -> None:
    folder = VALID / "contract_example"
    assert draw_counterexamples(folder, judge_folder(folder)) == []


def test_what_a_service_says_cannot_become_markup(tmp_path: Path) -> None:
    folder = race(tmp_path)
    for name in ("history.jsonl", "audit.jsonl"):
        content = (folder / name).read_text()
        (folder / name).write_text(content.replace("40-1", "</title><script>alert(1)</script>"))
    page = write_run_report(folder).read_text()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page


@pytest.mark.parametrize("kind", ["invalid", "unknown", "valid"])
def test_every_recorded_history_makes_a_page_that_loads_nothing(kind: str, tmp_path: Path) -> None:
    for recorded in sorted((INVALID.parent / kind).iterdir())[::4]:
        page = write_run_report(copied(recorded, tmp_path / recorded.name)).read_text()
        assert f'<span class="verdict">{kind.capitalize()}</span>' in page
        assert not re.findall(r'(?:src|href)="(?:https?:)?//', page)
        assert not re.search(r"@import|url\(", page)


def test_a_history_that_cannot_be_read_makes_a_page_that_says_so(tmp_path: Path) -> None:
    (tmp_path / "history.jsonl").write_text('{"process":1,"op":"buy"')
    assert "history.jsonl, line 1: the line breaks off" in write_run_report(tmp_path).read_text()


@pytest.mark.slow
def test_the_page_stays_small_and_is_drawn_also_of_many_operations(tmp_path: Path) -> None:
    write(tmp_path, draw(200_000, clients=64, seed=3))
    page = write_run_report(tmp_path)
    assert page.stat().st_size < 400_000
    assert "no violation found in 200,000 operations" in page.read_text()


def test_faults_are_bands_in_the_plots_and_rows_of_a_table(tmp_path: Path) -> None:
    folder = race(tmp_path)
    keep(folder, [Happened("kill -9", 2_000_000, 3_000_000), Happened("unplugged", 10**12, 10**12)])
    page = write_run_report(folder)
    assert page.read_text().count('class="fault"') == 3
    assert '<th scope="row">kill -9</th><td class="n">0.00</td>' in page.read_text()
    assert '<th scope="row">unplugged</th>' not in page.read_text()


def test_quantiles_are_the_nearest_rank_by_operation_and_outcome() -> None:
    run = operations(*({"invoke_ns": 0, "return_ns": ms * 1_000_000, "process": ms} for ms in range(1, 1001)))
    (found,) = latencies(run)
    assert (found.name, found.count, found.quantiles, found.longest) == ("buy: ok", 1000, [500, 900, 990, 999], 1000)


def test_open_loop_latency_counts_from_the_intended_start() -> None:
    run = operations({"intended_ns": 0, "invoke_ns": 5_000_000, "return_ns": 6_000_000})
    assert latencies(run)[0].longest == 6.0


def test_a_single_value_has_a_distribution_and_none_has_none() -> None:
    assert distribution("one", np.array([3.0])).quantiles == [3.0] * 4  # type: ignore[union-attr]
    assert distribution("none", np.array([np.nan])) is None


@pytest.mark.parametrize(("shares", "index"), [([5, 5, 5, 5], 1.0), ([8, 0, 0, 0], 0.25), ([1, 2, 3], 36 / 42)])
def test_jain_is_as_by_hand(shares: list[int], index: float) -> None:
    assert jain(np.array(shares, np.float64)) == pytest.approx(index)


def test_workers_are_counted_busiest_first() -> None:
    found = workers(operations(*({"invoke_ns": n, "return_ns": n, "worker": 7 if n % 4 else 3} for n in range(8))))
    assert found is not None
    assert found.counts == [(7, 6), (3, 2)]


def test_sold_and_refused_are_counted_apart() -> None:
    run = operations(
        {"invoke_ns": 0, "return_ns": 1, "quantity": 4, "order": "o"},
        {"invoke_ns": 0, "return_ns": 60 * 10**9, "outcome": "sold_out"},
    )
    (found,) = rates(run)
    assert (found.width_s, found.sold[0], sum(found.refused)) == (1.0, 4.0, 1.0)


def test_larger_before_counts_as_counting_one_by_one_does() -> None:
    dice = random.Random(4)
    for size in (1, 2, 3, 17, 64, 100):
        order = dice.sample(range(size), size)
        slowly = [sum(before > one for before in order[:place]) for place, one in enumerate(order)]
        assert larger_before(np.array(order)).tolist() == slowly


def test_overtaken_are_those_that_somebody_who_asked_later_came_before() -> None:
    run = operations(
        {"process": 1, "invoke_ns": 10, "return_ns": 90, "version": 3},
        {"process": 2, "invoke_ns": 20, "return_ns": 90, "version": 1},
        {"process": 3, "invoke_ns": 30, "return_ns": 90, "version": 2},
        {"process": 4, "invoke_ns": 40, "return_ns": 95, "version": 3},
    )
    found = overtaking(run)
    assert found is not None
    assert (found.mutations, found.overtaken, found.pairs, found.worst) == (4, 1, 2, 2)


def test_long_idle_stretches_are_cut_and_time_never_runs_backwards() -> None:
    times = time_axis([(0, 10), (5, 20), (10_000, 10_010)], 100, 1000)
    assert len(times.stretches) == 2
    places = [times.x(moment) for moment in (0, 5, 20, 5_000, 10_000, 10_010)]
    assert places == sorted(places)
    assert times.x(5_000, ends=True) < times.x(5_000)


def test_numbers_and_times_are_said_shortly() -> None:
    assert (numbers_of([7]), numbers_of([1, 2, 3, 9])) == ("ticket 7", "tickets 1–3 and 9")
    assert (duration(15_512_923), duration(3_400), duration(7)) == ("15.5 ms", "3.4 µs", "7 ns")


def test_operations_are_read_also_where_the_checks_refuse_them() -> None:
    run = operations({"invoke_ns": 9, "return_ns": 3})
    assert run.latency_ms[0] < 0
    with pytest.raises(HistoryError, match="line 1"):
        read_operations(b"{}")


@pytest.mark.browser
def test_in_a_browser_the_verdict_comes_first_and_the_drawing_can_be_tabbed_through(
    tmp_path: Path, browser: Browser
) -> None:
    asked: list[str] = []
    errors: list[str] = []
    view = browser.new_page()
    view.on("request", lambda request: asked.append(request.url))
    view.on("pageerror", lambda error: errors.append(str(error)))
    view.goto(write_run_report(race(tmp_path)).as_uri())
    assert view.get_by_role("heading", level=1).inner_text() == "Invalid"
    levels = [int(tag[1]) for tag in view.eval_on_selector_all("h1,h2,h3,h4", "all => all.map(h => h.tagName)")]
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    seen = set()
    for _ in range(12):
        view.keyboard.press("Tab")
        seen.add(view.evaluate("document.activeElement.getAttribute('aria-label')"))
    assert any(label and label.startswith("client 12 asked for 1 ticket and was sold ticket 1") for label in seen)
    with view.expect_download() as download:
        view.get_by_role("button", name="Save as SVG").first.click()
    ElementTree.parse(download.value.path())
    view.close()
    assert [url for url in asked if not url.startswith(("file:", "blob:"))] == []
    assert errors == []
