"""How a service is asked that a target file describes: who asks, and which requests make one operation.

A purchase may have several requests. In the history it is one operation, from the first request to the last answer. If
it stops half way, an earlier request may have set tickets aside, and nobody knows for how long: then the history has a
hold, and a confirmation that is unknown. Where the service has been told to give them back, it has the hold's release.
"""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Generator, Mapping
from typing import Any

import msgspec

from loadtests.lab.history.recorder import Operation
from loadtests.lab.protocol.adapter import Adapter, BuyerIdentity, Conversation, Exchange, Reply, Request
from loadtests.lab.protocol.answers import outcome_without_answer
from loadtests.lab.target.cookies import Cookies
from loadtests.lab.target.filling import CannotBeFilled, fill
from loadtests.lab.target.masking import opened
from loadtests.lab.target.placeholders import SESSION
from loadtests.lab.target.reading import AnswerView, elements, fits, look_up, meets, take
from loadtests.lab.target.tables import Outcomes, Poll, RequestStep, Target, placeholders
from loadtests.lab.target.understanding import Understanding, identity, is_ok

NUMBERS = 1 << 31
"""Buyers' numbers are below it: many services keep them in a column of 32 bits."""
_SHARDS = 64


class RunValues(msgspec.Struct, frozen=True):
    """What is new in every run: a mark for names, the values of the set-up, which process of the load this is."""

    mark: str = ""
    values: Mapping[str, Any] = {}
    capacity: int | None = None
    shard: int = 0


class StepFailed(Exception):
    """A step did not do what it should; the message says what came instead."""

    def __init__(self, why: str, reply: Reply | None = None) -> None:
        super().__init__(why)
        self.status = reply.status if reply is not None and reply.error is None else None


