"""Holds over HTTP as the contract has them: what is set aside, late payments, keys, limits, and who tidies."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from typed import as_admin
from werkzeug.test import TestResponse

from service.sales.box_office import BoxOffice
from service.sales.sweeper import Sweeper
from service.stores import STORES

START = datetime(2026, 11, 23, 8, tzinfo=UTC)


class Till:
    """A client of an office whose clock stands still until it is moved."""

    def __init__(self, client: FlaskClient) -> None:
        self.client = client
        self.office: BoxOffice = client.application.extensions["office"]
        self.now = START
        self.office.clock = lambda: self.now

    def passes(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def hold(self, quantity: int = 1, seconds: float = 60, *, key: str = "", **more: Any) -> TestResponse:
        content = {"quantity": quantity, "seconds": seconds, **more}
        return self.client.post("/events/show/holds", json=content, headers=_keyed(key))

    def confirm(self, hold: str, *, key: str = "") -> TestResponse:
        return self.client.post(f"/events/show/holds/{hold}/confirm", headers=_keyed(key))

    def release(self, hold: str, *, key: str = "") -> TestResponse:
        return self.client.delete(f"/events/show/holds/{hold}", headers=_keyed(key))

    def buy(self, quantity: int = 1, **more: Any) -> TestResponse:
        return self.client.post("/events/show/orders", json={"quantity": quantity, **more})

    def counters(self) -> tuple[int, int, int, int]:
        found = self.client.get("/events/show").json
        return found["sold"], found["held"], found["remaining"], found["version"]

    def audit(self) -> list[dict[str, Any]]:
        answer = self.client.get("/events/show/audit", headers=as_admin(self.client))
        return [json.loads(line) for line in answer.data.splitlines()[1:]]

    def kinds(self) -> list[str]:
        return [record["kind"] for record in self.audit()]


def _keyed(key: str) -> dict[str, str]:
    return {"Idempotency-Key": key} if key else {}


def refused(answer: TestResponse) -> tuple[int, str, int]:
    assert answer.content_type == "application/problem+json"
    assert answer.json["definite"] is True
    return answer.status_code, answer.json["code"], answer.json["version"]


@pytest.fixture
def till(client: FlaskClient) -> Till:
    return Till(client)


def test_a_hold_sets_tickets_aside_until_it_ends(till: Till) -> None:
    answer = till.hold(4, 60)
    assert answer.status_code == 201
    assert answer.json.pop("hold").startswith("h")
    assert answer.json == {
        **answer.json, "event": "show", "quantity": 4, "tickets": [1, 2, 3, 4], "expires_at": "2026-11-23T08:01:00Z",
        "remaining": 6, "version": 1,
    }  # fmt: skip
    assert till.counters() == (0, 4, 6, 1)
    assert refused(till.buy(7)) == (409, "sold_out", 1)


def test_a_hold_without_seconds_lasts_five_minutes(till: Till) -> None:
    answer = till.client.post("/events/show/holds", json={"quantity": 1})
    assert answer.json["expires_at"] == "2026-11-23T08:05:00Z"


def test_a_confirmed_hold_is_an_order_with_the_tickets_that_were_held(till: Till) -> None:
    hold = till.hold(3).json["hold"]
    answer = till.confirm(hold)
    assert answer.status_code == 201
    order = answer.json["order"]
    assert answer.json == {
        "order": order, "event": "show", "quantity": 3, "tickets": [1, 2, 3], "remaining": 7, "version": 2,
    }  # fmt: skip
    found = till.client.get(answer.headers["Location"]).json
    assert (found["order"], found["status"], found["tickets"]) == (order, "sold", [1, 2, 3])
    assert till.counters() == (3, 0, 7, 2)
    assert till.client.delete(answer.headers["Location"]).json["remaining"] == 10


def test_a_released_hold_gives_its_places_back(till: Till) -> None:
    hold = till.hold(10).json["hold"]
    answer = till.release(hold)
    assert (answer.status_code, answer.json) == (
        200, {"hold": hold, "status": "released", "remaining": 10, "version": 2},
    )  # fmt: skip
    assert till.buy(10).json["tickets"] == list(range(11, 21))


def test_the_audit_has_a_line_for_each_as_the_contract_says(till: Till) -> None:
    one, two, three = (till.hold(quantity, 60, key=f"k{quantity}").json["hold"] for quantity in (1, 2, 3))
    order = till.confirm(one, key="c").json["order"]
    till.release(two, key="r")
    till.passes(60)
    late = till.confirm(three, key="l").json["order"]
    ends = "2026-11-23T08:01:00Z"
    assert till.audit() == [
        {"version": 1, "kind": "held", "key": "k1", "hold": one, "quantity": 1, "tickets": [1], "expires_at": ends},
        {"version": 2, "kind": "held", "key": "k2", "hold": two, "quantity": 2, "tickets": [2, 3], "expires_at": ends},
        {"version": 3, "kind": "held", "key": "k3", "hold": three, "quantity": 3, "tickets": [4, 5, 6],
         "expires_at": ends},
        {"version": 4, "kind": "confirmed", "key": "c", "hold": one, "order": order, "quantity": 1, "tickets": [1]},
        {"version": 5, "kind": "released", "key": "r", "hold": two, "quantity": 2, "tickets": [2, 3]},
        {"version": 6, "kind": "expired", "hold": three, "quantity": 3, "tickets": [4, 5, 6]},
        {"version": 7, "kind": "sold", "key": "l", "hold": three, "order": late, "quantity": 3, "tickets": [7, 8, 9]},
    ]  # fmt: skip


# -- the end of a hold ------------------------------------------------------------------------------------------------


def test_a_moment_before_its_end_a_hold_is_confirmed_and_at_its_end_it_is_not(till: Till) -> None:
    first, second = till.hold(1, 60).json["hold"], till.hold(1, 60).json["hold"]
    till.passes(59.999999)
    assert till.confirm(first).json["tickets"] == [1]
    till.passes(0.000001)
    assert till.confirm(second).json["tickets"] == [3]
    assert till.kinds() == ["held", "held", "confirmed", "expired", "sold"]


def test_a_late_payment_is_refused_exactly_if_the_places_are_gone(till: Till) -> None:
    hold = till.hold(4, 60).json["hold"]
    till.passes(60)
    order = till.buy(7).json["order"]
    assert refused(till.confirm(hold)) == (409, "hold_expired", 3)
    till.client.delete(f"/events/show/orders/{order}")
    # Not stuck: as soon as there are places again it can be paid for.
    assert till.confirm(hold).json["tickets"] == [12, 13, 14, 15]
    assert refused(till.confirm(hold)) == (409, "not_open", 5)


def test_what_a_refused_decision_found_due_is_written_first_in_the_order_of_the_ends(till: Till) -> None:
    late, early, also_early = (till.hold(1, seconds).json["hold"] for seconds in (50, 30, 30))
    till.passes(60)
    assert refused(till.release("h-none")) == (404, "unknown_hold", 6)
    assert [record["hold"] for record in till.audit()[3:]] == [early, also_early, late]


def test_reading_expires_nothing_and_neither_does_a_replay(till: Till) -> None:
    order = till.buy(1)
    answer = till.hold(4, 60, key="k")
    till.passes(3600)
    till.client.get(order.headers["Location"])
    assert till.counters() == (1, 4, 5, 2)
    again = till.hold(4, 60, key="k")
    assert (again.json, again.headers["Idempotency-Replayed"]) == (answer.json, "true")
    assert till.counters() == (1, 4, 5, 2)


def test_a_clock_that_goes_back_brings_no_hold_back(till: Till) -> None:
    hold = till.hold(4, 60).json["hold"]
    till.passes(60)
    assert refused(till.buy(11))[1] == "over_limit"
    till.passes(-3600)
    assert till.confirm(hold).json["tickets"] == [5, 6, 7, 8]
    other = till.hold(1, 60).json
    assert other["expires_at"] == "2026-11-23T07:02:00Z"
    assert till.release(other["hold"]).status_code == 200


@pytest.mark.parametrize("first", ["confirm", "release", "late"])
def test_a_hold_ends_once(till: Till, first: str) -> None:
    hold = till.hold(2, 60).json["hold"]
    if first == "late":
        till.passes(60)
    ended = till.release(hold) if first == "release" else till.confirm(hold)
    version = ended.json["version"]
    assert refused(till.confirm(hold)) == (409, "not_open", version)
    assert refused(till.release(hold)) == (409, "not_open", version)


def test_an_expired_hold_cannot_be_released(till: Till) -> None:
    hold = till.hold(2, 60).json["hold"]
    till.passes(60)
    assert refused(till.release(hold)) == (409, "not_open", 2)


# -- keys -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("button", ["cancel", "release", "confirm"])
@pytest.mark.parametrize("store", list(STORES))
def test_a_button_that_names_nothing_touches_nobodys_hold(
    store: str, button: str, make_client: Callable[..., FlaskClient]
) -> None:
    """The records of a hold name no order: an empty name once found them, and gave a stranger's hold back as sold."""
    client = make_client(store=store)
    assert client.post("/events/show/orders", json={"quantity": 2}).status_code == 201
    assert client.post("/events/show/holds", json={"quantity": 3}).status_code == 201
    before = client.get("/events/show").json
    answer = client.post("/", data={"do": button, "event": "show"})
    assert answer.status_code == 303
    assert "problem=unknown_" in answer.headers["Location"]
    assert client.get("/events/show").json == before


