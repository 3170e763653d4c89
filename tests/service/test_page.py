"""The forms of the page at /: what the office keeps of them, and what it answers where nobody knows the outcome."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

from service.errors import Problem


@pytest.fixture
def shop(make_client: Callable[..., FlaskClient]) -> FlaskClient:
    return make_client(page="shop")


def press(client: FlaskClient, **fields: str) -> str:
    """The page that the button leads to."""
    answer = client.post("/", data={"event": "show", "do": "buy", "quantity": "1"} | fields)
    assert answer.status_code == 303, answer.data
    return answer.headers["Location"]


@pytest.mark.parametrize(
    ("name", "email", "kept"),
    [
        ("Ann Lee", "ann@example.org", "Ann Lee <ann@example.org>"),
        (" Ann ", " ann@example.org ", "Ann <ann@example.org>"),
        ("Ann", "", "Ann"),
        ("", "ann@example.org", "<ann@example.org>"),
        ("", "", None),
    ],
)
def test_name_and_email_are_kept_as_one_text_and_the_ticket_has_the_name_alone(
    shop: FlaskClient, admin: dict[str, str], name: str, email: str, kept: str | None
) -> None:
    page = shop.get(press(shop, buyer=name, email=email)).text
    [order] = shop.get("/events/show/orders", headers=admin).json["orders"]
    assert order["buyer"] == kept
    assert "example.org" not in page
    assert ("<p>Ann" in page) == ("Ann" in name)


@pytest.mark.parametrize("email", ["ann", "@", "ann@", "@example.org", "a@b@c", "a b@c", "a@b>", "<a@b>", "a@b\nc"])
def test_an_email_that_is_none_is_refused_and_nothing_is_written(shop: FlaskClient, email: str) -> None:
    where = press(shop, buyer="Ann", email=email)
    assert "This is no e-mail address" in shop.get(where).text
    assert "Ann" not in where
    assert shop.get("/events/show").json["version"] == 0


def test_name_and_email_together_are_no_longer_than_a_buyer_may_be(shop: FlaskClient) -> None:
    fields = {"event": "show", "do": "buy", "buyer": "n" * 100}
    assert "order=" in press(shop, **fields, email=f"{'e' * 95}@b")
    assert shop.post("/", data=fields | {"email": f"{'e' * 96}@b"}).json["code"] == "invalid_value"


def test_the_question_changes_nothing(shop: FlaskClient) -> None:
    where = press(shop)
    order = where.rpartition("=")[2]
    before = shop.get("/events/show").json
    asked = shop.get(press(shop, do="ask", order=order)).text
    assert re.search(r"<dialog [^>]*open", asked)
    assert not re.search(r"<dialog [^>]*open", shop.get(where).text)
    assert shop.get("/events/show").json == before


def test_where_nobody_knows_the_outcome_the_same_form_sent_again_buys_once(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    office = client.application.extensions["office"]
    buy = office.buy

    def bought_and_not_answered(*what: Any, **more: Any) -> None:
        buy(*what, **more)
        raise Problem("outcome_unknown")

    first = {"event": "show", "do": "buy", "quantity": "1", "key": "the-first"}
    with monkeypatch.context() as lost:
        lost.setattr(office, "buy", bought_and_not_answered)
        answer = client.post("/", data=first)
    assert answer.status_code == 200  # no proxy puts a page of its own in the place of this one
    assert "Send the same once more" in answer.text
    assert set(re.findall(r'name="key" value="([^"]*)"', answer.text)) == {"the-first"}
    assert "order=" in press(client, key="the-first")
    assert client.get("/events/show").json["remaining"] == 9
    # After a definite refusal the page has a new key. No address can name one: the order would be told to its author.
    assert "the-first" not in client.get(press(client, quantity="99", key="the-first")).text
    assert "the-first" not in client.get("/?event=show&key=the-first").text
