"""What a target file can say of a service's requests and answers: each with a small stranger, right and wrong."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from flask import Flask, Response, jsonify, redirect, request, session
from hypothesis import example, given
from hypothesis import strategies as st

from loadtests.lab.checks.judging import judge
from loadtests.lab.experiment.run_options import SettingsError, experiment_of
from loadtests.lab.history.history import History
from loadtests.lab.protocol.admin_api import OfficeError
from loadtests.lab.target.adapter import NUMBERS, RunValues
from loadtests.lab.target.cookies import Cookies
from loadtests.lab.target.file import TargetError, read_target
from loadtests.lab.target.filling import CannotBeFilled, fill, on_service
from loadtests.lab.target.masking import hide, opened, without_secrets
from loadtests.lab.target.problems import problems
from loadtests.lab.target.reading import AnswerView, has_more_pages, meets, take
from loadtests.lab.target.server import TargetOffice
from loadtests.lab.target.tables import Condition, ValueSource
from tests.loadtests.target.stranger import Shopper, served, target

FORM = {"content-type": "application/x-www-form-urlencoded"}


# -- placeholders -----------------------------------------------------------------------------------------------------

NASTY = 'a"b\\c&d=e f/../g?h#i{key}<j>é'


def filled(value: Any = NASTY, **step: Any) -> Any:
    return fill(target(buy=step).buy, {"buyer": value, "quantity": 2, "key": "k"})


def test_a_value_changes_nothing_around_it_wherever_it_stands() -> None:
    assert filled(path="/of/{buyer}/x").path.count("/") == 3
    assert json.loads(filled(body={"who": "{buyer}", "{buyer}": 1}).body) == {"who": NASTY, NASTY: 1}
    as_json = {"Content-Type": "application/json"}
    assert json.loads(filled(body='{"who": "{buyer}", "n": {quantity}}', headers=as_json).body) == {
        "who": NASTY, "n": 2,
    }  # fmt: skip
    for step in ({"body": "who={buyer}&n={quantity}"}, {"form": {"who": "{buyer}", "n": "{quantity}"}}):
        app = Flask(__name__)
        made = filled(**step)
        with app.test_request_context("/buy", method="POST", data=made.body, headers=made.headers):
            assert request.form.to_dict() == {"who": NASTY, "n": "2"}
    as_xml = {"Content-Type": "text/xml"}
    assert b"<j>" not in filled(body="<a>{buyer}</a>", headers=as_xml).body


def test_a_header_refuses_what_would_begin_another_one() -> None:
    assert filled("anna", headers={"X-Who": "{buyer}"}).headers["X-Who"] == "anna"
    with pytest.raises(CannotBeFilled, match="the header X-Who would hold a control character"):
        filled("anna\r\nX-Admin: yes", headers={"X-Who": "{buyer}"})


def test_braces_can_be_written_and_only_a_name_alone_in_them_means_anything() -> None:
    query = "mutation {buy(n: {quantity}) { left {{id}} order{ id } } } {{{key}}} {} {Key} { key }"
    assert json.loads(filled(body={"query": query}).body)["query"] == (
        "mutation {buy(n: 2) { left {id} order{ id } } } {{key}} {} {Key} { key }"
    )


def test_a_value_keeps_its_type_in_json_and_a_list_is_a_field_several_times() -> None:
    assert json.loads(filled([1, None], body={"seats": "{buyer}"}).body) == {"seats": [1, None]}
    assert filled(["a", "b"], form={"seat": "{buyer}"}).body == b"seat=a&seat=b"


# -- keys and buyers --------------------------------------------------------------------------------------------------


def remembering() -> Flask:
    app, answers = Flask(__name__), {}

    @app.post("/buy")
    def buy() -> Any:
        return jsonify(answers.setdefault(request.headers["Idempotency-Key"], {"order": len(answers)}))

    return app


def test_a_service_that_remembers_keys_does_not_repeat_the_last_runs_answers() -> None:
    app, buy = remembering(), {"headers": {"Idempotency-Key": "{key}"}, "answer": {"order": "order"}}

    def order(mark: str) -> str | None:
        return Shopper(app, RunValues(mark=mark), buy=buy).ask().lines[0].order

    assert order("") == order("")  # the negative control: the same key in two runs
    assert len({order("one"), order("two"), order("three")}) == 3


def test_buyers_have_names_and_numbers_of_their_own_in_every_process_and_run() -> None:
    names, numbers = set(), set()
    for mark in ("one", "two"):
        for crew in range(3):
            adapter = Shopper(Flask(__name__), RunValues(mark=mark, shard=crew)).adapter
            buyers = [adapter.buyer(crew * 1000 + process) for process in range(100)]
            names |= {buyer.name for buyer in buyers}
            numbers |= {buyer.number for buyer in buyers}
    assert (len(names), len(numbers)) == (600, 600)
    assert all(0 < number < NUMBERS for number in numbers)


def one_each() -> Flask:
    app, members = Flask(__name__), set()

    @app.post("/buy")
    def buy() -> Any:
        member = request.json["member"]
        if member in members:
            return jsonify(error="one each"), 403
        members.add(member)
        return jsonify(member=member)

    return app


@pytest.mark.parametrize("name", ["{buyer}", "{buyer_number}"])
def test_a_shop_that_sells_one_to_each_sees_a_new_buyer_for_every_purchase(name: str) -> None:
    tables = {"buy": {"body": {"member": name}, "definite": {"status": 403}}}
    always_the_same = Shopper(one_each(), **tables)
    assert [always_the_same.buy() for _ in range(3)] == ["ok", "fail", "fail"]
    others = Shopper(one_each(), buyer={"new_buyer": "every purchase"}, **tables)
    assert [others.buy() for _ in range(3)] == ["ok", "ok", "ok"]


# -- outcomes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("condition", "met", "not_met"),
    [
        ({"text_contains": "sold out"}, AnswerView(200, b"<p>sold out</p>"), AnswerView(200, b"<p>sold</p>")),
        (
            {"header": "location", "contains": "/sold-out"},
            AnswerView(302, b"", {"Location": "/x/sold-out"}),
            AnswerView(302, b"", {"Location": "/orders/1"}),
        ),
        ({"header": "X-State", "equals": "gone"}, AnswerView(200, b"", {"x-state": "gone"}), AnswerView(200, b"", {})),
        ({"header": "location"}, AnswerView(302, b"", {"Location": "/"}), AnswerView(302, b"")),
        ({"field": "errors.0.message", "contains": "SOLD"}, AnswerView(200, b'{"errors":[{"message":"SOLD_OUT"}]}'),
         AnswerView(200, b'{"errors":[{"message":"no"}]}')),
        ({"field": "codes", "contains": "gone"}, AnswerView(200, b'{"codes":["x","gone"]}'),
         AnswerView(200, b'{"codes":[]}')),
        ({"status": [409, 410], "text_contains": "none"}, AnswerView(410, b"none"), AnswerView(200, b"none")),
    ],
)  # fmt: skip
def test_an_outcome_is_told_by_text_header_or_field_whatever_the_status(
    condition: dict[str, Any], met: AnswerView, not_met: AnswerView
) -> None:
    assert meets(Condition(**condition), met)
    assert not meets(Condition(**condition), not_met)


def test_a_purchase_is_understood_by_where_it_leads() -> None:
    app = Flask(__name__)
    left = [1]

    @app.post("/buy")
    def buy() -> Response:
        left[0] -= 1
        return redirect("/orders/7" if left[0] >= 0 else "/sold-out")

    where = {"ok": {"header": "location", "contains": "/orders/"}}
    where["answer"] = {"order": {"header": "location", "pattern": "/orders/(.+)"}}
    undescribed = Shopper(app)
    assert undescribed.buy() == "unknown"
    left[0] = 1
    shopper = Shopper(app, buy=where | {"sold_out": {"header": "location", "equals": "/sold-out"}})
    first = shopper.ask().lines[0]
    assert (first.outcome, first.order, shopper.buy()) == ("ok", "7", "sold_out")


# -- values out of answers --------------------------------------------------------------------------------------------

SEATS = (
    b'{"seats": [{"status": "free"}, {"status": "sold"}, {"status": "new"}], "sold": 3,'
    b' "map": {"A1": "free", "A2": "sold"}}'
)


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("sold", 3),
        (ValueSource(count="seats"), 3),
        (ValueSource(count="seats", where={"status": "free"}), 1),
        (ValueSource(count="seats", where={"status": ["free", "new"]}), 2),
        (ValueSource(count="nowhere"), None),
        (ValueSource(capacity_minus="sold"), 7),
        (ValueSource(count="map", where={"value": "free"}), 1),
        (ValueSource(pattern='"sold": (\\d+)'), "3"),
        (ValueSource(field="nowhere", pattern="x"), None),
    ],
)
def test_what_remains_may_be_counted_or_taken_from_the_capacity(source: Any, found: Any) -> None:
    assert take(source, AnswerView(200, SEATS), 10) == found


def test_a_field_of_a_form_and_a_cookie_are_values_too() -> None:
    page = b'<meta name="csrf" content="m"><form><input type=hidden name=token value="a&amp;b"><input name=x></form>'
    reading = AnswerView(200, page, {"Set-Cookie": "sid=s1; Path=/"})
    assert take(ValueSource(input="token"), reading) == "a&b"
    assert take(ValueSource(input="csrf"), reading) == "m"
    assert take(ValueSource(cookie="sid"), reading) == "s1"
    assert [take(ValueSource(input="x"), reading), take(ValueSource(cookie="id"), reading)] == [None, None]


@given(body=st.binary(max_size=80) | st.text("<![]>='\"-/ inputnamevalue{}:,0", max_size=80).map(str.encode))
@example(body=b"<![x[")
@example(body=b"<!x")
@example(body=b"[" * 3000)
def test_no_answer_breaks_what_looks_for_values_in_it(body: bytes) -> None:
    reading = AnswerView(200, body, {"Set-Cookie": body.decode("latin-1")})
    for source in (
        "a.0", ".", ValueSource(input="name"), ValueSource(cookie="a"), ValueSource(header="set-cookie"),
        ValueSource(pattern="(a)|b"),
        ValueSource(field=".", pattern="a"), ValueSource(count="."), ValueSource(capacity_minus="."),
    ):  # fmt: skip
        take(source, reading, 5)
    for condition in (Condition(field=".", contains="a"), Condition(text_contains="a"), Condition(field="0", equals=1)):
        meets(condition, reading)
    has_more_pages(reading, 1)
    Cookies().keep("http://127.0.0.1", reading)


@pytest.mark.parametrize(
    ("body", "headers", "more"),
    [
        (b'{"list": [1, 2]}', {}, False),
        (b'{"list": [1, 2], "total": 2, "next": null}', {}, False),
        (b'{"list": [1, 2], "total": 12}', {}, True),
        (b'{"list": [1, 2], "next": "/orders?page=2"}', {}, True),
        (b'{"list": [1, 2], "meta": {"hasNextPage": true}}', {}, True),
        (b"[1, 2]", {"Link": '</orders?page=2>; rel="next"'}, True),
        (b"[1, 2]", {"X-Total-Count": "40"}, True),
    ],
)
def test_a_list_that_has_pages_says_so(body: bytes, headers: dict[str, str], more: bool) -> None:
    assert has_more_pages(AnswerView(200, body, headers), 2) is more


# -- sessions ---------------------------------------------------------------------------------------------------------


def members() -> Flask:
    app = Flask(__name__)
    app.secret_key = b"k"

    @app.get("/login")
    def page() -> str:
        session["csrf"] = "t&1"
        return '<form method="post"><input type="hidden" name="csrf_token" value="t&amp;1"></form>'

    @app.post("/login")
    def login() -> Any:
        if request.form.get("csrf_token") != session.get("csrf"):
            return "forged", 400
        session["member"] = request.form["name"]
        return jsonify(token=f"of {session['member']}")

    @app.post("/buy")
    def buy() -> Any:
        if "member" not in session or request.headers.get("X-Token") != f"of {session['member']}":
            return "who are you?", 401
        return jsonify(order=session["member"])

    return app


LOGIN = [
    {"method": "GET", "path": "/login", "take": {"csrf": {"input": "csrf_token"}}},
    {
        "path": "/login",
        "form": {"csrf_token": "{session.csrf}", "name": "{buyer}"},
        "take": {"token": "token"},
    },
]
AS_MEMBER = {"headers": {"X-Token": "{session.token}"}, "answer": {"order": "order"}}


def test_a_buyer_logs_in_once_and_keeps_cookies_and_token() -> None:
    stranger = Shopper(members())
    assert stranger.buy() == "unknown"  # the negative control: 401 may be anything
    shopper = Shopper(members(), buyer={"steps": LOGIN, "cookies": True}, buy=AS_MEMBER)
    orders = [shopper.ask().lines[0].order for _ in range(2)]
    assert orders == [shopper.buyer.name] * 2
    assert [each.path for each in shopper.asked] == ["/login", "/login", "/buy", "/buy"]


def test_the_steps_of_a_buyer_are_told_the_event() -> None:
    steps = [{"method": "GET", "path": "/login?next={event}"}]
    shopper = Shopper(members(), buyer={"steps": steps, "cookies": True})
    shopper.ask()
    assert [each.path for each in shopper.asked][:1] == ["/login?next=sale"]


def test_an_arrival_may_be_somebody_who_has_logged_in_and_asks_for_nothing_any_more() -> None:
    shopper = Shopper(members(), buyer={"steps": LOGIN, "cookies": True}, buy=AS_MEMBER)
    shopper.buy()
    first = shopper.buyer
    assert shopper.adapter.buyer(2).name != first.name  # the first one is still asking
    shopper.adapter.dismiss(first)
    assert shopper.adapter.buyer(3) is first
    shopper.buy()
    assert [each.path for each in shopper.asked].count("/login") == 2
    nameless = Shopper(one_each(), buy={"body": {"member": "{buyer}"}})
    nameless.buy()
    nameless.adapter.dismiss(nameless.buyer)
    assert nameless.adapter.buyer(2) is not nameless.buyer  # who never logs in may as well be somebody new


def test_without_cookies_the_login_fails_and_surely_nothing_was_bought() -> None:
    shopper = Shopper(members(), buyer={"steps": LOGIN}, buy=AS_MEMBER)
    [line] = shopper.ask().records
    assert (line.outcome, line.status) == ("fail", 400)
    assert any("[buyer.steps] POST /login was answered with status 400" in note for note in shopper.adapter.notes())


def test_a_cookie_goes_to_its_own_host_and_path_and_to_no_other() -> None:
    kept = Cookies()
    lines = ["a=1; Path=/", "b=2; Path=/shop", "c=3; Domain=elsewhere.test", "d=4; Domain=shop.test", "e=5; Max-Age=0"]

    class Several(dict[str, str]):
        def get_all(self, _name: str) -> list[str]:
            return lines

    kept.keep("http://shop.test:8080/login", AnswerView(200, b"", Several()))
    assert kept.header("http://shop.test:8080/shop/x") == {"Cookie": "a=1; b=2; d=4"}
    assert kept.header("http://shop.test:8080/shopping") == {"Cookie": "a=1; d=4"}
    assert kept.header("http://elsewhere.test/shop") == {}
    lines[:] = ["a=; Expires=Thu, 01 Jan 1970 00:00:00 GMT", "d=; Max-Age=-1"]
    kept.keep("http://shop.test/", AnswerView(200, b"", Several()))
    assert kept.header("http://shop.test/") == {}


# -- purchases of several steps ---------------------------------------------------------------------------------------


class Till:
    """Puts a ticket aside, then takes the payment, if it does."""

    def __init__(self, left: int = 1, *, pays: int = 200) -> None:
        self.left, self.app = left, Flask(__name__)

        @self.app.post("/buy")
        def book() -> Any:
            if self.left < 1:
                return "", 409
            self.left -= 1
            return jsonify(booking={"id": 5}), 201

        @self.app.post("/bookings/<int:booking>/pay")
        def pay(booking: int) -> Any:
            return jsonify(order=booking), pays

        @self.app.delete("/bookings/<int:booking>")
        def give_back(booking: int) -> Any:
            self.left += 1
            return "", 204


BOOK_AND_PAY = {
    "take": {"booking": "booking.id"},
    "then": [{"path": "/bookings/{booking}/pay", "definite": {"status": 402}, "answer": {"order": "order"}}],
}
GIVE_BACK = {"give_back": {"method": "DELETE", "path": "/bookings/{booking}"}}


def records_of(till: Till, steps: int = 99, **buy: Any) -> list[tuple[str, str]]:
    exchange = Shopper(till.app, buy=BOOK_AND_PAY | buy).ask(steps=steps)
    assert exchange.lines[0].outcome == (exchange.records[0].outcome if len(exchange.records) == 1 else "unknown")
    return [(line.op, line.outcome) for line in exchange.records]


def test_a_purchase_of_several_steps_is_one_operation_and_the_last_step_counts() -> None:
    exchange = Shopper(Till().app, buy=BOOK_AND_PAY).ask()
    [line] = exchange.records
    assert (line.op, line.outcome, line.order) == ("buy", "ok", "5")
    assert records_of(Till(left=0)) == [("buy", "sold_out")]


def test_the_first_answer_alone_is_no_sale_where_more_steps_follow() -> None:
    line = Shopper(Till().app).ask().lines[0]
    for buy, outcome in ((BOOK_AND_PAY, "unknown"), (POLLED, "unknown"), ({}, "ok")):
        Shopper(Flask(__name__), buy=buy).adapter.understand(line, 201, b"{}", {})
        assert line.outcome == outcome


@pytest.mark.parametrize("status", [402, 500])
def test_a_purchase_that_stops_half_way_is_unknown(status: int) -> None:
    assert records_of(Till(pays=status)) == [("hold", "ok"), ("confirm", "unknown")]
    assert records_of(Till(), steps=1) == [("hold", "ok"), ("confirm", "unknown")]  # broken off after the first answer
    assert records_of(Till(), steps=0) == [("hold", "unknown")]


def test_what_a_half_done_purchase_took_is_given_back_where_the_file_says_how() -> None:
    till = Till(pays=402)
    exchange = Shopper(till.app, buy=BOOK_AND_PAY | GIVE_BACK).ask()
    assert [(line.op, line.outcome) for line in exchange.records] == [("hold", "ok"), ("release", "ok")]
    assert (exchange.lines[0].outcome, till.left) == ("fail", 1)
    done = Till()
    assert Shopper(done.app, buy=BOOK_AND_PAY | GIVE_BACK).buy() == "ok"
    assert done.left == 0


def test_a_first_step_that_reserves_nothing_leaves_nothing_behind() -> None:
    assert records_of(Till(pays=402), reserves=False) == [("buy", "fail")]


def test_a_history_with_half_done_purchases_can_be_read_and_never_makes_an_honest_shop_wrong() -> None:
    """The ticket that a refused payment freed is sold again: were the first a purchase of which nothing is known, the
    refusal in between would be one too many."""
    half = Shopper(Till(pays=402).app, buy=BOOK_AND_PAY | GIVE_BACK).ask().records
    times = iter(range(10, 100, 10))
    lines = []
    for line in [half[0], "refused", half[1], "sold"]:
        at = next(times)
        if isinstance(line, str):
            outcome = "sold_out" if line == "refused" else "ok"
            lines.append({"process": 2, "op": "buy", "outcome": outcome, "key": line, "quantity": 1})
        else:
            lines.append({"process": 1, "op": line.op, "outcome": line.outcome, "key": line.key, "hold": line.hold,
                          "quantity": line.quantity})  # fmt: skip
        lines[-1] |= {"event": "sale", "invoke_ns": at, "return_ns": at + 5}
    assert judge(History.of(lines), {}, capacity=1).verdict == "unknown"
    forgotten = [line for line in lines if line["op"] == "buy"]
    assert judge(History.of(forgotten), {}, capacity=1).verdict == "invalid"  # the negative control


# -- answers that come later ------------------------------------------------------------------------------------------


def later(states: list[str], location: str = "/orders/1") -> Flask:
    app, given = Flask(__name__), iter(states)

    @app.post("/buy")
    def order() -> Any:
        return "", 202, {"Location": location}

    @app.get("/orders/1")
    def state() -> Any:
        return jsonify(state=next(given, states[-1]), id=1)

    return app


POLL = {
    "path": "{location}",
    "until": {"field": "state", "equals": "done"},
    "sold_out": {"field": "state", "equals": "refused"},
    "answer": {"order": "id"},
    "within_s": 0.3,
    "every_s": 0.001,
}
POLLED = {"take": {"location": {"header": "location"}}, "poll": POLL}


@pytest.mark.parametrize(
    ("states", "outcome"),
    [(["waiting", "waiting", "done"], "ok"), (["waiting", "refused"], "sold_out"), (["waiting"], "unknown")],
)
def test_an_answer_that_comes_later_is_waited_for(states: list[str], outcome: str) -> None:
    assert Shopper(later(states)).buy() == "ok"  # the negative control: 202 alone is taken for a sale
    shopper = Shopper(later(states), buy=POLLED)
    [line] = shopper.ask().records
    assert (line.op, line.outcome, line.order) == ("buy", outcome, "1" if outcome == "ok" else None)


def test_an_order_that_was_taken_in_and_cannot_be_asked_for_is_unknown() -> None:
    app = Flask(__name__)
    app.add_url_rule("/buy", "buy", lambda: ("", 202), methods=["POST"])  # it does not say where to ask
    shopper = Shopper(app, buy=POLLED)
    assert [(line.op, line.outcome) for line in shopper.ask().records] == [("buy", "unknown")]
    assert any("has no `location` where `take` looks for it" in note for note in shopper.adapter.notes())
    booked = Shopper(Till().app, buy=BOOK_AND_PAY | {"take": {"booking": "nowhere"}})
    assert [(line.op, line.outcome) for line in booked.ask().records] == [("hold", "ok"), ("confirm", "unknown")]


def test_what_was_left_when_an_order_was_taken_in_is_no_part_of_its_refusal() -> None:
    app = Flask(__name__)
    app.add_url_rule("/buy", "buy", lambda: (jsonify(left=3), 202, {"Location": "/orders/1"}), methods=["POST"])
    app.add_url_rule("/orders/1", "state", lambda: jsonify(state="refused"))
    [line] = Shopper(app, buy=POLLED | {"answer": {"remaining": "left"}}).ask().records
    assert (line.outcome, line.remaining) == ("sold_out", None)


@pytest.mark.parametrize("location", ["http://192.0.2.7/orders/1", "//192.0.2.7/orders/1", "http://127.0.0.1:2/o"])
def test_an_answer_that_leads_to_another_host_is_not_followed(location: str) -> None:
    shopper = Shopper(later(["done"], location), buy=POLLED)
    assert shopper.buy() == "unknown"
    assert [each.path for each in shopper.asked] == ["/buy"]
    assert any("this service; nothing was sent there" in note for note in shopper.adapter.notes())


def test_an_address_of_the_service_itself_is_followed_under_any_of_its_names() -> None:
    here = "http://127.0.0.1:8080/shop"
    assert on_service(here, "http://localhost:8080/shop/orders/1?x=1") == "http://127.0.0.1:8080/shop/orders/1?x=1"
    assert on_service(here, "/shop/orders/1") == "http://127.0.0.1:8080/shop/orders/1"
    assert on_service(here, "orders/1") == "http://127.0.0.1:8080/shop/orders/1"


# -- seats ------------------------------------------------------------------------------------------------------------


def hall(free: list[Any]) -> Flask:
    app = Flask(__name__)

    @app.get("/seats")
    def seats() -> Any:
        return jsonify(seats=[{"id": seat, "state": "free"} for seat in free] + [{"id": "Z9", "state": "sold"}])

    @app.post("/buy")
    def buy() -> Any:
        seat = request.json["seat"]
        if seat not in free:
            return "", 409
        free.remove(seat)
        return jsonify(order=seat)

    return app


SEATED = {
    "seats": {"path": "/seats", "list": "seats", "free": {"state": "free"}},
    "buy": {"body": {"seat": "{seat}"}, "answer": {"order": "order"}},
}


def test_a_buyer_chooses_one_of_the_free_seats_until_there_is_none() -> None:
    shopper = Shopper(hall([1, 2, 3]), **SEATED)
    lines = [shopper.ask().lines[0] for _ in range(3)]
    assert sorted(line.seat or "" for line in lines) == ["1", "2", "3"]
    none = shopper.ask()
    assert (none.lines[0].outcome, none.lines[0].seat, none.records) == ("sold_out", None, [])


def seat_history(*rows: tuple[str, str, str, int, int]) -> History:
    """Of each operation what, how it went, the seat, and when."""
    lines = []
    for number, (op, outcome, seat, invoke, returned) in enumerate(rows):
        line = {"process": number, "op": op, "outcome": outcome, "event": "sale", "key": f"k{number}"}
        line |= {"invoke_ns": invoke, "return_ns": returned if outcome != "unknown" else None}
        if op == "cancel":
            line["order"] = seat
        else:
            line |= {"quantity": 1, "seat": seat, "order": f"of {seat} {number}" if outcome == "ok" else None}
        lines.append(line)
    return History.of(lines)


@pytest.mark.parametrize(
    ("rows", "violation"),
    [
        ([("buy", "ok", "A1", 0, 9), ("buy", "ok", "A1", 5, 15)], "seat sold twice"),
        ([("buy", "ok", "A1", 0, 9), ("buy", "ok", "A2", 5, 15)], None),
        ([("buy", "ok", "A1", 0, 9), ("cancel", "ok", "of A1 0", 10, 12), ("buy", "ok", "A1", 13, 15)], None),
        ([("buy", "ok", "A1", 0, 9), ("cancel", "unknown", "of A1 0", 10, 12), ("buy", "ok", "A1", 13, 15)], None),
        ([("buy", "ok", "A1", 0, 9), ("buy", "sold_out", "A1", 5, 15)], None),
        ([("buy", "unknown", "A1", 0, 9), ("buy", "sold_out", "A1", 5, 15)], None),
        ([("buy", "sold_out", "A1", 0, 3), ("buy", "ok", "A1", 4, 15)], "false seat-taken"),
        ([("buy", "sold_out", "A1", 0, 3), ("buy", "ok", "A2", 0, 15)], "false seat-taken"),
    ],
)
def test_each_seat_is_judged_by_itself(rows: list[tuple[str, str, str, int, int]], violation: str | None) -> None:
    verdict = judge(seat_history(*rows), {}, capacity=50)
    found = {name for check in verdict.checks if "seats" in check.name for name in check.violations}
    assert found == ({violation} if violation else set())
    assert (verdict.verdict == "invalid") is bool(violation)
    assert verdict.seats_sold_twice == (violation == "seat sold twice")


# -- the set-up -------------------------------------------------------------------------------------------------------


def venues() -> Flask:
    app = Flask(__name__)
    app.secret_key = b"k"

    @app.post("/login")
    def login() -> Any:
        session["admin"] = True
        return jsonify(token="tk-9876")

    @app.get("/orders")
    def orders() -> Any:
        return (jsonify(orders=[{"id": 1}]), 200) if "admin" in session else ("", 401)

    @app.post("/shows")
    def make() -> Any:
        if request.headers.get("Authorization") != "Bearer tk-9876" or "admin" not in session:
            return jsonify(error="not you", token=request.headers.get("Authorization")), 401
        return jsonify(data={"id": 7, "name": request.json["name"], "seats": request.json["seats"]}), 201

    return app


MAKE_SHOW = [
    {"path": "/login", "form": {"name": "admin"}, "take": {"admin_token": "token"}},
    {
        "path": "/shows",
        "headers": {"Authorization": "Bearer {admin_token}"},
        "body": {"name": "{event}", "seats": "{capacity}"},
        "take": {"show": "data.id", "name_taken": "data.name"},
    },
]


def test_a_set_up_of_several_steps_hands_values_on() -> None:
    with served(venues()) as url:
        described = target(setup=MAKE_SHOW, buy={"path": "/shows/{show}/buy"})
        office = TargetOffice(described, url)
        office.create_event("opera", 5)
        assert office.values == {"admin_token": "tk-9876", "show": 7, "name_taken": "opera"}
        with pytest.raises(OfficeError, match="401"):
            TargetOffice(target(orders={"path": "/orders", "list": "orders"}), url).orders("opera")
        admin = TargetOffice(target(setup=MAKE_SHOW[:1], orders={"path": "/orders", "list": "orders"}), url)
        admin.create_event("opera", 5)
        listed = admin.orders("opera")
        assert listed is not None
        assert listed.orders == ["1"]
        with pytest.raises(OfficeError, match=r"401: .*not you") as refused:
            TargetOffice(target(setup=MAKE_SHOW[1:] and [MAKE_SHOW[0], MAKE_SHOW[1] | {"headers": {
                "Authorization": "Bearer x{admin_token}"}}]), url).create_event("opera", 5)  # fmt: skip
        assert "tk-9876" not in str(refused.value)
    shopper = Shopper(Flask(__name__), RunValues(values=office.values), buy={"path": "/shows/{show}/buy"})
    shopper.ask()
    assert shopper.asked[0].path == "/shows/7/buy"


def test_a_step_of_the_set_up_may_be_a_command_whose_output_is_its_answer(tmp_path: Path) -> None:
    (tmp_path / "tools").mkdir()
    program = "import json, os, sys; print(json.dumps({'id': sys.argv[1] + os.environ['FLAVOUR'], 'at': os.getcwd()}))"
    command = ["{python}", "-c", program, "{event}"]
    start = {"command": ["x", "{port}"], "env": {"FLAVOUR": "-of-{capacity}"}, "directory": "tools"}
    steps = [{"command": command, "take": {"show": "id", "place": "at"}}]
    described = target(url="", start=start, setup=steps, directory=str(tmp_path))
    office = TargetOffice(described, "http://127.0.0.1:1")
    office.create_event("opera", 5)
    assert office.values == {"show": "opera-of-5", "place": str(tmp_path / "tools")}
    failing = [{"command": ["{python}", "-c", "import sys; sys.exit('no database')"]}]
    with pytest.raises(OfficeError, match="ended with status 1: no database"):
        TargetOffice(target(setup=failing), "http://127.0.0.1:1").create_event("opera", 5)
    assert sys.executable


def test_a_value_that_is_not_in_the_answer_is_named() -> None:
    with served(venues()) as url, pytest.raises(OfficeError, match=r"no `id` \(nowhere\) in its answer: .*tk-"):
        TargetOffice(target(setup=[{"path": "/login", "take": {"id": "nowhere"}}]), url).create_event("opera", 5)


# -- orders at the end ------------------------------------------------------------------------------------------------


def listing(*pages: dict[str, Any]) -> Flask:
    app = Flask(__name__)

    @app.get("/orders")
    def orders() -> Any:
        return jsonify(pages[int(request.args.get("page", 1)) - 1])

    return app


def ordered(*ids: int, **more: Any) -> dict[str, Any]:
    return {"list": [{"id": each, "state": "paid"} for each in ids] + [{"id": 99, "state": "broken off"}], **more}


ORDERS = {"path": "/orders", "list": "list", "where": {"state": "paid"}}
SOLD = [("ok", "1"), ("ok", "2"), ("unknown", None)]


def judged_by(app: Flask, sales: list[tuple[str, str | None]], **orders: Any) -> tuple[dict[str, int], str, int | None]:
    """The violations of orders, the verdict of that check, and how many are lost."""
    lines = [
        {"process": at, "op": "buy", "event": "sale", "key": f"k{at}", "quantity": 1, "outcome": outcome,
         "invoke_ns": at, "return_ns": 50 if outcome == "ok" else None, "order": order}
        for at, (outcome, order) in enumerate(sales)
    ]  # fmt: skip
    with served(app) as url:
        office = TargetOffice(target(orders=ORDERS | orders, buy={"answer": {"order": "id"}}), url)
        listed = office.orders("sale")
    assert listed is not None
    verdict = judge(History.of(lines), {}, capacity=50, order_lists={"sale": listed})
    [check] = [each for each in verdict.checks if each.name == "orders"]
    return check.violations, check.verdict, verdict.lost


def test_a_list_of_orders_shows_what_is_lost_and_what_nobody_placed() -> None:
    assert judged_by(listing(ordered(1, 2)), SOLD) == ({}, "valid", 0)
    assert judged_by(listing(ordered(2)), SOLD) == ({"lost sale": 1}, "invalid", 1)
    assert judged_by(listing(ordered(1, 2, 3)), SOLD) == ({}, "valid", 0)  # of the purchase without an answer
    assert judged_by(listing(ordered(1, 2, 3, 4)), SOLD) == ({"phantom": 1}, "invalid", 0)


def test_a_list_that_goes_on_elsewhere_is_read_on_or_nothing_is_claimed() -> None:
    pages = [ordered(1, next="/orders?page=2"), ordered(2, next=None)]
    assert judged_by(listing(*pages), SOLD) == ({}, "unknown", None)
    assert judged_by(listing(*pages), SOLD, next="next") == ({}, "valid", 0)
    with pytest.raises(OfficeError, match="nothing was sent there"):
        judged_by(listing(ordered(1, next="http://192.0.2.7/orders")), SOLD, next="next")


def test_orders_of_an_earlier_run_are_none_of_this_one() -> None:
    earlier = [("ok", "1")]
    described = target(orders=ORDERS, buy={"answer": {"order": "id"}})
    with served(listing(ordered(1, 7, 8))) as url:
        assert judged_by(listing(ordered(1, 7, 8)), earlier)[0] == {"phantom": 2}  # the negative control
        office = TargetOffice(described, url)
        office.create_event("sale", 5)
        listed = office.orders("sale")
    assert listed is not None
    assert listed.earlier == ["1", "7", "8"]


# -- secrets ----------------------------------------------------------------------------------------------------------

WITH_SECRETS = {
    "url": "",
    "start": {
        "command": ["x", "{port}", "--password=hunter22", "--admin-token", "hunter33", "--fast"],
        "env": {"DB_PASSWORD": "s3cr3t-db", "MODE": "fast", "DB": "postgres://me:hunter44@localhost/{data}"},
    },
    "setup": [
        {"path": "/login?api_key=k-12345", "form": {"user": "admin", "password": "s3cr3t-form"}},
        {"path": "/shows", "headers": {"Authorization": "Bearer s3cr3t-bearer", "X-Box-Office-Key": "s3cr3t-key"},
         "body": {"auth": {"token": "s3cr3t-token", "pin": 1}, "name": "{event}"}, "take": {"show_token": "token"}},
    ],
    "buy": {"path": "/buy", "body": 'mutation { login(password: "s3cr3t-text") }', "sold_out": {"status": 409},
            "headers": {"Authorization": "Bearer {show_token}"}},
}  # fmt: skip
SECRETS = [
    "hunter22", "hunter33", "hunter44", "k-12345",
    *(f"s3cr3t-{each}" for each in ("db", "form", "bearer", "key", "token", "text")),
]  # fmt: skip


def test_no_secret_of_the_file_stands_in_a_record_which_can_be_run_again() -> None:
    described = target(**WITH_SECRETS)
    shown, secrets = without_secrets(described)
    text = msgspec.json.encode(shown).decode()
    assert msgspec.json.encode(described).decode().count("s3cr3t") == 6  # the negative control
    assert [each for each in SECRETS if each in text] == []
    assert set(secrets.values()) == set(SECRETS)
    assert "Bearer {show_token}" in text
    assert '"MODE":"fast"' in text
    assert '"--fast"' in text
    values = {"event": "opera", **{f"env.{name}": secret for name, secret in secrets.items()}}
    made, original = (fill(each.setup_steps[1], values) for each in (shown, described))
    assert (made.headers, made.body) == (original.headers, original.body)
    assert fill(shown.setup_steps[0], values).path == "/login?api_key=k-12345"


@pytest.mark.parametrize(
    "step",
    [
        {"path": "/x?token=a%2Fb+c&y=1"},
        {"path": "/buy", "body": "password=a%21b&n=1"},
        {"path": "/buy", "body": '{"password": "a\\u0041"}', "headers": {"Content-Type": "application/json"}},
        {"path": "/buy", "body": {"password": 'a"b{{c}}%20'}},
        {"path": "/buy", "body": {"auth": {"password": 1234, "token": True}}},
        {"path": "/buy", "form": {"password": "a&b", "api_key": "c=d", "user": "me"}},
        {"path": "/buy", "headers": {"Authorization": "Basic YTpi", "X-Token": "t%20t"}},
    ],
)
def test_a_secret_that_was_left_out_is_sent_as_the_file_wrote_it(step: dict[str, Any]) -> None:
    plain = target(buy=step)
    shown, values = opened(plain)
    assert shown != plain
    sent, wanted = fill(shown.buy, values), fill(plain.buy, {})
    assert (sent.path, sent.headers, sent.body) == (wanted.path, wanted.headers, wanted.body)


def test_a_record_says_what_must_be_given_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown, secrets = without_secrets(target(**WITH_SECRETS))
    record = tmp_path / "experiment.json"
    record.write_bytes(msgspec.json.encode({"target": shown}))
    with pytest.raises(TargetError, match="there is no environment variable TARGET_START_"):
        read_target(record)
    for name, secret in secrets.items():
        monkeypatch.setenv(name, secret)
    assert read_target(record) == shown


def test_no_message_shows_a_secret_also_if_the_service_repeats_it() -> None:
    app = Flask(__name__)

    @app.post("/login")
    def login() -> Any:
        return f"wrong: {request.form['password']} {request.args['api_key']}", 401

    with served(app) as url, pytest.raises(OfficeError) as refused:
        TargetOffice(target(setup=WITH_SECRETS["setup"]), url).create_event("opera", 5)
    assert "401: wrong: *** ***" in str(refused.value)
    assert hide('a=p%26q+r&"p&q r" p%26q%20r', ["p&q r"]) == 'a=***&"***" ***'
    assert [each for each in SECRETS if each in str(refused.value)] == []


def test_a_value_of_the_environment_is_no_part_of_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    described = target(buy={"headers": {"X-Shop": "{env.SHOP_KEY}"}})
    monkeypatch.delenv("SHOP_KEY", raising=False)
    assert any("no environment variable SHOP_KEY: set it" in each for each in problems(described))
    monkeypatch.setenv("SHOP_KEY", "from outside")
    assert list(problems(described)) == []
    shopper = Shopper(Flask(__name__), buy={"headers": {"X-Shop": "{env.SHOP_KEY}"}})
    shopper.ask()
    assert shopper.asked[0].headers["X-Shop"] == "from outside"


# -- rounds -----------------------------------------------------------------------------------------------------------


def test_rounds_are_refused_where_a_new_event_is_made_that_nobody_buys_of() -> None:
    makes = {"setup": [{"path": "/shows", "body": {"name": "{event}"}, "take": {"show": "id"}}]}
    assert experiment_of({}, {"target": target(**makes)}).workload.rounds == 1
    with pytest.raises(SettingsError, match=r"rounds cannot be more than 1: \[setup\] makes a new event"):
        experiment_of({}, {"target": target(**makes), "rounds": 2})
    for told in ("{event}", "{show}"):
        described = target(**makes, buy={"body": {"of": told}})
        assert experiment_of({}, {"target": described, "rounds": 2}).workload.rounds == 2


# -- files that cannot be meant ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tables", "wanted"),
    [
        ({"buy": {"path": "/buy/{showId}"}}, "[buy] `path` has {showId}; a placeholder is lower-case"),
        ({"buy": {"path": "/a b"}}, "[buy] `path` has a space"),
        ({"buy": {"body": "{shop}"}}, "[buy] holds {shop}; it may hold {buyer}"),
        ({"buy": {"body": "{session.token}"}}, "[buy] holds {session.token}"),
        ({"buy": {"form": {"a": 1}, "body": "x"}}, "[buy] has `body` and `form`"),
        ({"buy": {"take": {"showId": "id"}}}, "`take` has 'showId'; a name must be lower-case"),
        ({"buy": {"take": {"key": "id"}}}, "`take` has `key`, which is a placeholder already"),
        ({"read": {"path": "/", "take": {"x": "id"}}}, "[read] has `take`; it may stand in [setup]"),
        ({"buy": {"take": {"x": {"field": "a", "header": "b"}}}}, "[buy] `take.x` must have exactly one of field,"),
        ({"buy": {"take": {"x": {"pattern": "("}}}}, "`pattern` is no regular expression"),
        ({"buy": {"answer": {"remaining": {"where": {"a": 1}}}}}, "[buy] `answer.remaining` must have exactly one"),
        ({"buy": {"sold_out": {"contains": "x"}}}, "`contains` and no `field` or `header`"),
        ({"buy": {"sold_out": {"text_contains": ""}}}, "has an empty text"),
        ({"buy": {"headers": {"X\nY": "a"}}}, "a header is one line"),
        ({"buy": {"poll": {"path": "/", "until": []}}}, "[buy.poll] `until` is empty"),
        ({"buy": {"poll": {"path": "/", "until": {"status": 200}, "within_s": 900}}}, "at most 60"),
        ({"buy": {"give_back": {"path": "/"}}}, "there is no [[buy.then]]"),
        ({"seats": {"list": "."}}, "[seats] has no `path`, and there is no [read]"),
        ({"seats": {"path": "/", "list": "."}}, "[buy] does not hold {seat}"),
        ({"orders": {"path": "/", "list": "."}}, "[orders] needs `order` in [buy.answer]"),
        ({"setup": {"command": ["a"], "path": "/"}}, "[setup] has `command` and a request"),
        ({"setup": [{"path": ""}]}, "[setup] `path` is ''; it must begin with /"),
        ({"setup": [{"path": "/"}, {"path": "/{x}"}]}, "[[setup]] number 2 holds {x}; it may hold"),
        ({"url": "http://me:pw@127.0.0.1:1"}, "`url` has a name or a password"),
        ({"url": "", "start": {"command": ["a", "{port}"], "directory": "{port}/{x}"}}, "[start] holds {x}"),
    ],
)
def test_what_cannot_be_meant_is_named_with_its_place(tables: dict[str, Any], wanted: str) -> None:
    assert list(problems(target())) == []
    said = list(problems(target(**tables)))
    assert any(wanted in each for each in said), said


@pytest.mark.parametrize(
    ("more", "wanted"),
    [
        ("take = { show = 5 }", "Expected `str | table`, got `int`, at `buy.take[...]`"),
        ('form = "x"', "Expected `table`, got `str`, at `buy.form`"),
        ('[[setup]]\ncommand = "ls"', "Expected `list`, got `str`, at `setup[0].command`"),
        ('[buyer]\nnew_buyer = "each"', "line 7: [buyer] has `new_buyer` 'each'; it may be once, every purchase"),
        ('[orders]\npath = "/"', "[orders] lacks `list`; it has to be there"),
    ],
)
def test_a_value_of_the_wrong_type_is_named_in_the_words_of_the_file(more: str, wanted: str, tmp_path: Path) -> None:
    path = tmp_path / "shop.toml"
    path.write_text(
        f'capacity = 5\nurl = "http://127.0.0.1:1"\n[buy]\npath = "/b"\nsold_out = {{ status = 409 }}\n{more}\n'
    )
    with pytest.raises(TargetError) as refused:
        read_target(path)
    assert wanted in str(refused.value)


def test_a_wrong_field_in_a_value_of_take_is_named(tmp_path: Path) -> None:
    path = tmp_path / "shop.toml"
    path.write_text(
        'capacity = 5\nurl = "http://127.0.0.1:1"\n[buy]\npath = "/buy"\nsold_out = { status = 409 }\n'
        'take = { id = { filed = "x" } }\n'
    )
    with pytest.raises(TargetError, match=r"line 6: \[buy.take.id\] knows no `filed` \(did you mean `field`\?\)"):
        read_target(path)