def test_each_of_the_three_asked_again_under_its_key_gives_the_first_answer(till: Till) -> None:
    first, second = till.hold(1, 60, key="a").json["hold"], till.hold(1, 60).json["hold"]
    for ask in (lambda: till.confirm(first, key="b"), lambda: till.release(second, key="c")):
        answer, again = ask(), ask()
        assert (again.json, again.status_code) == (answer.json, answer.status_code)
        assert "Idempotency-Replayed" not in answer.headers
        assert again.headers["Idempotency-Replayed"] == "true"
    till.passes(60)
    assert till.hold(1, 60, key="a").json["hold"] == first


def test_a_late_payment_asked_again_gives_the_new_numbers_again(till: Till) -> None:
    hold = till.hold(2, 60).json["hold"]
    till.passes(60)
    answer, again = till.confirm(hold, key="p"), till.confirm(hold, key="p")
    assert again.json == answer.json
    assert again.headers["Idempotency-Replayed"] == "true"


def test_a_key_that_held_confirms_nothing(till: Till) -> None:
    hold = till.hold(1, 60, key="k").json["hold"]
    for answer in (till.confirm(hold, key="k"), till.release(hold, key="k"), till.hold(2, 60, key="k")):
        assert refused(answer) == (422, "key_reused", 1)


