"""The benchmark's figures, on data whose answer is known; no server runs here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from loadtests.lab.bench.cells import BATCH, MEASURED, BenchCell, plan
from loadtests.lab.bench.load_process import Batches
from loadtests.lab.bench.page import BEGIN, END, PLAIN_BEGIN, PLAIN_END, write_page, write_plain_section, write_section
from loadtests.lab.bench.paired import Interval, abba, disagreement, median_interval, quotient_interval
from loadtests.lab.bench.plain import RIVALS, SHAPES, null_ratios, pairings
from loadtests.lab.bench.results import NotMeasured
from loadtests.lab.bench.scaling import Law, fit
from loadtests.lab.bench.tables import grids, marks_grid, notes, shortfalls
from loadtests.lab.bench.targets import speed_targets
from loadtests.lab.experiment.measurement import quantile
from loadtests.lab.paths import EXAMPLES
from loadtests.lab.report.markdown import has_section
from service.catalogue import GUARDS_OF
from tests.loadtests.bench.bench_samples import beside, grown, measured, results, window

ROOT = Path(__file__).resolve().parents[3]


def test_a_drift_gives_one_order_an_advantage_and_abba_none() -> None:
    speeds = iter(range(100, 140))
    always_a_first = [next(speeds) / next(speeds) for _ in range(10)]
    assert all(ratio < 1 for ratio in always_a_first)

    speeds = iter(range(100, 140))
    firsts: list[float] = []
    for order in abba(10):
        pair = {side: next(speeds) for side in order}
        firsts.append(pair["A"] / pair["B"])
    assert abba(4) == [("A", "B"), ("B", "A"), ("A", "B"), ("B", "A")]
    assert np.median(firsts) == pytest.approx(1.0, abs=0.001)


def test_the_interval_of_equal_values_is_the_value() -> None:
    found = median_interval([0.8] * 10, seed=1)
    assert (found.median, found.low, found.high) == (0.8, 0.8, 0.8)


def test_the_interval_is_that_of_the_exact_bootstrap_of_three_values() -> None:
    # Of 27 equally likely resamples of (1, 2, 3), 7 have the median 1, 13 the median 2, 7 the median 3.
    found = median_interval([1.0, 2.0, 3.0], seed=1)
    assert (found.median, found.low, found.high) == (2.0, 1.0, 3.0)


def test_the_interval_contains_the_true_median_about_as_often_as_it_says() -> None:
    random = np.random.default_rng(7)
    hits = 0
    for seed in range(200):
        found = median_interval(random.normal(0.9, 0.05, 20).tolist(), seed)
        hits += found.low <= 0.9 <= found.high
    assert 0.88 <= hits / 200 <= 0.99


def test_the_same_values_and_seed_give_the_same_interval() -> None:
    values = [0.7, 0.9, 0.8, 0.85]
    assert median_interval(values, 3) == median_interval(values, 3)


def test_there_is_no_median_of_nothing() -> None:
    with pytest.raises(ValueError, match="nothing"):
        median_interval([], seed=1)


def test_a_quotient_compares_medians_that_were_measured_apart() -> None:
    found = quotient_interval([0.8] * 5, [0.2] * 5, seed=1)
    assert (found.median, found.low, found.high) == pytest.approx((4.0, 4.0, 4.0))


@pytest.mark.parametrize(("share", "wanted"), [(0.0, 1), (0.5, 50), (0.99, 99), (1.0, 100)])
def test_percentiles_are_values_that_were_measured(share: float, wanted: int) -> None:
    assert quantile(np.arange(1.0, 101.0), share) == wanted
    assert quantile(np.zeros(0), share) is None


@pytest.mark.parametrize(
    "law", [Law(500.0, 0.05, 0.002), Law(1200.0, 0.3, 0.0), Law(80.0, 0.0, 0.01), Law(10.0, 0.0, 0.0)]
)
def test_the_fit_recovers_the_law_that_made_the_data(law: Law) -> None:
    workers = [1, 2, 4, 8, 16, 32]
    found = fit(workers, [law.per_s(n) for n in workers])
    assert found.alone_per_s == pytest.approx(law.alone_per_s, rel=1e-6)
    assert found.contention == pytest.approx(law.contention, abs=1e-6)
    assert found.coherency == pytest.approx(law.coherency, abs=1e-6)


def test_no_parameter_of_the_fit_is_negative_where_the_data_is_better_than_linear() -> None:
    found = fit([1, 2, 4], [100.0, 230.0, 500.0])
    assert (found.contention, found.coherency) == (0.0, 0.0)


def test_the_most_is_sold_where_the_law_has_its_top() -> None:
    law = Law(500.0, 0.1, 0.01)
    assert law.best_workers is not None
    top = law.per_s(law.best_workers)
    assert top > law.per_s(law.best_workers - 0.5)
    assert top > law.per_s(law.best_workers + 0.5)
    assert Law(500.0, 0.1, 0.0).best_workers is None


def test_two_numbers_of_workers_fit_no_law() -> None:
    with pytest.raises(ValueError, match="three"):
        fit([1, 2], [10.0, 20.0])


@pytest.mark.parametrize(
    ("kept", "unknown", "agree"),
    [(4, 0, False), (5, 0, True), (6, 0, False), (6, 1, True), (7, 1, False), (None, 0, True)],
)
def test_what_was_told_and_what_was_kept_agree_only_within_what_is_unknown(
    kept: int | None, unknown: int, agree: bool
) -> None:
    found = disagreement(window(told={201: 5, 409: 9}, unknown=unknown), kept)
    assert (found is None) == agree


def _answer(version: int, worker: int, hold: str) -> bytes:
    return (
        f"HTTP/1.1 201 CREATED\r\nServer-Timing: wait;dur=1.000, hold;dur={hold}, store;dur=0.2\r\n"
        f'Last-Seat-Worker: {worker}\r\n\r\n{{"order":"o","version":{version}}}\n'
    ).encode()


def test_purchases_with_the_same_times_and_consecutive_versions_were_decided_together_whoever_answered() -> None:
    batches = Batches()
    for answer in [_answer(3, 7, "0.5"), _answer(1, 7, "0.1"), _answer(2, 8, "0.1"), _answer(4, 8, "0.6"),
                   _answer(6, 8, "0.6")]:  # fmt: skip
        batches.add(answer)
    batches.add(b"HTTP/1.1 201 CREATED\r\n\r\n{}")
    assert batches.sizes() == {1: 3, 2: 1}
    assert batches.held_ms() == pytest.approx((0.1 + 0.5 + 0.6 + 0.6) / 4)


def test_every_measured_pairing_is_one_that_the_service_has() -> None:
    for store, guards in MEASURED.items():
        for each in guards:
            assert each.guard in GUARDS_OF[store]


def test_each_worker_model_begins_with_its_ceilings_and_quick_has_no_less_to_compare() -> None:
    cells = plan(["sync", "gevent"], ["journal", "json"], quick=True)
    assert [cell.store for cell in cells[:2]] == ["stubbed", "bare"]
    assert BenchCell("gevent", "journal", "file", BATCH) in cells
    assert {cell.store for cell in cells} == {"stubbed", "bare", "journal", "json"}


def test_a_target_is_reached_only_if_the_whole_interval_is() -> None:
    [reached] = speed_targets([measured(ratios=[0.86, 0.9, 0.95])], [], seed=1)
    [perhaps] = speed_targets([measured(ratios=[0.80, 0.9, 0.95])], [], seed=1)
    [missed] = speed_targets([measured(ratios=[0.70, 0.75, 0.80])], [], seed=1)
    assert [target.verdict for target in (reached, perhaps, missed)] == ["yes", "perhaps", "no"]
    assert speed_targets([measured(clients=8)], [], seed=1) == []


def test_each_store_stands_beside_the_program_of_its_engine_under_each_worker_model() -> None:
    found = pairings(["sync", "gthread", "gevent"], list(MEASURED), quick=False)
    assert len(found) == len(RIVALS) * 4
    assert {(ours.worker, ours.processes) for ours, _ in found} == set(SHAPES)
    assert all((ours.worker, ours.processes) == (plain.worker, plain.processes) for ours, plain in found)
    assert {ours.store for ours, _ in found} == set(MEASURED)
    assert {rival.plain.program for rival in RIVALS} - {"bare"} == {
        path.stem for path in (EXAMPLES / "plain").glob("*.py")
    }
    assert len(pairings(["gevent"], ["redis"], quick=True)) == 1


def test_a_program_against_itself_gives_1_whatever_drifts() -> None:
    drifting = [window(answers={201: 100 + 10 * number}) for number in range(9)]
    ratios = null_ratios(drifting)
    assert ratios[0] < 1 < ratios[1]
    assert np.median(ratios) == pytest.approx(1.0, abs=0.1)
    assert null_ratios(drifting[:1]) == []


def test_sales_are_judged_but_cpu_time_where_gthread_is_not_steady() -> None:
    wide = Interval(1.0, 0.8, 1.3)
    for given, by in [
        ({"worker": "gthread", "processes": 2}, "sales"),
        ({"worker": "gthread", "processes": 2, "null": wide}, "CPU"),
        ({"worker": "gthread", "processes": 2, "null": None}, "CPU"),
        ({"null": wide}, "sales"),
    ]:
        target = beside(**given).target
        assert target is not None
        assert (target.by, target.found.median) == (by, 1.4 if by == "CPU" else 0.9)


def test_marks_are_for_64_clients_and_the_shapes_that_have_one() -> None:
    assert beside(clients=8).target is None
    assert beside(processes=3).target is None
    assert beside(store="postgres", guard="atomic", plain="postgres_statement").target is None


def test_the_table_of_marks_says_what_is_short_of_them_and_what_was_not_measured() -> None:
    found = results()
    found.beside_plain = [beside(), beside(processes=16)]
    found.growth = [grown("json", 1000, ratio=Interval(0.5, 0.4, 0.6))]
    table = marks_grid(found)
    assert table.columns == ["store", "sync × 4", "sync × 16", "gthread 2 × 16", "gevent × 2"]
    plain, thousand, many = table.rows
    assert plain == [
        "`json`, × plain file lock and counter (which is not durable)",
        "0.90 [0.85, 0.95]: yes (0.8)",
        "0.90 [0.85, 0.95]: no (1.3)",
        "– (2)",
        "– (2)",
    ]
    assert thousand[1:] == ["– (0.9)", "", "", "0.50 [0.40, 0.60]: no (0.9)"]
    assert many[1:] == ["– (0.7)", "", "", "– (0.7)"]
    [said] = shortfalls(found)
    assert said.startswith("Short of the mark: `json`, × plain file lock")
    assert said.count(";") == 1
    found.beside_plain, found.growth = [beside()], []
    assert shortfalls(found) == ["Nothing falls short."]


def test_the_page_begins_with_the_marks_and_its_other_results_stay(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"{PLAIN_BEGIN}\nyesterday\n{PLAIN_END}\nbetween\n{BEGIN}\nkept\n{END}\n")
    found = results()
    found.beside_plain = [beside(problems=["buyers were told of 5 sales, and 4 were kept"])]
    assert found.status == 1
    write_plain_section(page, found, when="now", command="lastseat bench --plain")
    text = page.read_text()
    assert "yesterday" not in text
    assert text.endswith(f"between\n{BEGIN}\nkept\n{END}\n")
    order = ["is the mark", "4 were kept", "Nothing falls short.", "| ! json |", "`lastseat bench --plain`"]
    assert [text.index(part) for part in order] == sorted(text.index(part) for part in order)


def test_what_goes_wrong_is_said_first_and_decides_the_status() -> None:
    found = results()
    assert found.status == 0
    found.missing = [NotMeasured("cells", "sync", "json", "file", 1, "it did not start", failed=True)]
    assert found.status == 2
    found.cells[0].problems = ["buyers were told of 5 sales, and 4 were kept"]
    assert found.status == 1
    said = notes(found)
    assert "told of 5 sales, and 4 were kept" in said[0]
    assert said[1] == "! not measured: sync json + file: it did not start"


def test_the_report_has_every_table_and_plot_and_needs_no_network(tmp_path: Path) -> None:
    found = results()
    write_page(tmp_path / "report.html", found, when="now", command="lastseat bench <b>")
    page = (tmp_path / "report.html").read_text()
    for grid in grids(found):
        assert grid.title.replace("'", "&#39;") in page
    assert page.count("<svg") == 3
    assert "lastseat bench &lt;b&gt;" in page
    assert "src=" not in page


def test_the_results_of_a_page_are_replaced_and_its_own_words_stay(tmp_path: Path) -> None:
    page = tmp_path / "benchmarks.md"
    page.write_text("before\n")
    assert not has_section(page, BEGIN, END)
    page.write_text(f"before\n{BEGIN}\nof yesterday\n{END}\nafter\n")
    for _ in range(2):
        assert has_section(page, BEGIN, END)
        write_section(page, results(), when="now", command="lastseat bench")
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "yesterday" not in text
    assert text.count("| gevent × 2 | journal + file, batch 256 |") == 2  # how fast, and how it started
    assert "](pictures/benchmarks-64-clients.svg)" in text
    assert (tmp_path / "pictures" / "benchmarks-64-clients.svg").exists()


def test_a_page_says_first_what_was_wanted_and_found_and_last_how_it_was_measured(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"{BEGIN}\n{END}\n")
    found = results()
    order = ["**The targets", "](pictures/page-64-clients.svg)", "**One hot event", "`lastseat bench`, now.", END]
    write_section(page, found, when="now", command="lastseat bench")
    text = page.read_text()
    assert text.startswith(f"{BEGIN}\n\n{order[0]}")
    assert [text.index(part) for part in order] == sorted(text.index(part) for part in order)
    found.targets = []
    write_section(page, found, when="now", command="lastseat bench")
    text = page.read_text()
    assert "The targets" not in text
    assert [text.index(part) for part in order[1:]] == sorted(text.index(part) for part in order[1:])


def test_two_pages_keep_each_their_own_pictures(tmp_path: Path) -> None:
    for name in ("benchmarks", "benchmarks-engines"):
        page = tmp_path / f"{name}.md"
        page.write_text(f"{BEGIN}\n{END}\n")
        write_section(page, results(), when="now", command="lastseat bench")
    pictures = [path.name for path in (tmp_path / "pictures").glob("*-64-clients.svg")]
    assert sorted(pictures) == ["benchmarks-64-clients.svg", "benchmarks-engines-64-clients.svg"]


def test_the_documentation_has_a_place_for_results() -> None:
    page = ROOT / "docs" / "benchmarks.md"
    assert has_section(page, BEGIN, END)
    assert has_section(page, PLAIN_BEGIN, PLAIN_END)
