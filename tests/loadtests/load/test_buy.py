"""``locust -f loadtests/buy.py`` beside a real office: what it finds, and that it records all of it."""

from __future__ import annotations

import json
import signal
import socket
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import gevent
import pytest
from gevent.event import Event

from loadtests.lab.experiment.result import Conclusion
from loadtests.lab.history.shards import RunNotice
from loadtests.lab.load.coordinator import Coordinator
from loadtests.lab.servers.office import RunningOffice
from loadtests.lab.servers.process import running_in_group
from tests.combinations import shortened
from tests.loadtests.conftest import Sale

pytestmark = pytest.mark.servers

Serve = Callable[..., RunningOffice]
Hold = Callable[..., Sale]
ENDLESS = ("--capacity", "1000000")


def test_without_a_lock_more_tickets_are_sold_than_there_are(serve: Serve, hold_sale: Hold) -> None:
    sale = hold_sale(serve(worker="gevent", guard="none", think_ms=5), "--capacity", "40")
    assert sale.status == 1
    assert sale.verdict["oversold"] > 0
    assert "the sale went wrong" in sale.output


def test_with_the_lock_the_last_seat_is_sold_once(serve: Serve, hold_sale: Hold) -> None:
    sale = hold_sale(serve(worker="gevent", guard="file"), "--capacity", "40", "--cancel-share", "0.2")
    assert sale.status == 0, sale.output
    assert (sale.verdict["acknowledged"], sale.verdict["oversold"], sale.verdict["lost"]) == (40, 0, 0)
    ops = {(line["op"], line["outcome"]) for line in sale.history}
    assert {("buy", "ok"), ("buy", "sold_out"), ("read", "ok"), ("cancel", "ok")} <= ops
    assert {file.name for file in sale.folder.iterdir()} == {
        "experiment.json", "history.jsonl", "audit.jsonl", "verdict.json", "report.html",
    }  # fmt: skip


@pytest.mark.parametrize("stop_timeout", shortened(["50", "0"], "0"))
def test_nothing_under_way_at_the_end_is_lost(serve: Serve, hold_sale: Hold, stop_timeout: str) -> None:
    # No purchase is answered before the end: some are under way then, however slow the machine is.
    office = serve(worker="gthread", guard="none", think_ms=3000)
    sale = hold_sale(office, *ENDLESS, "--run-time", "2", "--stop-timeout", stop_timeout, "--retries", "0")
    office.stop()  # it first finishes what it had under way when locust was cut off: then the list is final
    office.start()
    committed = [json.loads(line) for line in office.office.audit(sale.history[0]["event"]).splitlines()][1:]
    asked = {line["key"]: line["outcome"] for line in sale.history if "key" in line}
    assert {record["key"] for record in committed} <= asked.keys()
    unknown = sum(outcome == "unknown" for outcome in asked.values())
    assert unknown > 0 if stop_timeout == "0" else unknown == 0


