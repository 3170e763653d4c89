"""Settings out of the environment: what is meant is taken, what cannot be meant is refused with its name."""

from __future__ import annotations

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
    ("name", "value"),
    [
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
        ("postgresql://office:hunter2@db.example/tickets", "postgresql://office:***@db.example/tickets"),
        ("postgresql:///tickets?host=/run/pg&password=hunter2", "postgresql:///tickets?host=/run/pg&"),
        ("redis://cache.example:6379/3", "redis://cache.example:6379/3"),
    ],
)
def test_what_a_directory_belongs_to_is_named_without_a_password(store: str, identity: str) -> None:
    assert from_environment({"LASTSEAT_STORE": store}).store_identity == identity
