"""Several locust files at once, and how a locust ends that the lab, or locust itself, could not carry through."""

from __future__ import annotations

import json
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from loadtests.lab.servers.office import RunningOffice, Service
from tests.loadtests.conftest import BUY, Sale
from tests.loadtests.load.test_buy import closed_port, fetch, state, wait_for

pytestmark = pytest.mark.servers

Serve = Callable[..., RunningOffice]
Hold = Callable[..., Sale]
ALL = str(BUY.parent)
BUY_AND_PAY = ",".join(str(BUY.with_name(name)) for name in ("buy.py", "pay.py"))


def experiment(sale: Sale) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((sale.folder / "experiment.json").read_text())
    return content


@pytest.mark.parametrize("options", [pytest.param((), marks=pytest.mark.soak), ("--processes", "2")])
def test_all_locust_files_at_once_are_one_sale_recorded_and_judged_together(
    serve: Serve, hold_sale: Hold, options: tuple[str, ...]
) -> None:
    # Two events, each with the 60 seats of the studio.
    sizes = ("--users", "12", "--opens-in", "3", "--too-early", "1", "--cart-share", "0.5")
    sale = hold_sale(serve(worker="gevent", guard="file"), "-f", ALL, *sizes, *options)
    assert sale.status == 0, sale.output
    assert sale.folder.parent.name == experiment(sale)["experiment"] == "buy-mixed-pay-rush-seats"
    assert {"capacity", "opens_in", "cart_share", "payment"} <= experiment(sale)["options"].keys()
    assert (sale.verdict["verdict"], sale.verdict["acknowledged"]) == ("valid", 120)
    ops = {line["op"] for line in sale.history if line["outcome"] == "ok"}
    assert {"buy", "hold", "confirm"} <= ops
    assert any(line.get("status") == 409 for line in sale.history), "a rusher tried the door too early"
    assert any("cart" in line for line in sale.history)
    assert len({line["event"] for line in sale.history}) == 2
    assert not (sale.results / "buy").exists()


def test_two_locust_files_without_a_lock_are_caught_overselling_together(serve: Serve, hold_sale: Hold) -> None:
    sale = hold_sale(serve(worker="gevent", guard="none", think_ms=5), "-f", BUY_AND_PAY, "--capacity", "40")
    assert sale.status == 1, sale.output
    assert sale.verdict["oversold"] > 0
    assert {line["op"] for line in sale.history} >= {"buy", "hold"}


def test_a_user_class_that_is_chosen_of_all_files_is_the_only_one_and_decides_what_is_on_sale(
    serve: Serve, hold_sale: Hold
) -> None:
    sale = hold_sale(serve(worker="gevent", guard="file"), "-f", ALL, "--capacity", "20", "--users", "4", "Payer")
    assert sale.status == 0, sale.output
    assert sale.folder.parent.name == "pay"
    assert {line["op"] for line in sale.history} <= {"hold", "confirm", "release"}
    assert len(sale.verdict["events"]) == 1
    assert "opens_in" not in experiment(sale)["options"]


def test_in_the_page_a_user_class_can_be_picked_for_each_test(
    serve: Serve, start_locust: Callable[..., Sale], tmp_path: Path
) -> None:
    port = closed_port()
    start_locust(serve(worker="gevent", guard="file"), "-f", BUY_AND_PAY, "--class-picker", "--web-port", str(port))
    page = f"http://127.0.0.1:{port}"
    wait_for(lambda: '"Verdict"' in fetch(page))
    for chosen, name in ((["Payer"], "pay"), (["Buyer", "Payer"], "buy-pay")):
        form = {"user_count": 6, "spawn_rate": 100, "capacity": 12, "user_classes": chosen}
        fetch(f"{page}/swarm", urllib.parse.urlencode(form, doseq=True).encode())
        wait_for(lambda: state(page)["state"] == "stopped")
        tab = {row["what"]: row["value"] for row in state(page)["extended_stats"][0]["data"]}
        assert tab["verdict"].startswith("valid")
        assert tab["acknowledged"] == "12"
        assert (tmp_path / "results" / name / "latest" / "verdict.json").exists()


def test_the_help_of_several_files_has_the_options_of_all_once(hold_sale: Hold) -> None:
    shown = hold_sale("http://127.0.0.1:1", "-f", ALL, "--help-sale")
    assert shown.status == 0, shown.output
    for option in ("--opens-in", "--cart-share", "--hold ", "--capacity"):
        assert shown.output.count(f"  {option}") == 1


