"""The numbers at /metrics: what buyers were told, added up over all processes, the dead ones too."""

from __future__ import annotations

import http.client
import os
import re
import signal
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from typed import Answer, Typed, wait_for

from service.errors import Problem
from service.rules.records import Record
from service.runtime.metrics import Metrics, Unmeasured, open_metrics, remove_what_is_left
from service.sales.admission import Admission

Numbers = dict[str, float]


def numbers(text: str) -> Numbers:
    """The samples by name and labels, as they are written."""
    lines = (line.rpartition(" ") for line in text.splitlines() if line and not line.startswith("#"))
    return {name: float(value) for name, _, value in lines}


def tickets(kind: str) -> str:
    return f'lastseat_tickets_total{{kind="{kind}"}}'


def answers(operation: str, outcome: str) -> str:
    return f'lastseat_answers_total{{operation="{operation}",outcome="{outcome}"}}'


def measured(client: FlaskClient) -> Numbers:
    return numbers(client.get("/metrics").text)


DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "service.md"


def test_every_metric_is_documented_and_has_no_other_name(client: FlaskClient) -> None:
    shown = set(re.findall(r"# TYPE (\w+)", client.get("/metrics").text)) | {"lastseat_answers"}
    documented = re.findall(r"^\| `(lastseat_\w+?)(?:_total)?[{`]", DOCUMENT.read_text(), re.MULTILINE)
    assert {name.removesuffix("_total") for name in shown} == set(documented)


def sold(quantity: int) -> Record:
    return Record(version=1, kind="sold", key="k", order="o", quantity=quantity, tickets=(1,), remaining=0)


def test_sales_refusals_and_replays_are_counted_by_what_was_answered(client: FlaskClient) -> None:
    def buy(quantity: int, key: str) -> None:
        client.post("/events/show/orders", json={"quantity": quantity}, headers={"Idempotency-Key": key})

    buy(8, "a")
    buy(8, "a")
    buy(8, "b")
    buy(11, "c")
    client.post("/events/nobody/orders", json={"quantity": 1})
    found = measured(client)
    assert found[tickets("sold")] == 8
    outcomes = {"ok": 1, "replayed": 1, "sold_out": 1, "over_limit": 1, "unknown_event": 1}
    assert {each: found[answers("orders.buy", each)] for each in outcomes} == outcomes
    assert found["lastseat_batch_commands_count"] == found["lastseat_guard_hold_seconds_count"] == 4
    assert found["lastseat_guard_wait_seconds_count"] == 4
    assert found["lastseat_store_seconds_sum"] > 0


def test_a_replayed_cart_is_counted_as_replayed(client: FlaskClient) -> None:
    for _ in range(2):
        cart = {"items": [{"event": "show", "quantity": 2}]}
        client.post("/carts", json=cart, headers={"Idempotency-Key": "a"})
    found = measured(client)
    assert found[tickets("sold")] == 2
    assert {each: found[answers("carts.buy", each)] for each in ("ok", "replayed")} == {"ok": 1, "replayed": 1}


def test_a_form_of_the_page_that_is_sent_twice_is_counted_as_replayed(client: FlaskClient) -> None:
    for _ in range(2):
        client.post("/", data={"event": "show", "do": "buy", "quantity": "2", "key": "a"})
    found = measured(client)
    assert found[tickets("sold")] == 2
    assert {each: found[answers("page.act", each)] for each in ("ok", "replayed")} == {"ok": 1, "replayed": 1}


def test_what_nobody_does_is_shown_as_zero(client: FlaskClient) -> None:
    found = measured(client)
    assert found[tickets("cancelled")] == found["lastseat_queue_length"] == 0
    assert found["lastseat_guard_holder_age_seconds"] == 0


def test_two_processes_are_added_up(tmp_path: Path) -> None:
    one, other = open_metrics(tmp_path, "master"), open_metrics(tmp_path, "master")
    for each in (one, other, other):
        each.transacted([sold(2)], [1.0], 1.0, 1.0)
    for each in (one, other):
        assert numbers(each.text().decode())[tickets("sold")] == 6


def test_the_counts_of_a_process_that_died_stay_and_who_takes_its_place_counts_on(tmp_path: Path) -> None:
    died, lives = open_metrics(tmp_path, "master"), open_metrics(tmp_path, "master")
    died.transacted([sold(3)], [1.0], 1.0, 1.0)
    died.close()
    assert numbers(lives.text().decode())[tickets("sold")] == 3
    files = set(tmp_path.rglob("*"))
    next_one = open_metrics(tmp_path, "master")
    next_one.transacted([sold(1)], [1.0], 1.0, 1.0)
    assert numbers(lives.text().decode())[tickets("sold")] == 4
    assert set(tmp_path.rglob("*")) == files


def test_where_files_were_removed_nobody_counts_in_a_living_ones_place(tmp_path: Path) -> None:
    one = open_metrics(tmp_path, "master")
    for path in tmp_path.rglob("*.lock"):
        path.unlink()
    other = open_metrics(tmp_path, "master")
    for each in (one, other, one, other):
        each.transacted([sold(2)], [1.0], 1.0, 1.0)
    found = numbers(one.text().decode())
    assert (found[tickets("sold")], found["lastseat_workers"]) == (8, 2)


