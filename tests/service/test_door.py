"""The door of real servers: beyond its bounds an office answers at once, and goes on answering reads."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from typing import Any

import pytest

from loadtests.lab.servers.office import NotReady, RunningOffice

pytestmark = pytest.mark.servers

Serve = Callable[..., RunningOffice]
CROWD = 12
SLOW_MS = 400


def ask(url: str, body: dict[str, Any] | None = None) -> tuple[int, dict[str, Any], dict[str, str]]:
    request = urllib.request.Request(url)
    if body is not None:
        request.data = json.dumps(body).encode()
        request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.loads(answer.read()), dict(answer.headers)
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read()), dict(error.headers)


def rush(office: RunningOffice) -> Counter[int]:
    """Everybody buys at once; how often each status was answered. Refusals are whole answers, and definite."""
    office.office.create_event("gala", 100)
    with ThreadPoolExecutor(CROWD) as crowd:
        answers = list(crowd.map(lambda _: ask(f"{office.url}/events/gala/orders", {"quantity": 1}), range(CROWD)))
    for status, content, headers in answers:
        if status == 503:
            assert (content["code"], content["definite"], headers["Retry-After"]) == ("overloaded", True, "1")
    return Counter(status for status, _, _ in answers)


@pytest.mark.parametrize(("worker", "threads"), [("gevent", None), ("gthread", 8)])
def test_without_bounds_everybody_is_let_in(worker: str, threads: int | None, serve: Serve) -> None:
    office = serve(worker=worker, processes=1, threads=threads, think_ms=SLOW_MS / 8, inside=0)
    assert rush(office) == {201: CROWD}


@pytest.mark.parametrize(("worker", "threads"), [("gevent", None), ("gthread", 8)])
def test_beyond_the_bounds_buyers_are_refused_and_the_audit_has_only_the_others(
    worker: str, threads: int | None, serve: Serve
) -> None:
    office = serve(worker=worker, processes=1, threads=threads, think_ms=SLOW_MS, inside=1, queue=2)
    answers = rush(office)
    assert set(answers) == {201, 503}
    # Three find a place or a queue; only who comes when one of them has been served can be a fourth.
    assert answers[201] >= 3
    assert answers[503] > 0
    assert len(office.office.audit("gala").splitlines()) == 1 + answers[201]


@pytest.mark.parametrize(("worker", "threads"), [("gevent", None), ("gthread", 4)])
def test_while_everybody_waits_for_a_slow_sale_the_office_still_answers(
    worker: str, threads: int | None, serve: Serve
) -> None:
    office = serve(worker=worker, processes=1, threads=threads, think_ms=4000, inside=1, queue=1)
    office.office.create_event("gala", 100)
    with ThreadPoolExecutor(3) as crowd:
        sales = [crowd.submit(ask, f"{office.url}/events/gala/orders", {"quantity": 1}) for _ in range(3)]
        # One is inside and one waits: the first to have an answer is the one who found neither place.
        refused = wait(sales, 60, FIRST_COMPLETED).done
        assert [sale.result()[0] for sale in refused] == [503]
        for path in ("/healthz", "/events/gala", "/readyz"):
            assert ask(office.url + path)[0] == 200
        assert not all(sale.done() for sale in sales)
        assert sorted(sale.result(60)[0] for sale in sales) == [201, 201, 503]


def test_a_sync_worker_cannot_refuse_those_whom_it_does_not_see_and_says_so_at_start(serve: Serve) -> None:
    with pytest.raises(NotReady, match="backlog"):
        serve(worker="sync", inside=4)


def test_bounds_that_fill_all_threads_are_refused_at_start(serve: Serve) -> None:
    with pytest.raises(NotReady, match="fewer than gunicorn's --threads"):
        serve(worker="gthread", threads=4, inside=4)
