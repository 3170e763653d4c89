"""Listening until every buyer is at rest: stands at a gate, waits for somebody, or has come to the end of the program.

Who waits for a guard is kept at a gate too, and tries again when the guard was given back: of several the one who has
waited longest. So it is not the machine who decides who gets it.
"""

from __future__ import annotations

import contextlib
import queue
import time
from collections.abc import Collection, Mapping, Sequence

from loadtests.lab.explore.buyers import ScheduledBuyer
from loadtests.lab.explore.trace import Trace
from loadtests.lab.servers.gate_server import Answered, Arrival, Finished, GateServer, Happening

PATIENCE_S = 30.0
_WAKE_S = 10.0
_IN_A_TRANSACTION = frozenset({"view", "append", "release", "durable"})


class Stuck(Exception):
    """No buyer can continue and some have no answer. The message says who waits, and who continued last."""


class Settling:
    """The buyers of one execution, and what is heard of them."""

    def __init__(
        self, gate_server: GateServer, buyers: Sequence[ScheduledBuyer], letters: Mapping[str, str], trace: Trace
    ) -> None:
        """``letters``: the letter of each event by its name."""
        self.buyers = buyers
        self.gates: Collection[str] = ()
        """The gates at which buyers are held; all other gates are open."""
        self.ended = False
        """The execution has ended: what is heard now is no part of it."""
        self.has_combiner = False
        """A process decides for all workers, one request after the other, and takes the next by itself."""
        self._gate_server = gate_server
        self._letters = letters
        self._trace = trace
        self._by_name = {buyer.name: buyer for buyer in buyers}
        self._waiting: list[ScheduledBuyer] = []
        """Who waits, in the order in which they came."""
        self._given_back: set[str] = set()
        """The letters of the events whose guard was given back since all were at rest."""

    def settle(self) -> None:
        """Listen until every buyer is at rest, and whoever can have a guard that was given back has it."""
        self._listen()
        while (buyer := next(filter(self._can_try, self._waiting), None)) is not None:
            self._given_back.discard(buyer.blocked_on)
            self._let_try(buyer)
        self._given_back.clear()
        if not any(buyer.able for buyer in self.buyers):
            for buyer in [buyer for buyer in self.buyers if buyer.blocked_on]:
                self._let_try(buyer)  # until it is told that it took too long

    def open(self, buyer: ScheduledBuyer, arrival: Arrival, word: str = "go") -> None:
        """Let a buyer through a gate."""
        if arrival.gate == "view":
            buyer.inside = True
        if arrival.gate == "release":
            self.gives_back(buyer)
        if self.has_combiner and arrival.gate == "acquire" and any(each.is_combined for each in self.buyers):
            buyer.blocked_on = self._letters[arrival.event]
            self._waiting.append(buyer)
        self._gate_server.let_go(arrival, word)

    def gives_back(self, buyer: ScheduledBuyer) -> None:
        """The guard of a buyer who had it is free."""
        if buyer.inside:
            buyer.inside = False
            self._given_back.update(buyer.events)

    def loses(self, buyer: ScheduledBuyer) -> None:
        """The process that handled the request is gone."""
        buyer.arrival = None
        self._stops_waiting(buyer)
        buyer.inside = True
        self.gives_back(buyer)

    def hear_what_is_left(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                self._hear(self._gate_server.happenings.get_nowait())

    def who_waits(self) -> str:
        states = "; ".join(f"{buyer.name} {buyer.state}" for buyer in self.buyers)
        last = next((step.buyer for step in reversed(self._trace.steps) if step.buyer), "nobody")
        return f"nobody can go on: {states}; the last to go on was {last}"

    # -- waiting --------------------------------------------------------------------------------------------------

    def _listen(self) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not all(buyer.at_rest for buyer in self.buyers):
            self._hear_within(deadline - time.monotonic())

    def _can_try(self, buyer: ScheduledBuyer) -> bool:
        note = buyer.waits_at.note if buyer.waits_at is not None else ""
        if note != "switching":
            return buyer.blocked_on in self._given_back
        others = [other for other in self.buyers if other is not buyer]
        if buyer.operation.verb == "switch":
            return not any(_in_a_transaction(other) for other in others)
        return not any(other.operation.verb == "switch" and other.blocked_on for other in others)

    def _let_try(self, buyer: ScheduledBuyer) -> None:
        """Let a buyer who waits try again, and listen until all are at rest; one who still waits is left trying."""
        event, waits_at = buyer.blocked_on, buyer.waits_at
        self._stops_waiting(buyer)
        if waits_at is not None:
            self._gate_server.let_go(waits_at)
        deadline = time.monotonic() + _WAKE_S
        with contextlib.suppress(Stuck):
            while not buyer.at_rest:
                self._hear_within(deadline - time.monotonic())
        if not buyer.at_rest:
            buyer.blocked_on = event
        self._listen()

    def _stops_waiting(self, buyer: ScheduledBuyer) -> None:
        buyer.blocked_on, buyer.waits_at = "", None
        self._waiting = [waiting for waiting in self._waiting if waiting is not buyer]

    def _hear_within(self, seconds: float) -> None:
        try:
            self._hear(self._gate_server.happenings.get(timeout=max(0.01, seconds)))
        except queue.Empty:
            raise Stuck(self.who_waits()) from None

    # -- hearing --------------------------------------------------------------------------------------------------

    def _hear(self, heard: Happening) -> None:
        if isinstance(heard, Arrival):
            buyer = self._whose(heard)
            if buyer is None:
                self._gate_server.let_go(heard)
            else:
                self._come(buyer, heard)
        elif isinstance(heard, Finished):
            self._by_name[heard.buyer].finished = True
        else:
            self._take_answer(self._by_name[heard.buyer], heard)

    def _whose(self, arrival: Arrival) -> ScheduledBuyer | None:
        """The buyer whose request it is: known by the thread, or the one who was sent last and is nowhere yet."""
        if arrival.event and arrival.event not in self._letters:
            return None
        if arrival.gate == "invoke":
            return self._by_name[arrival.keys[0]]
        by_thread = [
            each for each in self.buyers if each.pid and (each.pid, each.thread) == (arrival.pid, arrival.thread)
        ]
        under_way = [each for each in self.buyers if each.started and not each.finished]
        by_key = [each for each in under_way if each.key in arrival.keys]
        nowhere = [each for each in by_key or under_way if each.arrival is None and not each.pid]
        return next(iter([*by_thread, *nowhere, *by_key]), None)

    def _come(self, buyer: ScheduledBuyer, heard: Arrival) -> None:
        buyer.pid, buyer.thread = heard.pid, heard.thread if heard.pid else 0
        if heard.gate in {"invoke", "acquire"}:
            buyer.worker = heard.pid
        buyer.was_combined |= buyer.is_combined
        event = self._letters.get(heard.event, buyer.events[0])
        self._stops_waiting(buyer)
        if heard.note:
            buyer.blocked_on, buyer.waits_at = event, heard
            self._waiting.append(buyer)
            return
        if not self.ended:
            self._trace.learn(buyer, event, heard)
        if heard.gate in self.gates and not buyer.operation.before:
            buyer.arrival = heard
        else:
            self.open(buyer, heard)

    def _take_answer(self, buyer: ScheduledBuyer, answered: Answered) -> None:
        if not self.ended and not buyer.operation.before:
            self._trace.answered(buyer, answered)
        self.gives_back(buyer)
        self._stops_waiting(buyer)
        killed, buyer.killed = buyer.killed, False
        buyer.pid, buyer.thread, buyer.arrival = 0, 0, None
        if answered.status == 0 and not killed and not self.ended:
            raise Stuck(f"{buyer.name}'s worker died by itself, or closed the connection without an answer")


def _in_a_transaction(buyer: ScheduledBuyer) -> bool:
    """Whether a switch of the guard waits for the buyer's request."""
    at = buyer.arrival.gate if buyer.arrival is not None else ""
    return at in _IN_A_TRANSACTION or (buyer.waits_at is not None and buyer.waits_at.note == "blocked")