def test_who_waits_and_who_holds_is_told_of_the_living_alone(tmp_path: Path) -> None:
    died, lives = open_metrics(tmp_path, "master"), open_metrics(tmp_path, "master")
    died.queued(5)
    died.took(died)
    lives.queued(2)
    before = numbers(lives.text().decode())
    assert before["lastseat_queue_length"] == 7
    assert before["lastseat_workers"] == 2
    assert before["lastseat_guard_holder_age_seconds"] > 0
    died.close()
    after = numbers(lives.text().decode())
    assert after["lastseat_queue_length"] == 2
    assert after["lastseat_workers"] == 1
    assert after["lastseat_guard_holder_age_seconds"] == 0


def test_the_age_is_that_of_the_one_who_has_held_longest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("service.runtime.metrics.time.time", lambda: now)
    metrics = open_metrics(tmp_path, "master")
    first, second = object(), object()
    metrics.took(first)
    now = 1003.0
    metrics.took(second)
    now = 1010.0
    assert numbers(metrics.text().decode())["lastseat_guard_holder_age_seconds"] == 10
    metrics.gave_back(first)
    assert numbers(metrics.text().decode())["lastseat_guard_holder_age_seconds"] == 7
    metrics.gave_back(second)
    assert numbers(metrics.text().decode())["lastseat_guard_holder_age_seconds"] == 0


def test_a_new_master_begins_at_nothing_and_removes_what_no_process_has_open(tmp_path: Path) -> None:
    gone, lives = open_metrics(tmp_path, "gone"), open_metrics(tmp_path, "another server")
    for each in (gone, lives):
        each.answered("orders.buy", "ok")
    gone.close()
    remove_what_is_left(tmp_path, "new")
    assert len(list((tmp_path / "metrics").iterdir())) == 1
    assert numbers(lives.text().decode())[answers("orders.buy", "ok")] == 1
    assert answers("orders.buy", "ok") not in numbers(open_metrics(tmp_path, "new").text().decode())


def test_without_room_for_its_metrics_an_office_sells_all_the_same(
    make_client: Callable[..., FlaskClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(*_: object) -> Metrics:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("service.app.open_metrics", no_room)
    client = make_client()
    assert type(client.application.extensions["metrics"]) is Unmeasured
    assert client.post("/events/show/orders", json={"quantity": 1}).status_code == 201
    assert client.get("/metrics").data == b""


def _buy_in_threads(server: Typed, threads: int, each: int) -> Counter[str]:
    """What buyers were told, and how many got no answer at all."""
    told: Counter[str] = Counter()
    mutex = threading.Lock()

    def shop() -> None:
        for _ in range(each):
            try:
                answer: Answer | None = server.buy(quantity=1)
            except (OSError, http.client.HTTPException):
                answer = None
            what = "nothing" if answer is None else "ok" if answer.status == 201 else answer.code
            with mutex:
                told[what] += 1

    shoppers = [threading.Thread(target=shop) for _ in range(threads)]
    for each_one in shoppers:
        each_one.start()
    for each_one in shoppers:
        each_one.join(60)
    return told


MODELS = ("-w 3", "-k gthread --threads 4 -w 2", "-k gevent -w 2")


@pytest.mark.servers
@pytest.mark.parametrize("model", MODELS)
def test_the_sum_over_workers_is_what_buyers_were_told_also_after_a_worker_was_killed(
    tmp_path: Path, model: str
) -> None:
    with Typed(f"{model} service:app", tmp_path / "office", LASTSEAT_EVENT="show:50") as server:
        told = _buy_in_threads(server, 4, 10)
        before = server.workers()
        os.kill(before[0], signal.SIGKILL)
        wait_for(lambda: len(set(server.workers()) - set(before)) == 1, "a worker in its place")
        told += _buy_in_threads(server, 4, 5)
        found = numbers(server.call("GET", "/metrics").content.decode())
        counted = {
            match[1]: value
            for name, value in found.items()
            if (match := re.fullmatch(r'lastseat_answers_total\{operation="orders.buy",outcome="(\w+)"\}', name))
        }
        assert "nothing" not in told
        assert counted == dict(told) == {"ok": 50, "sold_out": 10}
        assert found[tickets("sold")] == 50
        assert found["lastseat_queue_length"] == 0


@pytest.mark.servers
def test_a_worker_killed_in_the_middle_of_a_sale_leaves_no_count_that_buyers_could_contradict(tmp_path: Path) -> None:
    """Who got no answer may have been counted; who got one was."""
    with Typed("-k gthread --threads 4 -w 2 service:app", tmp_path / "office", LASTSEAT_EVENT="show:500") as server:
        victim = server.workers()[0]
        killer = threading.Timer(0.2, os.kill, (victim, signal.SIGKILL))
        killer.start()
        told = _buy_in_threads(server, 4, 40)
        killer.join()
        wait_for(lambda: victim not in server.workers(), "its end")
        found = numbers(server.call("GET", "/metrics").content.decode())
        recorded = len(server.records())
        assert told["ok"] <= found[tickets("sold")] <= recorded <= told["ok"] + told["nothing"]
        assert found["lastseat_queue_length"] == 0
        assert found["lastseat_guard_holder_age_seconds"] == 0


def test_who_waits_at_the_door_is_in_the_queue_until_he_is_let_in_or_gives_up(tmp_path: Path) -> None:
    metrics = open_metrics(tmp_path, "master")
    door = Admission(inside=1, queue=1)
    seen: list[float] = []

    def queued(change: int) -> None:
        metrics.queued(change)
        seen.append(numbers(metrics.text().decode())["lastseat_queue_length"])

    door.queued = queued
    door.enter(0)
    with pytest.raises(Problem):
        door.enter(0)
    assert seen == [1, 0]
