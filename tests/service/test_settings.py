"""Settings out of the environment: what is meant is taken, what cannot be meant is refused with its name."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from service.errors import RefusedToStart
from service.settings import Settings, Think, from_environment


def test_an_empty_environment_gives_the_defaults() -> None:
    assert from_environment({"PATH": "/bin"}) == Settings()


def test_every_setting_of_the_environment_is_taken() -> None:
    assert from_environment(
        {
            "LASTSEAT_DATA": "/srv/tickets",
            "LASTSEAT_STORE": "memory",
            "LASTSEAT_GUARD": "thread",
            "LASTSEAT_BATCH": "32",
            "LASTSEAT_LOCK_TIMEOUT_S": "2.5",
            "LASTSEAT_THINK_MS": "10-50",
            "LASTSEAT_THINK": "cpu",
            "LASTSEAT_GUARD_SCOPE": "request",
            "LASTSEAT_EVENT": "gala:7",
            "LASTSEAT_ADMIN_TOKEN": "t",
            "LASTSEAT_ALLOW_UNSAFE": "1",
        }
    ) == Settings(
        data=Path("/srv/tickets"),
        store="memory",
        guard="thread",
        batch=32,
        lock_timeout_s=2.5,
        think=Think(10, 50, compute=True),
        request_scope=True,
        first_event=("gala", 7),
        admin_token="t",
        allow_unsafe=True,
    )


def test_an_empty_event_makes_none() -> None:
    assert from_environment({"LASTSEAT_EVENT": ""}).first_event is None


@pytest.mark.parametrize(
    ("environment", "is_shop"),
    [
        ({}, False),
        ({"LASTSEAT_EVENT": "gala:7"}, False),
        ({"LASTSEAT_EVENT": ""}, True),
        ({"LASTSEAT_PAGE": "shop"}, True),
        ({"LASTSEAT_EVENT": "", "LASTSEAT_PAGE": "lab"}, False),
    ],
)
def test_an_office_that_makes_no_lab_event_is_a_shop_unless_it_is_said(
    environment: dict[str, str], *, is_shop: bool
) -> None:
    assert from_environment(environment).is_shop is is_shop


IN_A_POD = {
    "LASTSEAT_SERVICE_HOST": "10.96.7.7",
    "LASTSEAT_SERVICE_PORT": "8000",
    "LASTSEAT_SERVICE_PORT_HTTP": "8000",
    "LASTSEAT_PORT": "tcp://10.96.7.7:8000",
    "LASTSEAT_PORT_8000_TCP": "tcp://10.96.7.7:8000",
    "LASTSEAT_PORT_8000_TCP_PROTO": "tcp",
    "LASTSEAT_PORT_8000_TCP_PORT": "8000",
    "LASTSEAT_PORT_8000_TCP_ADDR": "10.96.7.7",
    # Services lastseat-data and lastseat-2, of IPv6 and of UDP.
    "LASTSEAT_DATA_SERVICE_HOST": "fd00:10:96::7",
    "LASTSEAT_DATA_PORT": "tcp://[fd00:10:96::7]:6379",
    "LASTSEAT_DATA_PORT_6379_TCP_ADDR": "fd00:10:96::7",
    "LASTSEAT_2_PORT_53_UDP": "udp://10.96.7.8:53",
    "LASTSEAT_2_PORT_53_UDP_PROTO": "udp",
    "LASTSEAT_2_SERVICE_PORT_DNS_UDP": "53",
}


@pytest.mark.parametrize("name", IN_A_POD)
def test_what_kubernetes_writes_about_services_is_passed_over(name: str) -> None:
    assert from_environment({name: IN_A_POD[name]}) == Settings()


def test_what_is_passed_over_is_said_at_debug_without_its_value(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, logger="lastseat"):
        from_environment(IN_A_POD)
    assert [record.levelname for record in caplog.records] == ["DEBUG"] * len(IN_A_POD)
    assert "LASTSEAT_SERVICE_HOST" in caplog.text and "10.96.7.7" not in caplog.text


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LASTSEAT_PORT", "8000"),  # somebody who wants another port
        ("LASTSEAT_PORT", "http://10.96.7.7:8000"),
        ("LASTSEAT_HOST", "10.96.7.7"),
        ("LASTSEAT_SERVICE_HOST", "db.example"),
        ("LASTSEAT_SERVICE_PORT", "http"),
        ("LASTSEAT_PORT_8000", "tcp://10.96.7.7:8000"),
        ("LASTSEAT_PORT_8000_TCP_HOST", "10.96.7.7"),
        ("LASTSEAT_GAURD_SERVICE", "10.96.7.7"),
        ("LASTSEAT_BATCH", "0"),
        ("LASTSEAT_BATCH", "1.5"),
        ("LASTSEAT_LOCK_TIMEOUT_S", "soon"),
        ("LASTSEAT_LOCK_TIMEOUT_S", "-1"),
        ("LASTSEAT_LOCK_TIMEOUT_S", "nan"),
        ("LASTSEAT_THINK_MS", "-5"),
        ("LASTSEAT_THINK_MS", "50-10"),
        ("LASTSEAT_THINK", "hard"),
        ("LASTSEAT_GUARD_SCOPE", "all"),
        ("LASTSEAT_EVENT", "show"),
        ("LASTSEAT_PAGE", "theatre"),
        ("LASTSEAT_EVENT", "Show:10"),
        ("LASTSEAT_EVENT", "show:0"),
        ("LASTSEAT_EVENT", "../show:10"),
        ("LASTSEAT_GAURD", "off"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(RefusedToStart) as refused:
        from_environment({name: value})
    assert name in str(refused.value)


@pytest.mark.parametrize(
    ("store", "identity"),
    [
        ("journal", "journal"),
        ("postgresql://office:hunter2@db.example/tickets", "postgresql://db.example/tickets"),
        ("postgresql:///tickets?host=/run/pg&password=hunter2", "postgresql:///tickets?host=/run/pg&"),
        ("redis://cache.example:6379/3", "redis://cache.example:6379/3"),
    ],
)
def test_what_a_directory_belongs_to_is_named_without_a_password(store: str, identity: str) -> None:
    assert from_environment({"LASTSEAT_STORE": store}).store_identity == identity
