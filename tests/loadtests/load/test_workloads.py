"""The workloads beside a real office: the stampede, buyers who hang up, payments inside a guard and outside it."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import textwrap
from collections import Counter
from pathlib import Path
from typing import Any

import click
import pytest

from loadtests.lab.experiment.knobs import BY_NAME, KNOBS, WORKLOADS, Workload, locust_options, of_locust_files
from loadtests.lab.experiment.load_options import add_options
from loadtests.lab.experiment.run_options import SettingsError, experiment_of, read_settings
from loadtests.lab.experiment.runner import says_the_same
from loadtests.lab.history.operations import Operations, read_operations
from loadtests.lab.studies.held_payment import Paid, paid, pay_plot
from loadtests.lab.studies.overload import Point, overload_plot, point_of
from tests.loadtests.commands.test_run import history
from tests.loadtests.target.test_target import judged

LOADTESTS = Path(__file__).resolve().parents[3] / "loadtests"


@pytest.mark.servers
def test_at_the_door_nobody_is_let_in_early_and_then_all_tickets_go_at_once(tmp_path: Path) -> None:
    options = ("--buyers", "20", "--capacity", "30", "--opens-in", "4", "--too-early", "0.5", "--worker", "gthread")
    status, said = judged(tmp_path, "--workload", "rush", *options)
    assert (status, said["verdict"], said["acknowledged"]) == (0, "valid", 30), said["why"]
    lines = history(said)
    early = [line for line in lines if line["outcome"] == "fail"]
    assert early
    assert {(line["op"], line["status"]) for line in early} == {("buy", 409)}
    assert all(0 < line["retry_after_s"] <= 4 for line in early)
    first_sale = min(line["return_ns"] for line in lines if line["outcome"] == "ok")
    assert all(line["return_ns"] < first_sale for line in early)
    assert len({line["process"] for line in lines}) == 20


@pytest.mark.servers
def test_without_a_lock_the_stampede_oversells(tmp_path: Path) -> None:
    options = ("--guard", "none", "--think", "5", "--buyers", "20", "--capacity", "30", "--opens-in", "3")
    status, said = judged(tmp_path, "--workload", "rush", *options)
    assert (status, said["verdict"]) == (1, "invalid")
    assert said["oversold"] > 0


@pytest.mark.servers
def test_buyers_who_hang_up_and_ask_again_buy_once(tmp_path: Path) -> None:
    options = ("--time-outs", "0.3", "--retries", "6", "--capacity", "40", "--buyers", "12", "--worker", "gevent")
    status, said = judged(tmp_path, *options, "--think", "5")
    assert (status, said["verdict"], said["acknowledged"]) == (0, "valid", 40), said["why"]
    lines = history(said)
    hung_up = [line for line in lines if line["outcome"] == "unknown"]
    assert len(hung_up) > 5
    assert all(line["return_ns"] is None and line["op"] in {"buy", "cancel"} for line in hung_up)
    # Some of them had bought without knowing it: the office remembers their key, and answers the same again.
    assert any(line.get("replayed") for line in lines)
    attempts = Counter((line["key"], line.get("attempt", 1)) for line in lines if "key" in line)
    assert set(attempts.values()) == {1}


@pytest.mark.servers
def test_a_guard_held_over_a_payment_lets_one_sale_through_in_the_time_of_a_payment(tmp_path: Path) -> None:
    options = ("--payment", "50", "--buyers", "12", "--capacity", "24", "--max-quantity", "1")
    status, said = judged(tmp_path, "--workload", "pay-inside", *options)
    assert (status, said["acknowledged"]) == (0, 24), said["why"]
    inside = [line for line in history(said) if line["op"] == "buy" and line["outcome"] == "ok"]
    # No two payments overlap: each sale held the guard for one, and they came one after another.
    returns = sorted(line["return_ns"] for line in inside)
    assert returns[-1] - returns[0] >= (len(inside) - 1) * 50e6 * 0.99
    status, again = judged(tmp_path, "results/run/latest")
    assert (status, again["service"], again["workload"]) == (0, said["service"], said["workload"])


@pytest.mark.servers
def test_payments_after_a_hold_overlap_and_one_that_comes_too_late_is_never_lost(tmp_path: Path) -> None:
    options = ("--payment", "400", "--payment-lost", "0.3", "--payment-refused", "0.2", "--hold", "0.8")
    sizes = ("--buyers", "12", "--capacity", "24", "--max-quantity", "1", "--patience", "20")
    status, said = judged(tmp_path, "--workload", "pay-after-hold", *options, *sizes)
    assert (status, said["verdict"]) == (0, "valid"), said["why"]
    lines = history(said)
    done = Counter((line["op"], line["outcome"]) for line in lines)
    assert done["hold", "ok"] > 0
    assert done["release", "ok"] > 0
    confirmed = [line for line in lines if line["op"] == "confirm" and line["outcome"] == "ok"]
    held = {line["hold"]: line for line in lines if line["op"] == "hold" and line["outcome"] == "ok"}
    starts = sorted(held[line["hold"]]["return_ns"] for line in confirmed)
    ends = sorted(line["invoke_ns"] for line in confirmed)
    assert starts[1] < ends[0], "two payments were under way at once"
    late = [line for line in confirmed if line["tickets"] != held[line["hold"]]["tickets"]]
    assert all(set(line["tickets"]).isdisjoint(held[line["hold"]]["tickets"]) for line in late)


HEAD = b'{"event":"show","capacity":5,"versions":2}'
SOLD = b'{"version":1,"kind":"sold","key":"k","order":"o1","quantity":1,"tickets":[1]}'
HELD = b'{"version":2,"kind":"held","key":"l","hold":"h1","quantity":1,"tickets":[2]}'
EXPIRED = b'{"version":3,"kind":"expired","hold":"h1","quantity":1,"tickets":[2]}'
CANCELLED = b'{"version":3,"kind":"cancelled","key":"m","order":"o1","quantity":1,"tickets":[1]}'


@pytest.mark.parametrize(
    ("later", "same"),
    [
        ([HEAD, SOLD, HELD], True),
        ([HEAD.replace(b"2}", b"3}"), SOLD, HELD, EXPIRED], True),
        ([HEAD, SOLD], False),
        ([HEAD.replace(b"2}", b"3}"), SOLD, HELD, CANCELLED], False),
        ([HEAD, SOLD.replace(b"[1]", b"[3]"), HELD, EXPIRED], False),
        ([HEAD, HELD, SOLD, EXPIRED], False),
    ],
)
def test_after_a_crash_the_audit_may_have_grown_by_holds_that_ran_out_and_by_nothing_else(
    later: list[bytes], same: bool
) -> None:
    before = b"\n".join([HEAD, SOLD, HELD]) + b"\n"
    assert says_the_same(before, b"\n".join(later) + b"\n") is same


# -- asking again -----------------------------------------------------------------------------------------------------

# Locust patches the standard library when it is imported: in a process of its own.
SCRIPT = """
    import json, sys
    from gevent import socket, spawn
    from locust.contrib.fasthttp import FastHttpSession
    from locust.event import EventHook
    from pathlib import Path
    from loadtests.lab.load.client import Client, ClientContext
    from loadtests.lab.history.recorder import Recorder

    answers, given = json.loads(sys.argv[1]), []
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()

    def serve():
        while True:
            connection, _ = listener.accept()
            spawn(answer, connection)

    def answer(connection):
        while connection.recv(65536):
            status, more = answers[min(len(given), len(answers) - 1)]
            given.append(status)
            body = json.dumps({"code": "x", "definite": status in (429, 503, 409), "version": 1}).encode()
            head = f"HTTP/1.1 {status} X\\r\\nContent-Length: {len(body)}\\r\\n{more}\\r\\n"
            connection.sendall(head.encode() + body)

    spawn(serve)
    history = Path(sys.argv[2])
    context = ClientContext("show", Recorder(history), first_process=0, seed=1, retries=3, time_outs=float(sys.argv[3]))
    session = FastHttpSession("http://127.0.0.1:%d" % listener.getsockname()[1], EventHook(), None, concurrency=2)
    for _ in range(int(sys.argv[4])):
        Client([session], context).buy(1)
    lines = [json.loads(line) for line in history.read_text().splitlines()]
    print(json.dumps({"given": given, "history": lines}))
