"""The search for the rate at which goodput stops growing; and thresholds, JUnit and Markdown of a real run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import pytest

from loadtests.lab.commands.saturate import TriedRate, _words, search
from loadtests.lab.experiment.knobs import stages_of

LASTSEAT = str(Path(sys.executable).with_name("lastseat"))
FAR_S = 120.0


def service_of(ceiling: float) -> Any:
    """Sells what arrives, up to so many a second."""
    result: Any = SimpleNamespace()
    return lambda rate: TriedRate(rate, min(rate, ceiling), result)


@pytest.mark.parametrize("ceiling", [70.0, 130.0, 999.0])
def test_the_gap_between_the_last_rate_that_is_kept_up_and_the_first_that_is_not_is_halved(ceiling: float) -> None:
    steps = search(service_of(ceiling), 50.0, 10_000.0, halvings=4)
    good = max(step.rate for step in steps if step.keeps_up)
    bad = min(step.rate for step in steps if not step.keeps_up)
    assert good <= ceiling / 0.9 < bad
    assert bad / good < 2 ** (1 / 8)


def test_a_service_that_keeps_up_with_everything_and_one_that_keeps_up_with_nothing_are_said_to() -> None:
    assert "up to 400 arrivals" not in (said := _words(search(service_of(1e9), 50.0, 400.0, halvings=2)))
    assert "every rate that was tried, up to 400/s" in said
    assert "no rate that was tried; it sold at most 5/s" in _words(search(service_of(5.0), 50.0, 400.0, halvings=2))


@pytest.mark.servers
@pytest.mark.parametrize(
    ("options", "status", "failed", "missed"),
    [
        (["--fail-if", "p99 > 0ms", "--fail-if", "errors > 99%"], 3, {"p99 > 0ms"}, 1),
        (["--fail-if", "errors > 99%"], 0, set(), 0),
        (["--guard", "none", "--think", "5", "--fail-if", "p99 > 0ms"], 1, {"answers", "the verdict", "p99 > 0ms"}, 1),
    ],
)
def test_a_missed_threshold_is_status_3_and_never_hides_a_wrong_sale(
    tmp_path: Path, options: list[str], status: int, failed: set[str], missed: int
) -> None:
    files = ["--junit", str(tmp_path / "junit.xml"), "--markdown", str(tmp_path / "summary.md")]
    command = [LASTSEAT, "run", "--capacity", "30", "--buyers", "8", "--json", "--results", str(tmp_path), *files]
    ran = subprocess.run([*command, *options], capture_output=True, text=True, timeout=FAR_S, check=False)
    assert ran.returncode == status, ran.stderr
    said = json.loads(ran.stdout)
    assert len(said["missed"]) == missed
    suite = ElementTree.parse(tmp_path / "junit.xml").getroot()
    with_failures = {case.get("name") for case in suite.iter("testcase") if case.find("failure") is not None}
    assert failed <= with_failures
    assert int(suite.get("failures", "0")) == len(with_failures)
    assert (tmp_path / "summary.md").read_text(encoding="utf-8").startswith(f"### {said['verdict']}: ")


def test_what_is_no_threshold_is_wrong_usage_before_anything_starts(tmp_path: Path) -> None:
    command = [LASTSEAT, "run", "--fail-if", "p99", "--results", str(tmp_path / "results")]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=FAR_S, check=False)
    assert ran.returncode == 64
    assert "is no threshold like" in ran.stderr
    assert not (tmp_path / "results").exists()


@pytest.mark.servers
def test_each_rate_is_a_run_of_its_own_that_is_judged(tmp_path: Path) -> None:
    command = [LASTSEAT, "saturate", "--from", "20", "--to", "40", "--step", "1s", "--json", "--results", str(tmp_path)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=FAR_S, check=False)
    said = json.loads(ran.stdout)
    assert [step["verdict"] for step in said["steps"]] == ["valid"] * len(said["steps"])
    assert {step["rate"] for step in said["steps"]} >= {20.0}
    assert ran.returncode == 0
    assert all((Path(step["folder"]) / "report.html").exists() for step in said["steps"])


@pytest.mark.servers
def test_in_stages_there_are_as_many_buyers_as_each_says(tmp_path: Path) -> None:
    command = [LASTSEAT, "run", "--stages", "2:2s,9:2s,3:3s", "--capacity", "1000000", "--store", "journal", "--json"]
    ran = subprocess.run(
        [*command, "--results", str(tmp_path)], capture_output=True, text=True, timeout=FAR_S, check=False
    )
    said = json.loads(ran.stdout)
    assert (said["verdict"], said["workload"]["buyers"], said["workload"]["limit_s"]) == ("valid", 9, 7.0)
    log = (Path(said["folder"]) / "locust.log").read_text(encoding="utf-8")
    assert [f"updating to {users} users" in log for users in (2, 9, 3)] == [True, True, True]
    lines = (Path(said["folder"]) / "history.jsonl").read_text(encoding="utf-8").splitlines()
    assert len({json.loads(line)["process"] for line in lines}) >= 9


@pytest.mark.parametrize("text", ["10", "0:5s", "10:0.5s", "10:5s;20:5s", "x:5s"])
def test_what_is_no_stage_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no stage like 10:30s"):
        stages_of(text)


def test_stages_are_read_in_order() -> None:
    assert stages_of("10:30s, 50:1.5m") == [(10, 30.0), (50, 90.0)]
