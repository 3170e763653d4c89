"""The rate limit: a token bucket for each client, bounded in memory, told apart by what can be trusted."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st

from service.errors import Problem
from service.http.middleware.rate_limit import RateLimit, client_of


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


ADDRESSES = {
    "1.2.3.4": "1.2.3.4",
    "1.2.3.4:5678": "1.2.3.4",
    '"1.2.3.4:5678"': "1.2.3.4",
    "2001:db8:1:2:3:4:5:6": "2001:db8:1:2::",
    "2001:DB8:1:2::7": "2001:db8:1:2::",
    "[2001:db8:1:2::7]": "2001:db8:1:2::",
    "[2001:db8:1:2::7]:40001": "2001:db8:1:2::",
    '"[2001:db8:1:2::7]:40002"': "2001:db8:1:2::",
    "2001:db8:1:2:ffff::1%eth0": "2001:db8:1:2::",
    "[fe80::1%eth0]:80": "fe80::",
    "::ffff:203.0.113.9": "203.0.113.9",
    "::ffff:cb00:7109": "203.0.113.9",
    "::ffff:203.0.113.9:40001": "203.0.113.9",
    "[::ffff:203.0.113.9]:40001": "203.0.113.9",
}
NO_ADDRESSES = [
    "unknown",
    "_hidden",
    "_hidden:_port",
    "not:an:address",
    "[2001:db8::1",
    "1.2.3",
    "x" * 1000,
    "a@b",
    "][",
]
PEER = "10.0.0.1"


@pytest.mark.parametrize(("written", "client"), ADDRESSES.items())
def test_a_client_is_the_same_in_whatever_form_its_address_is_written(written: str, client: str) -> None:
    assert client_of(written.strip('"'), "", "", 0) == client
    assert client_of(PEER, written, "", 1) == client
    assert client_of(PEER, f"6.6.6.6,{written} , 10.0.0.2", "", 2) == client
    for told in (f"For={written};proto=https", f'by="[::1]:1" ;for={written}'):
        assert client_of(PEER, "", told, 1) == client
        assert client_of(PEER, "", f"for=6.6.6.6, {told},for=10.0.0.2", 2) == client


def test_connections_of_one_client_are_one_client_whatever_their_ports() -> None:
    forms = ("[2001:db8::7]:{}", '"[2001:db8::7]:{}"', "::ffff:203.0.113.9:{}", "203.0.113.9:{}")
    for form in forms:
        told = [form.format(port) for port in range(40_000, 40_050)]
        [client] = {client_of(PEER, each, "", 1) for each in told} | {
            client_of(PEER, "", 'for="{}"'.format(each.strip('"')), 1) for each in told
        }
        assert client in {"2001:db8::", "203.0.113.9"}


@pytest.mark.parametrize("written", NO_ADDRESSES)
def test_where_the_proxy_names_no_address_the_peer_counts_and_nobody_can_make_one_up(written: str) -> None:
    assert client_of(PEER, f"6.6.6.6, {written}", "", 1) == PEER
    assert client_of(PEER, "", f"for=6.6.6.6, for={written}", 1) == PEER
    assert client_of(PEER, "6.6.6.6", f'for="{written}"', 1) == PEER
    assert client_of(written, "", "", 0) == written[:64]


@pytest.mark.parametrize(
    ("forwarded_for", "forwarded", "proxies", "client"),
    [
        ("1.2.3.4", "for=1.2.3.4", 0, PEER),
        ("1.2.3.4", "", 2, PEER),
        ("", "for=1.2.3.4", 2, PEER),
        ("", "", 1, PEER),
        (",", "", 1, PEER),
        ("", ",", 1, PEER),
        ("", "proto=https", 1, PEER),
        ("6.6.6.6, 1.2.3.4", "", 1, "1.2.3.4"),
        ("6.6.6.6, 1.2.3.4, 10.0.0.9", "", 2, "1.2.3.4"),
        ("", "for=6.6.6.6, for=1.2.3.4, for=10.0.0.9", 2, "1.2.3.4"),
        # The proxy writes one of the two headers, and hands on what the client wrote into the other.
        ("1.2.3.4", "for=6.6.6.6", 1, PEER),
        ("6.6.6.6", "for=1.2.3.4", 1, PEER),
        ("1.2.3.4", 'for="1.2.3.4:99"', 1, "1.2.3.4"),
        ("1.2.3.4, 10.0.0.9", "for=6.6.6.6", 2, "1.2.3.4"),
        # Quotes that the client never closes, and commas in quotes that are not its own.
        ("", 'for="6.6.6.6, for=1.2.3.4', 1, "1.2.3.4"),
        ("", 'for=6.6.6.6;x=", for=1.2.3.4;host="a\\"b"', 1, "1.2.3.4"),
        ("", 'for=6.6.6.6, for=1.2.3.4;host="a,for=6.6.6.6"', 1, "1.2.3.4"),
        ("", 'for=6.6.6.6, for=1.2.3.4;host="a;for=6.6.6.6"', 1, "1.2.3.4"),
        ("", 'for=6.6.6.6, for=1.2.3.4;host="a,\\";for=6.6.6.6;x=\\"b"', 1, "1.2.3.4"),
        ("", "," * 5000 + '"', 1, PEER),
    ],
)  # fmt: skip
def test_a_client_is_who_the_last_trusted_proxy_says_and_nobody_can_make_up_another(
    forwarded_for: str, forwarded: str, proxies: int, client: str
) -> None:
    assert client_of(PEER, forwarded_for, forwarded, proxies) == client


@given(st.text(alphabet='for=6.,;"\\ []:x', max_size=60), st.sampled_from(["", ', host="a,b"']))
def test_whatever_the_client_has_written_before_the_proxy_is_believed(sent: str, more: str) -> None:
    told = f"for=1.2.3.4{more.replace(', ', ';')}"
    assert client_of(PEER, "", f"{sent},{told}", 1) == "1.2.3.4"
    assert client_of(PEER, f"{sent},1.2.3.4", "", 1) == "1.2.3.4"


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