def test_several_locust_processes_write_one_history(serve: Serve, hold_sale: Hold) -> None:
    sale = hold_sale(serve(worker="gevent", guard="file"), "--processes", "2", "--capacity", "40")
    assert sale.status == 0, sale.output
    assert sale.verdict["acknowledged"] == 40
    crews = {line["process"] // 1_000_000 for line in sale.history}
    assert crews == {0, 1}
    assert {record["key"] for record in sale.audit} <= {line.get("key") for line in sale.history}


@pytest.mark.parametrize("options", [(), ("--processes", "2")])
def test_an_interrupted_sale_is_judged_and_leaves_nothing_running(
    serve: Serve, start_locust: Callable[..., Sale], options: tuple[str, ...]
) -> None:
    sale = start_locust(serve(worker="gevent", guard="file"), "--headless", *ENDLESS, *options)
    wait_for(lambda: any(sale.results.glob("buy/latest/parts-*/*.jsonl")) and "ok" in parts(sale))
    sale.interrupt(signal.SIGINT)
    sale.finish()
    assert sale.status == 0, sale.output
    assert sale.verdict["verdict"] == "valid"
    assert "Traceback" not in sale.output
    assert running_in_group(sale.process.pid) == []


def test_no_operation_is_exit_2_and_says_so(hold_sale: Hold) -> None:
    sale = hold_sale(f"http://127.0.0.1:{closed_port()}")
    assert sale.status == 2
    assert "nothing was recorded" in sale.output
    assert "nobody answers" in sale.output
    assert "lastseat serve" in sale.output


def test_a_wrong_admin_token_is_exit_2_and_names_the_remedy(serve: Serve, hold_sale: Hold) -> None:
    sale = hold_sale(serve(processes=1), "--admin-token", "wrong")
    assert sale.status == 2
    assert "--admin-token" in sale.output
    assert not sale.results.exists()


def test_the_options_of_the_sale_are_explained(hold_sale: Hold) -> None:
    shown = hold_sale("http://127.0.0.1:1", "--help-sale")
    assert shown.status == 0
    for option in ("--capacity", "--max-quantity", "--read-share", "--cancel-share", "--seed", "--admin-token"):
        assert option in shown.output


def test_buyers_leave_an_office_that_is_gone(serve: Serve, start_locust: Callable[..., Sale]) -> None:
    office = serve(worker="gevent", guard="file")
    sale = start_locust(office, "--headless", *ENDLESS, "--users", "4")
    wait_for(lambda: any(sale.results.glob("buy/latest/parts-*/*.jsonl")) and "ok" in parts(sale))
    office.kill()
    sale.finish()
    assert sale.status == 2
    assert "the audit could not be read" in sale.output
    assert {line["outcome"] for line in sale.history} <= {"ok", "sold_out", "fail", "unknown"}


def test_in_locusts_page_the_verdict_is_a_tab_and_a_new_test_sells_a_new_event(
    serve: Serve, start_locust: Callable[..., Sale]
) -> None:
    port = closed_port()
    start_locust(serve(worker="gevent", guard="file"), "--web-port", str(port), "--users", "8")
    page = f"http://127.0.0.1:{port}"
    wait_for(lambda: '"Verdict"' in fetch(page))
    assert "admin_token" not in fetch(page)
    events = []
    for capacity in (12, 24):
        form = {"user_count": 8, "spawn_rate": 100, "capacity": capacity}
        fetch(f"{page}/swarm", urllib.parse.urlencode(form).encode())
        wait_for(lambda: state(page)["state"] == "stopped")
        tab = {row["what"]: row["value"] for row in state(page)["extended_stats"][0]["data"]}
        assert tab["verdict"].startswith("valid")
        assert tab["acknowledged"] == str(capacity)
        assert json.loads(fetch(f"{page}/last-seat/verdict.json"))["acknowledged"] == capacity
        events.append(tab["event"])
    assert events[0] != events[1]


def parts(sale: Sale) -> str:
    return "".join(part.read_text() for part in sale.results.glob("buy/latest/parts-*/*.jsonl"))


def fetch(url: str, body: bytes | None = None) -> str:
    try:
        with urllib.request.urlopen(url, body, timeout=20) as response:
            return str(response.read().decode())
    except OSError:
        return ""


def state(page: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(fetch(f"{page}/stats/requests"))
    return content


def wait_for(what: Callable[[], object], within_s: float = 90.0) -> None:
    deadline = time.monotonic() + within_s
    while not what():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.05)


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_one_part_that_lies_elsewhere_does_not_end_the_wait_for_those_of_this_machine(tmp_path: Path) -> None:
    coordinator = object.__new__(Coordinator)
    coordinator.notice, coordinator.elsewhere = (
        RunNotice("show", str(tmp_path)),
        {1: "process 1 keeps its part in /there"},
    )
    coordinator.notice.shards.mkdir()
    waiting = gevent.spawn(coordinator.wait_for_shards, [0, 1], 60.0)
    gevent.sleep(0.1)
    assert not waiting.ready(), "the part of process 0 is not whole yet"
    (coordinator.notice.shards / "0.note").touch()
    gevent.joinall([waiting], timeout=30, raise_error=True)
    assert waiting.ready(), "nothing else was to be waited for"


def test_a_time_limit_that_comes_while_a_sale_that_is_over_is_judged_waits_for_the_verdict() -> None:
    """Locust quits when the second caller returns; it must not do so in the middle of the first one's work."""
    coordinator = object.__new__(Coordinator)
    coordinator._concluding, coordinator._concluded = False, Event()
    reading_the_audit, happened = Event(), []

    def judge(_shards: list[int]) -> Conclusion:
        reading_the_audit.wait()
        happened.append("judged")
        return cast(Conclusion, None)

    coordinator._conclude = judge  # type: ignore[method-assign]
    first = gevent.spawn(coordinator.conclude, [0])
    second = gevent.spawn(lambda: (coordinator.conclude([0]), happened.append("quit")))
    gevent.idle()
    reading_the_audit.set()
    gevent.joinall([first, second], timeout=10, raise_error=True)
    assert happened == ["judged", "quit"]
