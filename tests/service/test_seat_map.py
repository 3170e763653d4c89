"""The map of the seats where several processes sell: what one of them has not seen, no client misses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask.testing import FlaskClient

FREE, SOLD = 0, 2


def states(client: FlaskClient, before: dict[str, Any] | None = None) -> dict[str, Any]:
    query = "" if before is None else f"?since={before['version']}&born={before['born']}"
    answer: dict[str, Any] = client.get(f"/events/hall/seats{query}").json
    return answer


def test_a_seat_that_was_sold_and_given_back_is_free_again_also_for_who_looked_in_between_at_another_process(
    make_client: Callable[..., FlaskClient], admin: dict[str, str]
) -> None:
    one, other = make_client(), make_client()
    hall = {"sections": [{"name": "pit", "rows": 1, "seats": 4}]}
    assert one.post("/events", json={"event": "hall", "hall": hall}, headers=admin).status_code == 201
    empty = states(one)
    sold = other.post("/events/hall/orders", json={"seats": ["pit-A-2"]}).json
    seen = states(other)
    assert (empty["states"], seen["states"]) == ("AA==", "IA==")
    other.delete(f"/events/hall/orders/{sold['order']}")
    after = states(one, seen)
    assert after.get("states") == "AA==" or [1, FREE] in after["changes"], after
    # Who has the map from this process is told the changes alone.
    assert states(one, empty)["changes"] == []
    bought = one.post("/events/hall/orders", json={"seats": ["pit-A-4"]})
    assert bought.status_code == 201
    assert states(one, after)["changes"] == [[3, SOLD]]
