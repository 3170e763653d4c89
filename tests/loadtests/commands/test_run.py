"""``lastseat run`` on the real office: settings by options and files, the open loop, and Ctrl-C."""

from __future__ import annotations

import json
import random
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest

from loadtests.lab.experiment.knobs import Workload
from loadtests.lab.experiment.run_options import SettingsError, experiment_of, read_settings
from loadtests.lab.history.arrivals import ArrivalStats, arrival_messages
from loadtests.lab.load.schedule import gaps_ns
from loadtests.lab.servers.machine import describe
from tests.loadtests.commands.test_demo import interrupted
from tests.loadtests.target.test_target import judged, lastseat


def history(said: dict[str, Any]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (Path(said["folder"]) / "history.jsonl").read_text().splitlines()]


@pytest.mark.servers
def test_a_file_runs_the_office_and_its_record_runs_it_again_with_another_guard(tmp_path: Path) -> None:
    (tmp_path / "sale.toml").write_text('guard = "off"\nthink = "2-6"\ncapacity = 40\nbuyers = 24\nseed = 5\n')
    status, said = judged(tmp_path, "sale.toml", "--worker", "gthread")
    assert (status, said["verdict"], said["capacity"]) == (1, "invalid", 40)
    assert said["oversold"] > 0
    assert (said["service"]["think_ms"], said["service"]["think_high_ms"]) == (2, 6)
    status, again = judged(tmp_path, "results/run/latest", "--guard", "file")
    assert (status, again["verdict"], again["tier"], again["acknowledged"]) == (0, "valid", "A", 40), again["why"]
    changed = {"guard": "file"}
    assert again["service"] == said["service"] | changed
    assert again["workload"] == said["workload"]


@pytest.mark.servers
def test_arrivals_keep_to_their_schedule_and_their_waiting_in_line_is_in_the_times(tmp_path: Path) -> None:
    slow = ("--guard", "file", "--think", "20", "--worker", "gevent", "--cancel-share", "0", "--max-quantity", "1")
    options = ("--rate", "150", "--arrivals", "uniform", "--most-in-flight", "4", "--capacity", "30", "--limit", "15")
    status, said = judged(tmp_path, *slow, *options)
    assert (status, said["acknowledged"]) == (0, 30), said["why"]
    [arrived] = said["arrivals"]
    assert arrived["waited_at_bound"] > 0
    assert arrived["most_in_flight"] <= 4
    assert any("met the bound of 4 requests in flight" in note for note in said["notes"])
    lines = [line for line in history(said) if line["op"] in {"buy", "read"} and line.get("attempt", 1) == 1]
    intended = sorted(line["intended_ns"] for line in lines)
    assert all(line["intended_ns"] <= line["invoke_ns"] for line in lines)
    gaps = {later - earlier for earlier, later in pairwise(intended)}
    assert min(gaps) == pytest.approx(1e9 / 150, rel=0.01)
    # One purchase after another takes 20 ms, so 30 of them keep the last waiting for long; a latency that counted from
    # the sending would hide that, for no more than four are ever sent.
    sales = [line for line in lines if line["op"] == "buy" and line["outcome"] == "ok"]
    from_sending = max(line["return_ns"] - line["invoke_ns"] for line in sales) / 1e6
    from_schedule = sorted((line["return_ns"] - line["intended_ns"]) / 1e6 for line in sales)
    assert said["p99_ms"] == pytest.approx(from_schedule[-1], abs=0.1)
    assert said["p99_ms"] > from_sending


@pytest.mark.servers
def test_ctrl_c_judges_what_there_was_and_leaves_nothing_running(tmp_path: Path) -> None:
    said = interrupted(
        tmp_path, "run", "--capacity", "100000", "--rate", "80",
        once=lambda: any(b'"ok"' in part.read_bytes() for part in tmp_path.glob("results/run/latest/parts-*/*.jsonl")),
        what="the first sale",
    )  # fmt: skip
    assert "judged as it stands" in said
    assert "valid: no violation found" in said
    assert "what was recorded is kept in results/run/" in said
    assert (tmp_path / "results/run/latest/history.jsonl").stat().st_size > 0


@pytest.mark.servers
def test_settings_that_the_service_refuses_are_wrong_usage_and_it_says_why(tmp_path: Path) -> None:
    done = lastseat(tmp_path, "run", "--store", "memory", "--processes", "2")
    assert done.returncode == 64
    assert "lives in one process" in done.stderr


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        ("bayers = 3", "there is no setting bayers (did you mean buyers?). The settings are: worker,"),
        ('buyers = "3"', "buyers is '3'; it must be a whole number"),
        ("buyers = true", "it must be a whole number"),
        ("buyers = 0", "buyers: 0 is not in the range"),
        ('guard = "lok"', "'lok' is not one of none, thread, file,"),
        ('worker = "threads"', "'threads' is not one of 'sync', 'gthread', 'gevent'"),
        ('think = "5 ms"', "is not milliseconds like 20 or 10-50"),
        ("read_share = 1.5", "1.5 is not in the range"),
        ("read_share = nan", "read_share: nan is not a number"),
        ("seed = 1.5", "it must be a whole number"),
        ("[buy]", "describes another service"),
        ("buyers =\n", "is no TOML: Invalid value (at line 1"),
    ],
)
def test_a_file_with_a_setting_that_cannot_be_meant_is_refused(content: str, wanted: str, tmp_path: Path) -> None:
    (tmp_path / "sale.toml").write_text(content)
    with pytest.raises(SettingsError) as refused:
        read_settings(tmp_path / "sale.toml")
    assert wanted in str(refused.value)


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({"threads": 4}, "threads is for gthread"),
        ({"leak": 0.5}, "leak is for the guard leaky"),
        ({"target": Path("examples/corner_shop.toml"), "guard": "file"}, "a setting of the ticket office"),
        ({"target": Path("examples/corner_shop.toml"), "max_quantity": 2}, "max_quantity of this target is 1"),
        ({"target": Path("examples/corner_shop.toml"), "cancel_share": 0.5}, "cancel_share needs a table [cancel]"),
    ],
)
def test_settings_that_do_not_fit_each_other_are_refused(settings: dict[str, Any], wanted: str) -> None:
    with pytest.raises(SettingsError) as refused:
        experiment_of({}, settings)
    assert wanted in str(refused.value)