"""


def asked(tmp_path: Path, *answers: tuple[int, str], time_outs: float = 0.0, buyers: int = 1) -> list[dict[str, Any]]:
    """The operations of some buyers before a server that gives these answers, the last one again and again."""
    words = [json.dumps(answers), str(tmp_path / "history.jsonl"), str(time_outs), str(buyers)]
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(SCRIPT), *words],
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)["history"]
    return found


def attempts(lines: list[dict[str, Any]]) -> list[tuple[int, str]]:
    return [(line.get("attempt", 1), line["outcome"]) for line in lines]


@pytest.mark.servers
def test_who_is_told_when_to_come_again_comes_again_under_the_same_key(tmp_path: Path) -> None:
    busy = (503, "Retry-After: 0\r\n")
    lines = asked(tmp_path, busy, (429, "Retry-After: 0\r\n"), (201, ""))
    assert attempts(lines) == [(1, "fail"), (2, "fail"), (3, "ok")]
    assert len({line["key"] for line in lines}) == 1


@pytest.mark.servers
@pytest.mark.parametrize("answer", [(503, ""), (409, "Retry-After: 0\r\n")])
def test_who_is_refused_otherwise_does_not_ask_again(answer: tuple[int, str], tmp_path: Path) -> None:
    assert attempts(asked(tmp_path, answer)) == [(1, "fail")]


@pytest.mark.servers
def test_who_hangs_up_every_time_gives_up_in_the_end_and_the_client_has_connections_left(tmp_path: Path) -> None:
    lines = asked(tmp_path, (201, ""), time_outs=1.0, buyers=6)
    assert attempts(lines) == [(attempt, "unknown") for attempt in (1, 2, 3, 4)] * 6


# -- settings and figures ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", WORKLOADS)
def test_every_workload_has_a_locust_file_that_says_how_it_is_run(kind: str) -> None:
    file = WORKLOADS[kind].path
    assert f"locust -f loadtests/{file.name}" in file.read_text()


def test_every_field_of_a_workload_is_a_setting() -> None:
    fields = {knob.field for knob in KNOBS if knob.part == "workload"}
    assert fields == set(Workload.__struct_fields__)
    assert {name for knob in KNOBS for name in knob.only} < {kind.locust_file for kind in WORKLOADS.values()}


@pytest.mark.parametrize("kind", WORKLOADS)
def test_a_locust_file_understands_what_a_run_tells_it(kind: str) -> None:
    workload = Workload(kind=kind, capacity=7, time_outs=0.3, opens_in_s=1.5, hold_s=0.5, payment="3", rate=2.5)
    parser = argparse.ArgumentParser()
    add_options(parser, [WORKLOADS[kind].locust_file])
    told = vars(parser.parse_args(locust_options(workload)))
    knobs = of_locust_files([WORKLOADS[kind].locust_file])
    assert {name: told[name] for name in knobs} == {name: getattr(workload, knob.field) for name, knob in knobs.items()}
    assert ("hold" in told, "opens_in" in told) == (WORKLOADS[kind].holds, kind == "rush")


def test_a_sale_by_hand_has_a_hundred_tickets_and_one_of_lastseat_run_two_hundred() -> None:
    parser = argparse.ArgumentParser()
    add_options(parser, ["buy"])
    assert parser.parse_args([]).capacity == 100
    assert experiment_of({}, {}).workload.capacity == 200


@pytest.mark.parametrize(
    "words", ["--capacity 0", "--capacity many", "--read-share nan", "--rate -1", "--arrivals x", "--payment 50-10"]
)
def test_a_locust_file_refuses_what_lastseat_run_refuses(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    add_options(parser, ["mixed"])
    option, value = words.split()
    with pytest.raises(SystemExit) as refused:
        parser.parse_args([option, value])
    assert refused.value.code == 64
    assert f"argument {option}: invalid value: " in capsys.readouterr().err
    with pytest.raises(click.BadParameter):
        BY_NAME[option[2:].replace("-", "_")].kind.convert(value, None, None)


def test_paying_inside_is_the_guard_held_around_the_payment() -> None:
    service = experiment_of({}, {"workload": "pay-inside", "payment": "30-40"}).service
    assert (service.think, service.guard_scope, service.batch) == ("30-40", "request", 1)


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({"workload": "pay-inside", "think": "5"}, "think is 20-60 under pay-inside"),
        ({"workload": "mixed", "target": LOADTESTS.parent / "examples/corner_shop.toml"}, "needs the ticket office"),
    ],
)
def test_settings_that_do_not_fit_a_workload_are_refused(settings: dict[str, Any], wanted: str) -> None:
    with pytest.raises(SettingsError, match=wanted):
        experiment_of({}, settings)


def test_a_workload_may_stand_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "sale.toml").write_text('workload = "mixed"\ntime-outs = 0.01\nhold = 1.5\npayment = "5-9"\n')
    workload = experiment_of(read_settings(tmp_path / "sale.toml"), {}).workload
    assert (workload.kind, workload.time_outs, workload.hold_s, workload.payment) == ("mixed", 0.01, 1.5, "5-9")


def recorded(*lines: dict[str, Any]) -> Operations:
    same = {"process": 1, "event": "show", "invoke_ns": 0}
    return read_operations(b"\n".join(json.dumps(same | line).encode() for line in lines))


def done(op: str, outcome: str, at_s: int, hold_ms: float) -> dict[str, Any]:
    return {"op": op, "outcome": outcome, "return_ns": at_s * 10**9, "hold_ms": hold_ms}


def offered(at_s: float, took_ms: float | None, outcome: str = "ok", op: str = "buy", **more: Any) -> dict[str, Any]:
    intended = round(at_s * 1e9)
    returned = None if took_ms is None else intended + round(took_ms * 1e6)
    times = {"invoke_ns": intended, "return_ns": returned, "intended_ns": intended}
    return {"op": op, "outcome": outcome, **times, **more}


def test_goodput_counts_only_sales_in_time_and_only_of_the_second_half() -> None:
    lines = [
        offered(0, 5), offered(1, 5), offered(5, 10), offered(6, 999), offered(7, 1001),
        offered(8, 3, "fail", status=503), offered(9, None, "unknown"), offered(9, 7, op="read"),
    ]  # fmt: skip
    point = point_of(recorded(*lines), 2.0, 10.0, 1000.0, "valid")
    assert (point.offered_per_s, point.goodput_per_s, point.sold_per_s, point.refused_per_s) == (1.0, 0.4, 0.6, 0.2)
    assert (point.sold_p99_ms, point.read_p99_ms) == (1001.0, 7.0)


def test_a_point_without_sales_has_no_percentiles() -> None:
    assert point_of(recorded(), 1.0, 4.0, 1000.0, "unknown") == Point(1.0, 0, 0, 0, 0, None, None, "unknown")


def test_the_plots_are_drawings_that_say_what_they_show() -> None:
    points = [Point(times, 50 * times, min(50 * times, 48), 48, 0, 90, 5, "valid") for times in (0.5, 1, 10)]
    drawn = overload_plot(points, points, capacity=50.0, deadline_ms=1000.0)
    assert "everybody let in" in drawn
    assert "10 ×" in drawn
    drawn = pay_plot([("inside", Paid(10, 20.0, 50.0)), ("after", Paid(90, 200.0, 3.0))], "50", 20.0)
    assert "1 / hold: a guard held over 50 ms" in drawn
    assert "200 paid sales a second" in drawn


def test_one_paid_sale_holds_the_guard_once_inside_or_twice_after_a_hold() -> None:
    inside = paid(recorded(*(done("buy", "ok", at, 50.0) for at in range(5))))
    assert (inside.sales, inside.sales_per_s, inside.guard_ms, inside.limit_per_s) == (5, 1.0, 50.0, 20.0)
    lines = [done(op, "ok", at, ms) for at in range(3) for op, ms in (("hold", 2.0), ("confirm", 3.0))]
    after = paid(recorded(*lines, done("confirm", "refused", 9, 70.0)))
    assert (after.sales, after.guard_ms) == (3, 5.0)
