"""The rate limit: a token bucket for each client, bounded in memory, told apart by what can be trusted."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st

from service.errors import Problem
from service.rate_limit import RateLimit, client_of


def refused_for(limit: RateLimit, client: str, now: float) -> int | None:
    """The seconds to wait, None if it was let in."""
    try:
        limit.take(client, now)
    except Problem as problem:
        assert (problem.code, problem.kind.status, problem.kind.definite) == ("too_many_requests", 429, True)
        return problem.retry_after_s
    return None


def test_a_full_bucket_lets_so_many_in_at_once_and_then_one_for_each_new_token() -> None:
    limit = RateLimit(2, 3)
    assert [refused_for(limit, "ada", 0) for _ in range(4)] == [None, None, None, 1]
    assert [refused_for(limit, "ada", 0.5) for _ in range(2)] == [None, 1]
    assert [refused_for(limit, "ada", 100) for _ in range(4)] == [None, None, None, 1]


def test_who_waits_as_long_as_he_is_told_gets_in_however_often_he_asked_meanwhile() -> None:
    limit = RateLimit(0.1, 1)
    assert refused_for(limit, "ada", 5) is None
    assert [refused_for(limit, "ada", 5 + wait) for wait in (0, 1, 9.5)] == [10, 9, 1]
    assert refused_for(limit, "ada", 15) is None


def test_clients_have_buckets_of_their_own() -> None:
    limit = RateLimit(1, 1)
    assert refused_for(limit, "ada", 0) is None
    assert refused_for(limit, "grace", 0) is None
    assert refused_for(limit, "ada", 0) == 1


def test_the_buckets_are_bounded_and_who_has_not_asked_for_longest_is_forgotten() -> None:
    limit = RateLimit(0.001, 1, most_clients=3)
    for client in ("a", "b", "c", "d"):
        assert refused_for(limit, client, 0) is None
    assert len(limit) == 3
    assert refused_for(limit, "d", 0) is not None
    assert refused_for(limit, "a", 0) is None


@given(
    st.floats(0.01, 1000),
    st.integers(1, 20),
    st.lists(st.floats(0, 30), min_size=1, max_size=60),
)
def test_in_no_stretch_of_time_more_are_let_in_than_the_bucket_and_its_refill(
    rate: float, burst: int, gaps: list[float]
) -> None:
    limit, now, let_in = RateLimit(rate, burst), 0.0, list[float]()
    for gap in gaps:
        now += gap / rate
        if refused_for(limit, "ada", now) is None:
            let_in.append(now)
    for first in range(len(let_in)):
        for last in range(first, len(let_in)):
            assert last - first + 1 <= burst + (let_in[last] - let_in[first]) * rate + 1e-6
    assert let_in[0] == pytest.approx(gaps[0] / rate)


@pytest.mark.parametrize(
    ("address", "forwarded_for", "proxies", "wanted"),
    [
        ("10.0.0.1", "", 0, "10.0.0.1"),
        ("10.0.0.1", "1.2.3.4", 0, "10.0.0.1"),
        ("10.0.0.1", "6.6.6.6, 1.2.3.4", 1, "1.2.3.4"),
        ("10.0.0.1", "6.6.6.6, 1.2.3.4, 10.0.0.9", 2, "1.2.3.4"),
        ("10.0.0.1", "1.2.3.4", 2, "10.0.0.1"),
        ("10.0.0.1", "", 1, "10.0.0.1"),
        ("10.0.0.1", "1.2.3.4:5678", 1, "1.2.3.4"),
        ("2001:db8:1:2:3:4:5:6", "", 0, "2001:db8:1:2::"),
        ("2001:db8:1:2:ffff::1%eth0", "", 0, "2001:db8:1:2::"),
        ("::ffff:1.2.3.4", "", 0, "1.2.3.4"),
        ("10.0.0.1", "not:an:address", 1, "not:an:address"),
        ("10.0.0.1", "x" * 1000, 1, "x" * 64),
        ("", "", 0, ""),
    ],
)
def test_a_client_is_who_the_last_trusted_proxy_says_and_nobody_can_make_up_another(
    address: str, forwarded_for: str, proxies: int, wanted: str
) -> None:
    assert client_of(address, forwarded_for, proxies) == wanted


def buy(client: FlaskClient, **headers: str) -> tuple[int, str | None]:
    answer = client.post("/events/show/orders", json={"quantity": 1}, headers=headers)
    return answer.status_code, answer.headers.get("Retry-After")


def test_without_a_limit_a_client_buys_as_fast_as_it_can(make_client: Callable[..., FlaskClient]) -> None:
    client = make_client()
    assert [buy(client)[0] for _ in range(10)] == [201] * 10


def test_with_a_limit_changes_are_refused_and_reads_are_not(make_client: Callable[..., FlaskClient]) -> None:
    client = make_client(rate=(0.01, 2))
    assert [buy(client) for _ in range(3)] == [(201, None), (201, None), (429, "100")]
    answer = client.delete("/events/show/orders/o1")
    assert (answer.status_code, answer.json["code"], answer.json["definite"]) == (429, "too_many_requests", True)
    assert client.put("/guard", json={"guard": "off"}, headers={"Authorization": "Bearer guess"}).status_code == 429
    for path in ("/", "/healthz", "/readyz", "/events", "/events/show"):
        assert client.get(path).status_code == 200
    assert len(client.get("/events/show/audit").data.splitlines()) == 3


def test_a_client_that_makes_up_addresses_has_one_bucket_unless_a_proxy_is_trusted(
    make_client: Callable[..., FlaskClient],
) -> None:
    client = make_client(rate=(0.01, 1))
    assert [buy(client, **{"X-Forwarded-For": f"1.2.3.{last}"})[0] for last in range(2)] == [201, 429]
    client = make_client(rate=(0.01, 1), proxies=1)
    assert [buy(client, **{"X-Forwarded-For": f"1.2.3.{last}"})[0] for last in range(2)] == [201, 201]
    assert [buy(client, **{"X-Forwarded-For": f"9.9.9.{last}, 1.2.3.0"})[0] for last in range(2)] == [429, 429]
