"""``lastseat bench`` end to end: real gunicorns, tiny windows. No speed is asserted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from loadtests.lab.bench.benchmark import Bench, BenchSettings
from loadtests.lab.bench.cells import BenchCell, stubbed
from loadtests.lab.bench.load_client import LoadGenerator
from loadtests.lab.bench.paired import Measurer, NothingSold, Sampling
from loadtests.lab.bench.servers import CeilingSubject, NotAvailable, OfficeSubject, PlainSubject, WrongAnswer
from loadtests.lab.commands.bench import bench
from loadtests.lab.paths import PACKAGES
from loadtests.lab.report.progress import ProgressBar
from loadtests.lab.servers.office import NotReady
from tests.combinations import shortened
from tests.loadtests.commands.test_demo import interrupted, processes_of
from tests.loadtests.target.test_target import lastseat

TINY = ["--pairs", "1", "--seconds", "0.3", "--clients", "4"]
KEYS = {"worker", "store", "guard", "batch", "sold_per_s", "ceiling_per_s", "ratio", "p50_ms", "p99_ms", "cpu_us"}

A_SHOP = """
import os

def app(environ, start):
    environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    sold = environ["REQUEST_METHOD"] == "GET" or {sold}
    headers = [("Last-Seat-Worker", str(os.getpid())), ("Content-Length", "{length}")]
    start("{status}" if sold else "503 Busy", headers)
    return [b'{content}']
