"""Text that one store cannot keep is refused by all: a buyer is told the same, whatever the tickets are kept in."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typed import ADMIN, JSON

from service.stores import STORES

pytestmark = pytest.mark.servers
MakeClient = Callable[..., FlaskClient]

# No letters; one letter in two ways; letters that fold, break lines, end strings or turn the direction; none at all.
ODD = (
    "\0", "Zo\0e", "\ud800", "\udfffx", "\ufffd", "\uffff", "e\u0301", "\xe9", "ß", "SS", "ss", "İ", "i", "a ", " a",
    "a\n", "a\r\n", "\x1b[31m", "\x7f", "\x85", "\u2028", "\u202e", "\U0001f3ab", "\U0010ffff", "'", '"', "\\", "\\x00",
    "\\u0000", "%s", "%00", "{event}", "$1", "NULL", "null", "..", "a/b", "\U0001f3ab" * 200, "x" * 201, "\0" * 200, "",
)  # fmt: skip
texts = st.sampled_from(ODD) | st.text(st.characters(exclude_categories=()), max_size=12)
# Mostly the same few, so that two of them meet.
buyers = st.sampled_from(["e\u0301", "\xe9", "ß", "SS", "ss", "a", "a ", "A", "\U0001f3ab" * 200]) | texts


class Ask(NamedTuple):
    """A request; ``{event}`` in it is the example's own event."""

    method: str
    path: str
    content: dict[str, Any] | None = None
    key: str | None = None
    form: dict[str, str] | None = None


def in_path(text: str) -> str:
    return quote(text.encode("utf-8", "surrogatepass"), safe="")


# Not empty: an address without an id is another address.
ids = texts.filter(bool).map(in_path)
keys = st.none() | st.sampled_from(["k1", "k2"]) | texts
ORDERS, HOLDS = "/events/{event}/orders", "/events/{event}/holds"
asks = st.one_of(
    st.builds(lambda buyer, key: Ask("POST", ORDERS, {"quantity": 1, "buyer": buyer}, key), buyers, keys),
    st.builds(lambda buyer, key: Ask("POST", HOLDS, {"quantity": 1, "buyer": buyer}, key), buyers, keys),
    st.builds(lambda text: Ask("POST", "/events", {"event": text, "capacity": 1}), texts),
    st.builds(lambda text: Ask("POST", "/events", {"event": "{event}-2", "capacity": 1, "name": text}), texts),
    st.builds(lambda text: Ask("POST", "/events", {"event": "{event}-3", "capacity": 1, "opens_at": text}), texts),
    st.builds(lambda text: Ask("GET", f"{ORDERS}/{text}"), ids),
    st.builds(lambda text, key: Ask("DELETE", f"{ORDERS}/{text}", None, key), ids, keys),
    st.builds(lambda text, key: Ask("POST", f"{HOLDS}/{text}/confirm", None, key), ids, keys),
    st.builds(lambda text, key: Ask("DELETE", f"{HOLDS}/{text}", None, key), ids, keys),
    st.builds(lambda text: Ask("GET", f"/events/{text}"), ids),
    st.builds(lambda text: Ask("GET", f"/events/{text}/audit"), ids),
    st.builds(lambda text: Ask("POST", f"/events/{text}/orders", {"quantity": 1}), ids),
    st.builds(lambda text: Ask("DELETE", f"/events/{text}"), ids),
    st.builds(lambda text: Ask("GET", f"/events?cursor={text}"), ids),
    st.builds(lambda text: Ask("PUT", "/guard", {"guard": text}), texts.filter(lambda each: each not in ("off", "on"))),
    st.builds(
        lambda name, text: Ask("GET", f"/?event={{event}}&{name}={text}"), st.sampled_from(["order", "hold"]), ids
    ),
    st.builds(
        lambda do, text, key: Ask(
            "POST", "/", None, None, {"event": "{event}", "do": do, "order": text, "hold": text, "key": key}
        ),
        st.sampled_from(["cancel", "confirm", "release"]), texts, texts,
    ),
)  # fmt: skip