class TargetAdapter(Adapter):
    """The protocol of one target."""

    def __init__(self, target: Target, run: RunValues | None = None) -> None:
        self._target, values = opened(target)
        self._run = run or RunValues()
        self._values = {**values, **self._run.values}
        self._capacity = target.capacity if self._run.capacity is None else self._run.capacity
        self._rng = random.Random(self._run.mark)
        self._first_number = self._rng.randrange(1, NUMBERS // 2) // _SHARDS * _SHARDS + self._run.shard % _SHARDS
        self._buyers = 0
        self._dismissed: list[BuyerIdentity] = []
        self._understanding = Understanding(self._capacity)

    # -- who asks ------------------------------------------------------------------------------------------------

    def buyer(self, process: int) -> BuyerIdentity:
        """A buyer with a name and a number that no other has, in this run or an earlier one.

        Who arrives in the open loop may be somebody who has logged in before and asks for nothing any more: then
        arrivals do not all log in first.
        """
        if self._dismissed:
            return self._dismissed.pop()
        buyer = BuyerIdentity(f"buyer-{self._run.mark}-{process}" if self._run.mark else f"buyer-{process}")
        self._renew(buyer, buyer.name)
        return buyer

    def dismiss(self, buyer: BuyerIdentity) -> None:
        """Keep who has logged in for the next arrival."""
        if self._target.buyer.steps and buyer.is_known:
            self._dismissed.append(buyer)

    def key(self, name: str) -> str:
        """A key that is new in every run: a service that remembers keys must not repeat the last run's answers."""
        return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{self._run.mark}-{name}")) if self._run.mark else name

    def _renew(self, buyer: BuyerIdentity, name: str) -> None:
        buyer.name, buyer.number = name, self._first_number + self._buyers * _SHARDS
        buyer.is_known, buyer.values, buyer.cookies = False, {}, Cookies()
        self._buyers += 1

    def prepare(self, exchange: Exchange) -> Generator[Request, Reply, bool]:
        """Log in, if this buyer has not yet; choose a seat, where they are chosen."""
        line, buyer = exchange.lines[0], exchange.buyer
        is_purchase = line.op == "buy" and line.attempt == 1
        if is_purchase and buyer.is_known and self._target.buyer.new_buyer == "every purchase":
            self._renew(buyer, f"{buyer.name.partition('x')[0]}x{self._buyers}")
        try:
            if not buyer.is_known:
                for step in self._target.buyer.steps:
                    yield from self._step("buyer.steps", step, exchange, {}, keep=SESSION)
                buyer.is_known = True
            return True if self._target.seats is None or line.op != "buy" else (yield from self._choose(exchange))
        except StepFailed as error:
            self._understanding.note(str(error))
            exchange.word = str(error)
            line.outcome, line.status, line.return_ns = "fail", error.status, time.monotonic_ns()
            return False

    def _choose(self, exchange: Exchange) -> Generator[Request, Reply, bool]:
        """Let the buyer choose one of the free seats; whether there is one. A repetition is of the same seat."""
        line, buyer, seats = exchange.lines[0], exchange.buyer, self._target.seats
        if seats is None:
            return True
        if line.attempt == 1:
            step = seats if seats.path or self._target.read is None else self._target.read
            listed = elements((yield from self._step("seats", step, exchange, {})), seats.list)
            if listed is None:
                raise StepFailed(f"the answer to [seats] {step.method} {step.path} has no list at `{seats.list}`")
            free = [look_up(each, seats.id) for each in listed if fits(each, seats.free)]
            named = [each for each in free if identity(each) is not None]
            if not named:
                line.outcome, exchange.records = "sold_out", []
                return False
            buyer.values["seat"] = self._rng.choice(named)
        line.seat = str(buyer.values["seat"])
        return True

    # -- one request ---------------------------------------------------------------------------------------------

    def _step(
        self, name: str, step: RequestStep, exchange: Exchange, values: dict[str, Any], *, keep: str = ""
    ) -> Generator[Request, Reply, AnswerView]:
        """A step that has to succeed; what it takes is kept. Raises ``StepFailed``."""
        reply, reading = yield from self._send(step, exchange, values)
        if reply.error is not None:
            raise StepFailed(f"[{name}] {step.method} {step.path} was not answered: {reply.error}", reply)
        if not is_ok(step, reading):
            raise StepFailed(f"[{name}] {step.method} {step.path} was answered with status {reply.status}", reply)
        for value_name, source in step.take.items():
            found = take(source, reading, self._capacity)
            if found is None:
                raise StepFailed(f"the answer to [{name}] {step.method} {step.path} has no `{value_name}`", reply)
            (exchange.buyer.values if keep else values)[keep + value_name] = found
        return reading

    def _send(
        self, step: RequestStep, exchange: Exchange, values: Mapping[str, Any], after_s: float = 0.0
    ) -> Generator[Request, Reply, tuple[Reply, AnswerView]]:
        """One request with the buyer's cookies. Raises ``StepFailed`` where it cannot be made, and nothing was sent."""
        buyer = exchange.buyer
        event = exchange.lines[0].event
        known = {"buyer": buyer.name, "buyer_number": buyer.number, "capacity": self._capacity, "event": event}
        try:
            request = fill(step, {**self._values, **known, **buyer.values, **values}, exchange.url)
        except CannotBeFilled as error:
            raise StepFailed(f"{step.method} {step.path}: {error}") from None
        address = request.address(exchange.url)
        keeps_cookies = self._target.buyer.cookies
        headers = request.headers | (buyer.cookies.header(address) if keeps_cookies else {})
        reply = yield msgspec.structs.replace(request, headers=headers, after_s=after_s)
        reading = AnswerView(reply.status, reply.body, reply.headers)
        if keeps_cookies and reply.error is None:
            buyer.cookies.keep(address, reading)
        return reply, reading

    # -- one operation -------------------------------------------------------------------------------------------

    def understand(self, operation: Operation, status: int, body: bytes | None, headers: Mapping[str, str]) -> str:
        """The answer to an operation's first request. Where a purchase has more of them, it is no sale yet."""
        reading = AnswerView(status, body, headers)
        word = self._understanding.understand(self._step_of(operation.op), operation, reading)
        if operation.op == "buy" and operation.outcome == "ok" and len(self._target.buy.steps) > 1:
            operation.outcome, word = "unknown", "not the last step"
        return word

    def may_ask_again(self, op: str) -> bool:
        """Only where the service is told the key: else a second request would be a second purchase."""
        steps = [self._target.buy, *self._target.buy.then] if op == "buy" else [self._step_of(op)]
        return all("key" in placeholders(step) for step in steps)

    def converse(self, exchange: Exchange) -> Conversation:
        """Send all requests of an operation, and note in the exchange what came out."""
        line = exchange.lines[0]
        if line.op == "buy":
            yield from self._purchase(exchange)
        else:
            yield from self._ask(self._step_of(line.op), exchange, _facts(line))

    def _step_of(self, op: str) -> Outcomes:
        step = getattr(self._target, op, None)
        if not isinstance(step, Outcomes):
            raise TypeError(f"the target file has no table [{op}]")
        return step

    def _purchase(self, exchange: Exchange) -> Conversation:
        """The requests of a purchase. The exchange's records are right whenever it is broken off."""
        line, buy = exchange.lines[0], self._target.buy
        steps, values, held = [buy, *buy.then], _facts(line), False
        for step in steps:
            is_last = step is steps[-1]
            sets_aside = step.reserves and not is_last and not held
            if sets_aside:
                exchange.records = [_hold(line)]
            reading = yield from self._ask(step, exchange, values)
            if sets_aside and line.outcome == "ok":
                held, exchange.records = True, _held(exchange.records[0])
            took_all = reading is None or line.outcome != "ok" or self._keep_values(step, reading, values)
            if not took_all and (buy.poll is not None or not is_last):
                line.outcome = "unknown"  # the purchase cannot go on, and it was not refused
            if line.outcome == "unknown" and not step.reserves and not is_last:
                line.outcome = "fail"
            if line.outcome != "ok":
                break
        else:
            if buy.poll is not None:
                yield from self._poll(buy.poll, exchange, values)
        if held and line.outcome != "ok":
            yield from self._give_back(exchange, values)
        elif held or not (sets_aside and line.outcome == "unknown"):
            exchange.records = exchange.lines

    def _poll(self, poll: Poll, exchange: Exchange, values: dict[str, Any]) -> Conversation:
        """Ask until the answer is a refusal, or as ``until`` says; without one the outcome is unknown."""
        line, deadline = exchange.lines[0], time.monotonic() + poll.within_s
        line.outcome = "unknown"
        while time.monotonic() < deadline:
            try:
                reply, reading = yield from self._send(poll, exchange, values, after_s=poll.every_s)
            except StepFailed as error:
                self._understanding.note(str(error))
                break
            is_last = any(meets(words, reading) for words in (poll.until, poll.sold_out, poll.definite))
            if reply.error is None and is_last:
                exchange.word = self._understanding.understand(poll, line, reading)
                return
        exchange.word = "no last answer"

    def _give_back(self, exchange: Exchange, values: dict[str, Any]) -> Conversation:
        """Undo what a purchase has done that did not come to its end; without that nobody knows what became of it."""
        line, step, held = exchange.lines[0], self._target.buy.give_back, exchange.records[0]
        line.outcome = "unknown"
        if step is None:
            self._understanding.note("a purchase stopped half way, and [buy.give_back] does not say how it is undone")
            return
        release = _after(held, "release")
        exchange.records = [held, release]
        try:
            yield from self._step("buy.give_back", step, exchange, values)
        except StepFailed as error:
            self._understanding.note(str(error))
        else:
            release.outcome, release.return_ns = "ok", time.monotonic_ns()
            line.outcome = "fail"

    def _ask(
        self, step: Outcomes, exchange: Exchange, values: Mapping[str, Any]
    ) -> Generator[Request, Reply, AnswerView | None]:
        """Send one request; its answer decides the outcome, until a later request of the purchase does."""
        line = exchange.lines[0]
        line.outcome = "unknown"
        try:
            reply, reading = yield from self._send(step, exchange, values)
        except StepFailed as error:
            self._understanding.note(str(error))
            line.outcome, exchange.word = "fail", str(error)
            return None
        if reply.error is not None:
            line.outcome = outcome_without_answer(step.method, reply.error)
            return None
        exchange.word = self._understanding.understand(step, line, reading)
        return reading

    def _keep_values(self, step: RequestStep, reading: AnswerView, values: dict[str, Any]) -> bool:
        """Keep what a step takes; whether all of it was there."""
        for name, source in step.take.items():
            found = take(source, reading, self._capacity)
            if found is None:
                self._understanding.note(
                    f"an answer to {step.method} {step.path} has no `{name}` where `take` looks for it"
                )
                return False
            values[name] = found
        return True

    def notes(self) -> list[str]:
        return self._understanding.notes()


def _facts(line: Operation) -> dict[str, Any]:
    """What is to be bought or given back, by the names of the placeholders."""
    facts = {name: getattr(line, name) for name in ("event", "key", "quantity", "order")}
    return {name: value for name, value in facts.items() if value is not None}


def _hold(line: Operation) -> Operation:
    """The first half of a purchase as the history has it: tickets that are set aside, nobody knows for how long."""
    name = f"{line.key}-half{line.attempt}"
    return msgspec.structs.replace(line, op="hold", key=f"{name}-hold", hold=name, attempt=1, outcome="unknown")


def _held(hold: Operation) -> list[Operation]:
    """After the first half: the hold, and a confirmation of which nothing is known yet."""
    hold.outcome, hold.return_ns = "ok", time.monotonic_ns()
    return [hold, _after(hold, "confirm")]


def _after(hold: Operation, op: str) -> Operation:
    key = f"{hold.hold}-{op}"
    fresh = {"outcome": "unknown", "invoke_ns": time.monotonic_ns(), "return_ns": None, "quantity": None}
    return msgspec.structs.replace(hold, op=op, key=key, intended_ns=None, **fresh)