"""


@pytest.mark.servers
@pytest.mark.parametrize("worker", shortened(["sync", "gevent"], "sync"))
def test_one_pair_under_a_real_gunicorn_gives_the_json_that_is_promised(tmp_path: Path, worker: str) -> None:
    done = lastseat(
        tmp_path, "bench", "--quick", "--only", "cells", "--worker", worker, "--store", "journal", *TINY, "--json"
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert set(said) >= {"cells", "growth", "machine"}
    assert said["growth"] == []
    assert {"processor", "cores", "file_system", "fdatasync_us"} <= set(said["machine"])
    assert [(cell["store"], cell["guard"]) for cell in said["cells"]] == [("journal", "file")] * 2
    assert [cell["batch"] for cell in said["cells"]] == [1, 256]
    for cell in said["cells"]:
        assert set(cell) >= KEYS
        assert set(cell["ratio"]) == {"median", "low", "high"}
        assert cell["worker"] == worker
        assert cell["sold_per_s"] > 0
        assert cell["problems"] == []
        assert cell["other_answers"] == {}
    assert [each["store"] for each in said["ceilings"]] == ["stubbed", "bare"]
    assert said["generator"]["requests_per_s"] > 0
    folder = tmp_path / "results/bench/latest"
    assert (folder / "report.html").exists()
    assert json.loads((folder / "experiment.json").read_text())["command"].startswith("lastseat bench")
    assert list(folder.rglob("data")) == []
    assert processes_of(tmp_path) == []


@pytest.mark.servers
def test_the_office_stands_beside_the_plain_program_on_the_same_engine(tmp_path: Path) -> None:
    tiny = ["--quick", "--pairs", "2", "--worker", "gevent", "--store", "redis"]
    done = lastseat(tmp_path, "bench", "--plain", *tiny, "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    [each] = said["beside_plain"]
    assert (each["store"], each["guard"], each["plain"]) == ("redis", "atomic", "redis_script")
    assert each["problems"] == []
    assert each["sold_per_s"] > 0
    assert each["plain_per_s"] > 0
    assert len(each["ratios"]) == 2
    assert each["other_answers"] == each["plain_other_answers"] == {}
    assert set(each["ratio"]) == set(each["null"]) == set(each["of_cpu"]) == {"median", "low", "high"}
    assert [(mark["worker"], mark["wanted"]) for mark in said["marks"]] == [("gevent × 2", 1.25)]
    assert said["cells"] == said["growth"] == said["missing"] == []
    assert processes_of(tmp_path) == []


@pytest.mark.servers
def test_an_event_grows_and_opens_again_after_a_crash_with_every_order(tmp_path: Path) -> None:
    settings = BenchSettings(
        workers=["gevent"],
        stores=["journal"],
        clients=[4],
        parts=["growth"],
        sampling=Sampling(1, 0.1),
        growth=150,
        quick=True,
    )
    found = Bench(settings, tmp_path, ProgressBar(Console(quiet=True))).run()
    assert found.problems == []
    assert found.missing == []
    assert [row.orders for row in found.growth] == [0, 100, 150]
    assert found.growth[-1].reopened_s is not None


@pytest.mark.servers
def test_ctrl_c_ends_every_server_and_the_generator_and_keeps_what_there_is(tmp_path: Path) -> None:
    # The bench itself, its generator, gunicorn's master and two workers.
    said = interrupted(
        tmp_path, "bench", "--only", "cells", "--worker", "gevent", "--store", "journal", "--seconds", "60",
        once=lambda: len(processes_of(tmp_path)) >= 5, what="all processes of the bench",
    )  # fmt: skip
    assert "everything that was started has been stopped" in said
    assert (tmp_path / "results/bench/latest/report.html").exists()


def shop(tmp_path: Path, *, sold: str, status: str = "201 CREATED", content: str = '{"quantity":1}') -> CeilingSubject:
    """A server of a few lines in the place of a ceiling; ``sold`` says when it sells, ``content`` what it answers."""
    found = CeilingSubject(stubbed("sync"), tmp_path / "shop")
    found.application = "shop:app"
    found.data.mkdir(parents=True)
    text = A_SHOP.format(sold=sold, status=status, content=content, length=len(content))
    (found.data / "shop.py").write_text(text)
    return found


@pytest.mark.servers
def test_a_server_that_does_not_start_is_an_error_with_the_reason(tmp_path: Path) -> None:
    broken = CeilingSubject(stubbed("sync"), tmp_path)
    broken.application = "there_is_no_such_module:app"
    with pytest.raises(NotReady, match="ended with status"), broken:
        pass
    assert "there_is_no_such_module" in broken.log.read_text()
    assert processes_of(tmp_path) == []


@pytest.mark.servers
def test_a_pairing_that_the_service_refuses_is_named_in_its_words(tmp_path: Path) -> None:
    with pytest.raises(NotAvailable, match="memory"), OfficeSubject(BenchCell("sync", "memory", "file"), tmp_path):
        pass
    assert processes_of(tmp_path) == []


@pytest.mark.servers
def test_a_server_that_sells_rightly_is_measured(tmp_path: Path) -> None:
    with shop(tmp_path, sold="True") as right, LoadGenerator(tmp_path) as generator:
        assert Measurer(generator, right, Sampling(1, 0.1)).measure(right, 4).sold_per_s > 0


@pytest.mark.servers
@pytest.mark.parametrize(
    ("status", "content"), [("200 OK", '{"quantity":1}'), ("201 CREATED", "sold"), ("201 CREATED", '{"quantity":2}')]
)
def test_a_server_with_a_wrong_answer_is_not_measured(tmp_path: Path, status: str, content: str) -> None:
    with (
        pytest.raises(WrongAnswer, match=status.split(maxsplit=1)[0]),
        shop(tmp_path, sold="True", status=status, content=content),
    ):
        pass
    assert processes_of(tmp_path) == []


@pytest.mark.servers
def test_a_server_that_stops_selling_under_load_has_no_rate(tmp_path: Path) -> None:
    sells_once = "not os.path.exists('once') and not open('once', 'w').close()"
    with (
        shop(tmp_path, sold=sells_once) as tired,
        LoadGenerator(tmp_path) as generator,
        pytest.raises(NothingSold, match="503"),
    ):
        Measurer(generator, tired, Sampling(1, 0.1)).measure(tired, 4)


@pytest.mark.servers
def test_a_sale_that_the_store_does_not_have_is_found(tmp_path: Path) -> None:
    with (
        PlainSubject(BenchCell("sync", "plain", "file_lock"), tmp_path / "plain") as plain,
        LoadGenerator(tmp_path) as generator,
    ):
        ceiling = Measurer(generator, plain, Sampling(1, 0.1))
        problems: list[str] = []
        ceiling.window(plain, 4, problems)
        assert problems == []
        kept = plain.kept

        def forgetful(path: str) -> int:
            (plain.data / f"{path.split('/')[2]}.json").write_text('{"capacity": 10000000, "sold": 0}')
            return kept(path)

        plain.kept = forgetful  # type: ignore[method-assign]
        ceiling.window(plain, 4, problems)
    assert len(problems) == 1
    assert problems[0].endswith("sales, and 0 were kept")


def test_a_page_without_a_place_for_results_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("no markers")
    done = CliRunner().invoke(bench, ["--write", str(page), "--results", str(tmp_path / "results")])
    assert done.exit_code == 2
    assert "no place for results" in done.output
    assert not (tmp_path / "results").exists()


def test_the_measurement_beside_plain_programs_is_no_part_among_others() -> None:
    done = CliRunner().invoke(bench, ["--plain", "--only", "cells"])
    assert done.exit_code == 2
    assert "leave out --only" in done.output


def test_the_help_has_examples() -> None:
    said = CliRunner().invoke(bench, ["--help"]).output
    assert "lastseat bench --quick" in said
    assert "lastseat bench --plain" in said


@pytest.mark.servers
@pytest.mark.parametrize(("worker", "parts"), shortened([("gthread", 5), ("gevent", 6)], ("gevent", 6)))
def test_a_purchase_is_taken_apart_part_by_part(tmp_path: Path, worker: str, parts: int) -> None:
    """What still sells has sold what it told."""
    command = [
        *(sys.executable, "-m", "loadtests.lab.studies.cost_breakdown"),
        *("--pairs", "1", "--worker", worker, "--seconds"),
    ]
    environment = os.environ | {"PYTHONPATH": str(PACKAGES)}
    for seconds in ("0.1", "1", "10"):
        done = subprocess.run(
            [*command, seconds], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        if "Longer windows (--seconds) may do" not in done.stderr:
            break
    assert done.returncode == 0, done.stderr
    heading, *lines = done.stdout.splitlines()
    assert heading.startswith(worker)
    assert len(lines) == parts
    assert lines[-1].endswith("everything")
    assert list(tmp_path.iterdir()) == []
    assert processes_of(tmp_path) == []


@pytest.mark.servers
def test_whose_processor_time_a_sale_takes_is_told_of_two_checkouts_and_of_what_keeps_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "loadtests.lab.studies.sale_cpu"),
            *("--store", "journal", "--rounds", "1", "--count", "40", "--beside", str(PACKAGES)),
        ],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(PACKAGES)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = {row[0]: row[1:] for line in done.stdout.splitlines()[2:] if (row := line.strip("| ").split(" | "))}
    office = "journal + file, batch 256"
    assert list(rows) == ["a bare Flask endpoint", "the decision stubbed", office, f"{office}, of the other checkout"]
    combiners = [row[2] for row in rows.values()]
    assert combiners[:2] == ["–", "–"]
    assert "–" not in combiners[2:]
    assert [len(row) for row in rows.values()] == [6, 6, 7, 6]
    assert list(tmp_path.iterdir()) == []
    assert processes_of(tmp_path) == []