def test_options_win_over_the_file_and_names_may_have_dashes(tmp_path: Path) -> None:
    (tmp_path / "sale.toml").write_text("read-share = 1\nbuyers = 7\n")
    experiment = experiment_of(read_settings(tmp_path / "sale.toml"), {"buyers": 8})
    assert (experiment.workload.read_share, experiment.workload.buyers) == (1, 8)


def test_the_record_of_a_sale_by_hand_says_how_to_hold_it_again(tmp_path: Path) -> None:
    (tmp_path / "experiment.json").write_text('{"experiment": "buy", "event": "x"}')
    with pytest.raises(SettingsError, match=r"locust -f loadtests/buy\.py"):
        read_settings(tmp_path)


def record(folder: Path, **workload: Any) -> Path:
    """An ``experiment.json`` as an older version wrote it, with fewer settings."""
    parts = {"service": {"worker": "gthread"}, "workload": workload}
    content = parts | {"promise": "valid", "machine": msgspec.to_builtins(describe(folder)), "began": ""}
    (folder / "experiment.json").write_text(json.dumps(content))
    return folder


def test_a_record_of_an_older_version_is_read_with_the_defaults_of_what_it_does_not_have(tmp_path: Path) -> None:
    experiment = experiment_of(read_settings(record(tmp_path, capacity=40, rounds=2)), {})
    assert (experiment.service.worker, experiment.workload) == ("gthread", Workload(capacity=40, rounds=2))


def test_a_record_whose_values_were_edited_out_of_range_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"experiment\.json: read_share: 1.5 is not in the range"):
        read_settings(record(tmp_path, read_share=1.5))


@pytest.mark.slow
def test_wrong_usage_is_64(tmp_path: Path) -> None:
    assert lastseat(tmp_path, "run", "--guard", "lok").returncode == 64
    assert lastseat(tmp_path, "run", "--target", "nowhere.toml").returncode == 64
    assert not (tmp_path / "results").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("--fault pause --store redis --guard on", "guard atomic leaves no place between reading and writing"),
        ("--fault pause --store sqlite --guard atomic", "guard atomic leaves no place between reading and writing"),
        ("--fault pause --guard file --processes 1", "take --processes 2 or more"),
        ("--fault kill-worker --store memory --processes 1", "take another one"),
        ("--fault kill-worker --capacity 19", "20 tickets are sold, and there are 19"),
        ("--fault kill-node --store redis", "say --nodes 3"),
        ("--fault cut-node --store redis", "say --nodes 3"),
        ("--fault restart-engine --store journal", "an engine that the lab has started"),
        ("--fault kill-engine --store journal", "an engine that the lab has started"),
    ],
)
def test_a_fault_that_cannot_happen_is_wrong_usage_before_anything_is_started(
    options: str, says: str, tmp_path: Path
) -> None:
    done = lastseat(tmp_path, "run", *options.split())
    assert (done.returncode, done.stdout) == (64, ""), done.stderr
    assert says in " ".join(done.stderr.split())
    assert not (tmp_path / "results").exists()


def test_a_schedule_is_decided_by_its_seed_and_has_its_rate() -> None:
    once, again = (list(islice(gaps_ns(200, "poisson", random.Random(3)), 5000)) for _ in range(2))
    assert once == again
    assert sum(once) / len(once) == pytest.approx(5e6, rel=0.05)
    assert set(islice(gaps_ns(200, "uniform", random.Random(3)), 1, 9)) == {5_000_000}


def arrived(**changes: Any) -> ArrivalStats:
    values: dict[str, Any] = {
        "rate": 100.0, "due": 500, "started": 500, "waited_at_bound": 0, "most_in_flight": 9, "bound": 500,
        "lag_p99_ms": 1.0, "lag_max_ms": 2.0,
    }  # fmt: skip
    return ArrivalStats(**(values | changes))


def test_what_must_be_said_of_a_schedule() -> None:
    assert arrival_messages([arrived()]) == []
    assert "load generator was a bottleneck" in arrival_messages([arrived(), arrived(lag_p99_ms=60.0)])[0]
    assert "20 of 500 arrivals met the bound" in arrival_messages([arrived(waited_at_bound=20)])[0]
    assert "3 arrivals were due and never sent" in arrival_messages([arrived(started=497)])[0]