# -- limits -----------------------------------------------------------------------------------------------------------


def test_a_buyer_has_held_tickets_too_and_gets_them_back_when_they_end(
    make_client: Callable[..., FlaskClient], admin: dict[str, str]
) -> None:
    till = Till(make_client(first_event=None))
    till.client.post("/events", json={"event": "show", "capacity": 99, "max_per_buyer": 4}, headers=admin)
    hold = till.hold(3, 60, buyer="ann").json["hold"]
    assert refused(till.buy(2, buyer="ann")) == (409, "buyer_limit", 1)
    assert refused(till.hold(2, 60, buyer="ann")) == (409, "buyer_limit", 1)
    assert till.confirm(hold).status_code == 201
    assert refused(till.buy(2, buyer="ann")) == (409, "buyer_limit", 2)
    other = till.hold(1, 60, buyer="ann").json["hold"]
    till.passes(60)
    assert till.buy(1, buyer="ann").status_code == 201
    # A late payment is a sale like any other: it does not let a buyer pass the limit.
    assert refused(till.confirm(other)) == (409, "buyer_limit", 5)


def test_holds_obey_the_doors_and_the_limit_of_an_order(
    make_client: Callable[..., FlaskClient], admin: dict[str, str]
) -> None:
    till = Till(make_client(first_event=None))
    opens = (START + timedelta(seconds=30)).isoformat()
    event = {"event": "show", "capacity": 99, "opens_at": opens, "max_per_order": 2}
    till.client.post("/events", json=event, headers=admin)
    closed = till.hold(1)
    assert refused(closed) == (409, "doors_closed", 0)
    assert closed.headers["Retry-After"] == "30"
    till.passes(30)
    assert refused(till.hold(3)) == (422, "over_limit", 0)
    assert till.hold(2).status_code == 201


# -- who tidies -------------------------------------------------------------------------------------------------------


@pytest.fixture
def sweepers(till: Till, tmp_path: Path) -> Iterator[list[Sweeper]]:
    made = [Sweeper(till.office, tmp_path / "data"), Sweeper(till.office, tmp_path / "data")]
    yield made
    for sweeper in made:
        sweeper.stop()


def test_one_of_several_sweepers_tidies_what_is_due_and_nothing_else(till: Till, sweepers: list[Sweeper]) -> None:
    till.hold(4, 60)
    till.hold(2, 90)
    assert [sweeper.sweep() for sweeper in sweepers] == [0, 0]
    till.passes(60)
    assert [sweeper.sweep() for sweeper in sweepers] == [1, 0]
    assert till.counters() == (0, 2, 8, 3)
    assert sweepers[0].sweep() == 0


def test_when_the_one_is_gone_another_tidies(till: Till, sweepers: list[Sweeper]) -> None:
    till.hold(4, 60)
    assert [sweeper.sweep() for sweeper in sweepers] == [0, 0]
    sweepers[0].stop()
    till.passes(60)
    assert sweepers[1].sweep() == 1
    assert till.kinds() == ["held", "expired"]


def test_there_is_one_sweeper_though_the_file_of_its_lock_was_removed(sweepers: list[Sweeper], tmp_path: Path) -> None:
    one, other = sweepers
    assert (one.is_elected(), other.is_elected()) == (True, False)
    (tmp_path / "data" / "sweeper.lock").unlink()
    assert (other.is_elected(), one.is_elected()) == (True, False)
    other.stop()
    assert one.is_elected()


@pytest.mark.parametrize("store", list(STORES))
def test_every_store_tells_the_sweeper_what_is_due(
    make_client: Callable[..., FlaskClient], tmp_path: Path, store: str
) -> None:
    till = Till(make_client(store=store))
    sweeper = Sweeper(till.office, tmp_path / "data")
    try:
        till.hold(4, 60)
        assert sweeper.sweep() == 0
        till.passes(61)
        assert (sweeper.sweep(), sweeper.sweep()) == (1, 0)
        assert till.kinds() == ["held", "expired"]
    finally:
        sweeper.stop()


def test_a_sweeper_that_meets_a_closed_office_goes_on(till: Till, sweepers: list[Sweeper]) -> None:
    till.hold(1, 60)
    till.passes(60)
    till.office.control.close_store()
    assert sweepers[0].sweep() == 0
