"""The door: so many inside, so many in the queue, and who comes beyond that is told at once; reads pass it by."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from flask.testing import FlaskClient

from service.errors import Problem
from service.sales.admission import INSIDE, QUEUE_PER_PLACE, Admission, bounds
from service.sales.box_office import BoxOffice

FAR = 90.0


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + FAR
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.001)


def far() -> float:
    return time.monotonic() + FAR


class Crowd:
    """Everybody in it goes in, stays until the doors of the room are opened, and leaves."""

    def __init__(self, admission: Admission) -> None:
        self.admission = admission
        self.room = threading.Semaphore(0)
        self.order: list[int] = []
        self.inside = self.most = 0
        self._mutex = threading.Lock()

    def go_in(self, name: int) -> None:
        self.admission.enter(far())
        try:
            with self._mutex:
                self.order.append(name)
                self.inside += 1
                self.most = max(self.most, self.inside)
            assert self.room.acquire(timeout=FAR)
        finally:
            with self._mutex:
                self.inside -= 1
            self.admission.leave()

    def queue_up(self, pool: ThreadPoolExecutor, names: range) -> list[Future[None]]:
        """One after the other, so that their order is known."""
        futures = []
        for name in names:
            before = self.inside + self.admission.queue_length
            futures.append(pool.submit(self.go_in, name))
            until(lambda before=before: self.inside + self.admission.queue_length > before)  # type: ignore[misc]
        return futures


def test_no_more_are_inside_than_may_be_and_the_others_follow_in_the_order_in_which_they_came() -> None:
    crowd = Crowd(Admission(2, 10))
    with ThreadPoolExecutor(9) as pool:
        futures = crowd.queue_up(pool, range(9))
        assert (crowd.inside, crowd.admission.queue_length) == (2, 7)
        for done in range(9):
            # Who got the place is past the door; that he has written himself down is waited for.
            until(lambda done=done: len(crowd.order) == min(9, 2 + done))  # type: ignore[misc]
            crowd.room.release()
            until(lambda done=done: sum(future.done() for future in futures) == done + 1)  # type: ignore[misc]
        for future in futures:
            future.result(FAR)
    assert crowd.order == list(range(9))
    assert (crowd.most, crowd.inside, crowd.admission.queue_length) == (2, 0, 0)


def test_who_comes_beyond_the_queue_is_refused_at_once_for_certain() -> None:
    crowd = Crowd(Admission(1, 2))
    with ThreadPoolExecutor(3) as pool:
        crowd.queue_up(pool, range(3))
        with pytest.raises(Problem) as refused:
            crowd.admission.enter(far())
        crowd.room.release(3)
    problem = refused.value
    assert (problem.code, problem.kind.status, problem.kind.definite, problem.retry_after_s) == (
        "overloaded", 503, True, 1,
    )  # fmt: skip


def test_without_a_queue_the_second_is_refused() -> None:
    admission = Admission(1, 0)
    admission.enter(far())
    with pytest.raises(Problem, match="overloaded"):
        admission.enter(far())
    admission.leave()
    admission.enter(far())


def test_who_has_waited_too_long_leaves_the_queue_and_takes_no_place() -> None:
    admission = Admission(1, 5)
    admission.enter(far())
    with pytest.raises(Problem, match="No place became free in time"):
        admission.enter(time.monotonic() + 0.01)
    assert admission.queue_length == 0
    admission.leave()
    admission.enter(far())


class Torn(BaseException):
    """Thrown into somebody who waits, as gevent does when a worker stops."""


@pytest.mark.parametrize("handed_over_before", [False, True])
def test_who_is_thrown_out_of_the_queue_takes_no_place_with_him(
    handed_over_before: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    admission = Admission(1, 5)
    admission.enter(far())

    def torn(_signal: object, _timeout_s: float) -> bool:
        if handed_over_before:
            admission.leave()
        raise Torn

    monkeypatch.setattr("service.runtime.notifications.Signal.wait", torn)
    with pytest.raises(Torn):
        admission.enter(far())
    assert admission.queue_length == 0
    if not handed_over_before:
        admission.leave()
    admission.enter(time.monotonic())


def test_a_place_that_is_handed_over_at_the_last_moment_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """The wait has ended, and before he is out of the queue the place is his: if he left without it, it were lost."""
    admission = Admission(1, 5)
    admission.enter(far())

    def too_late(_signal: object, _timeout_s: float) -> bool:
        admission.leave()
        return False

    monkeypatch.setattr("service.runtime.notifications.Signal.wait", too_late)
    admission.enter(far())
    admission.leave()
    monkeypatch.undo()
    admission.enter(time.monotonic())


# -- which bounds -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "around", "wanted"),
    [
        ((None, None), {"threads": 1, "sync": False}, (INSIDE, QUEUE_PER_PLACE * INSIDE)),
        ((10, None), {"threads": 1, "sync": False}, (10, 10 * QUEUE_PER_PLACE)),
        ((None, 0), {"threads": 1, "sync": False}, (INSIDE, 0)),
        ((0, 5), {"threads": 1, "sync": False}, None),
        ((None, None), {"threads": 16, "sync": False}, None),
        ((12, None), {"threads": 16, "sync": False}, (12, 3)),
        ((15, None), {"threads": 16, "sync": False}, (15, 0)),
        ((2, 13), {"threads": 16, "sync": False}, (2, 13)),
        ((None, None), {"threads": 1, "sync": True}, None),
        ((0, None), {"threads": 1, "sync": True}, None),
    ],
)
def test_the_bounds_are_those_that_the_worker_model_can_keep(
    given: tuple[int | None, int | None], around: dict[str, Any], wanted: tuple[int, int] | None
) -> None:
    assert bounds(*given, **around) == wanted


@pytest.mark.parametrize(
    ("given", "around", "words"),
    [
        ((16, None), {"threads": 16, "sync": False}, "fewer than gunicorn's --threads"),
        ((10, 6), {"threads": 16, "sync": False}, "LASTSEAT_INSIDE=10 with LASTSEAT_QUEUE=6"),
        ((5, None), {"threads": 1, "sync": True}, "the socket's backlog"),
    ],
)
def test_bounds_that_could_never_be_met_are_refused_at_start(
    given: tuple[int | None, int | None], around: dict[str, Any], words: str
) -> None:
    with pytest.raises(SystemExit) as refused:
        bounds(*given, **around)
    assert words in str(refused.value)


# -- in the office ----------------------------------------------------------------------------------------------------


@contextmanager
def full(client: FlaskClient) -> Iterator[None]:
    """As if others had taken every place inside, for as long as the block lasts."""
    office: BoxOffice = client.application.extensions["office"]
    assert office.admission is not None
    office.admission.enter(far())
    yield
    office.admission.leave()


@pytest.mark.parametrize("request_scope", [False, True])
def test_a_full_house_refuses_every_mutation_and_a_free_place_lets_the_next_one_in(
    request_scope: bool, make_client: Callable[..., FlaskClient]
) -> None:
    client = make_client(inside=1, queue=0, request_scope=request_scope)
    bought = client.post("/events/show/orders", json={"quantity": 1})
    assert bought.status_code == 201
    order = bought.json["order"]
    with full(client):
        for method, path in (("POST", "/events/show/orders"), ("DELETE", f"/events/show/orders/{order}")):
            refused = client.open(path, method=method, json={"quantity": 1})
            assert (refused.status_code, refused.json["code"], refused.json["definite"]) == (503, "overloaded", True)
            assert refused.headers["Retry-After"] == "1"
    assert client.delete(f"/events/show/orders/{order}").status_code == 200
    assert len(client.get("/events/show/audit").data.splitlines()) == 3


def test_reads_and_health_do_not_stand_at_the_door(make_client: Callable[..., FlaskClient]) -> None:
    client = make_client(inside=1, queue=0)
    order = client.post("/events/show/orders", json={"quantity": 1}).json["order"]
    with full(client):
        for path in (
            "/", "/healthz", "/readyz", "/guard", "/events", "/events/show", f"/events/show/orders/{order}",
            "/events/show/audit",
        ):  # fmt: skip
            assert client.get(path).status_code == 200, path


@pytest.mark.parametrize("path", ["/events/show/orders", "/events/show/holds", "/events/show/holds/h1/confirm"])
def test_the_early_refusal_is_the_same_answer_and_counted_the_same(
    path: str, make_client: Callable[..., FlaskClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = make_client(inside=1, queue=0)
    counted: list[tuple[str, str]] = []
    monkeypatch.setattr(
        type(client.application.extensions["metrics"]), "answered", lambda _self, *what: counted.append(what)
    )

    def refused() -> tuple[int, dict[str, str], bytes]:
        with full(client):
            answer = client.post(path, json={"quantity": 1}, headers={"X-Request-Id": "r1"})
        return answer.status_code, dict(answer.headers), answer.data

    early = refused()
    with monkeypatch.context() as late:
        late.setattr(Admission, "is_full", False)
        usual = refused()
    assert early[0] == usual[0]
    assert early[1] == usual[1]
    assert early[2] == usual[2]
    assert early[1]["X-Request-Id"] == "r1"
    assert counted[0] == counted[1]
    assert counted[0][1] == "overloaded"


def test_while_requests_are_logged_no_refusal_is_left_out(
    make_client: Callable[..., FlaskClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = make_client(inside=1, queue=0)
    logged: list[dict[str, Any]] = []
    monkeypatch.setattr("service.http.middleware.early_refusal.REQUESTS.isEnabledFor", lambda _level: True)
    monkeypatch.setattr("service.http.middleware.request_checks.log_request", lambda **what: logged.append(what))
    with full(client):
        client.post("/events/show/orders", json={"quantity": 1})
    assert [line["outcome"] for line in logged] == ["overloaded"]


def test_a_purchase_that_fails_gives_its_place_back(make_client: Callable[..., FlaskClient]) -> None:
    client = make_client(inside=1, queue=0, first_event=("show", 1))
    for expected in (201, 409, 422, 409):
        quantity = 11 if expected == 422 else 1
        assert client.post("/events/show/orders", json={"quantity": quantity}).status_code == expected