def test_arrivals_at_the_door_buy_when_it_has_opened(serve: Serve, hold_sale: Hold) -> None:
    options = ("--capacity", "20", "--rate", "60", "--users", "1", "--opens-in", "1", "--too-early", "0")
    sale = hold_sale(serve(worker="gevent", guard="file"), "-f", str(BUY.with_name("rush.py")), *options)
    assert sale.status == 0, sale.output
    assert sale.verdict["acknowledged"] == 20


def test_buyers_who_hold_tickets_are_refused_a_service_that_cannot(hold_sale: Hold) -> None:
    target = str(BUY.parents[1] / "examples" / "corner_shop.toml")
    sale = hold_sale("http://127.0.0.1:1", "-f", BUY_AND_PAY, "--target", target)
    assert sale.status == 2
    assert "a target file cannot say how: take loadtests/buy.py" in sale.output


BROKEN = {
    "the disk refuses the history": """
import loadtests.lab.history.recorder as module
write = module.Recorder.write
def refuse(self, operation):
    if self.operations >= 5: raise OSError(28, "No space left on device")
    write(self, operation)
module.Recorder.write = refuse
""",
    "a part cannot be opened": """
import loadtests.lab.load.shard_writer as module
def refuse(*_): raise OSError(28, "No space left on device")
module.Recorder = refuse
""",
    "the notice cannot be made": """
import loadtests.lab.load.coordinator as module
def refuse(*_): raise OSError(28, "No space left on device")
module.new_results_folder = refuse
""",
    "a customer's own program is wrong": """
import loadtests.lab.load.client as module
def refuse(*_): raise OSError(28, "No space left on device")
module.Client._pause_s = refuse
""",
    "the verdict cannot be drawn": """
import loadtests.lab.load.coordinator as module
def refuse(*_): raise OSError(28, "No space left on device")
module.conclude = refuse
""",
    "the page cannot be made": """
import loadtests.lab.load.hooks as module
def refuse(*_, **__): raise OSError(28, "No space left on device")
module.interrupt_only_main = refuse
""",
}


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningOffice]:
    with RunningOffice(Service(worker="gevent", guard="file"), tmp_path_factory.mktemp("office")) as running:
        yield running


@pytest.mark.parametrize(
    ("what", "options"),
    [
        *((what, ()) for what in BROKEN),
        ("the disk refuses the history", ("--processes", "2")),
        ("a part cannot be opened", ("--processes", "2")),
    ],
)
def test_a_fault_of_the_lab_beside_locust_is_70_and_ends_by_itself(
    what: str, options: tuple[str, ...], office: RunningOffice, hold_sale: Hold, tmp_path: Path
) -> None:
    faulty = tmp_path / "faulty.py"
    faulty.write_text(BROKEN[what] + "from loadtests.buy import Buyer\n")
    sale = hold_sale(office, "-f", str(faulty), *options)
    assert sale.status == 70, sale.output
    assert "The lab itself failed" in sale.output
    assert "No space left on device" in sale.output
    if (sale.results / "buy").exists() and (sale.folder / "verdict.json").exists():
        assert sale.verdict["verdict"] == "unknown"
        assert "failed: OSError" in " ".join(sale.verdict["notes"])


@pytest.mark.parametrize(
    ("options", "status", "says"),
    [
        (("--capacity", "many"), 64, "invalid"),
        (("--no-such-option",), 64, "unrecognized arguments"),
        (("--html", "/proc/nowhere/report.html"), 70, "The lab itself failed"),
        (("--results", "/proc/nowhere"), 70, "The lab itself failed"),
    ],
)
def test_what_locust_makes_1_or_2_of_is_no_verdict(
    options: tuple[str, ...], status: int, says: str, office: RunningOffice, hold_sale: Hold
) -> None:
    sale = hold_sale(office, "--capacity", "10", "--users", "2", *options)
    assert sale.status == status, sale.output
    assert says in sale.output


@pytest.mark.parametrize("around", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}])
def test_locust_prints_its_verdict_where_the_output_takes_only_ascii(
    around: dict[str, str], office: RunningOffice, hold_sale: Hold, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {**around, "PYTHONCOERCECLOCALE": "0"}.items():
        monkeypatch.setenv(name, value)
    sale = hold_sale(office, "--capacity", "10", "--users", "2")
    assert sale.status == 0, sale.output
    assert "valid: no violation found" in sale.output
    assert "capacity 10 - acknowledged 10" in sale.output
    assert sale.output.isascii()