def send(client: FlaskClient, ask: Ask, event: str) -> tuple[int, Any]:
    """What is answered, without what no two offices have in common."""
    content = ask.content and {name: _of(value, event) for name, value in ask.content.items()}
    headers = ADMIN | (JSON if content else {})
    data = json.dumps(content).encode() if content else None
    if ask.form is not None:
        headers |= {"Content-Type": "application/x-www-form-urlencoded"}
        data = urlencode({name: _of(text, event) for name, text in ask.form.items()}, errors="surrogatepass").encode()
    if ask.key is not None:
        # What a client can send as a header: bytes, and no line breaks.
        key = ask.key.encode("utf-8", "surrogatepass").decode("latin-1")
        headers |= {"Idempotency-Key": key.replace("\r", " ").replace("\n", " ")}
    answer = client.open(ask.path.replace("{event}", event), method=ask.method, headers=headers, data=data)
    if not answer.is_json:  # a page, or an audit, which is JSON Lines
        return answer.status_code, answer.headers.get("Location", "")[:30]
    theirs = {"order", "hold", "expires_at", "guard", "guards", "epoch", "events", "next", "detail"}
    return answer.status_code, {name: value for name, value in answer.json.items() if name not in theirs}


def _of(value: Any, event: str) -> Any:
    return value.replace("{event}", event) if isinstance(value, str) else value


@pytest.fixture
def offices(make_client: MakeClient, tmp_path: Path) -> dict[str, FlaskClient]:
    """One of each store."""
    return {store: make_client(store=store, data=tmp_path / store) for store in STORES}


def test_whatever_text_is_sent_every_store_answers_the_same_and_none_breaks(offices: dict[str, FlaskClient]) -> None:
    numbers = itertools.count()

    @settings(max_examples=60, suppress_health_check=list(HealthCheck))
    @given(st.lists(asks, min_size=1, max_size=8))
    def sold_alike(wanted: list[Ask]) -> None:
        event = f"show-{next(numbers)}"
        new = {"event": event, "capacity": 20, "max_per_buyer": 2, "lab": True}
        for ask in (Ask("POST", "/events", new), *wanted, Ask("POST", ORDERS, {"quantity": 1, "buyer": "the last"})):
            told = {store: send(client, ask, event) for store, client in offices.items()}
            assert len({str(each) for each in told.values()}) == 1, (ask, told)
            assert told["json"][0] < 500, (ask, told)
        assert told["json"][0] == 201, "others are sold as if nothing had been"

    sold_alike()


@pytest.mark.parametrize("store", [name for name in STORES if name not in ("memory", "journal")])
@pytest.mark.parametrize("buyer", [each for each in ODD if "\0" in each])
def test_a_buyer_of_no_letters_is_refused_with_a_cart_too(make_client: MakeClient, store: str, buyer: str) -> None:
    cart = {"items": [{"event": "show", "quantity": 1}], "buyer": buyer}
    answer = make_client(store=store).post("/carts", json=cart)
    assert (answer.status_code, answer.json["code"]) == (422, "invalid_value")


@pytest.mark.parametrize("store", list(STORES))
def test_eight_others_are_sold_beside_a_buyer_whose_name_cannot_be_kept(make_client: MakeClient, store: str) -> None:
    client = make_client(store=store, first_event=("show", 1_000))

    def buy(name: str) -> list[int]:
        asked = [client.application.test_client().post("/events/show/orders", json={"quantity": 1, "buyer": name})]
        asked += [client.application.test_client().delete("/events/show/orders/%00")] if "\0" in name else []
        return [each.status_code for each in asked]

    names = [f"buyer-{number}" for number in range(8)] + ["Zo\0e"]
    with ThreadPoolExecutor(len(names)) as pool:
        told = list(pool.map(buy, names * 20))
    assert [each for name, each in zip(names * 20, told, strict=True) if "\0" not in name] == [[201]] * 160
    assert [each for name, each in zip(names * 20, told, strict=True) if "\0" in name] == [[422, 404]] * 20
