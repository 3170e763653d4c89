"""A client of the ticket office: sends one request at a time, over HTTP, and records each as an operation.

An operation is recorded whatever happens to it, also when locust ends the user while the answer is on its way: then
the history says ``unknown``, which is the truth. Without that, a purchase that the server applied would be missing
from the history, and the audit would seem to contain a sale that nobody asked for.
"""

from __future__ import annotations

import itertools
import logging
import random
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import Any

import gevent
from locust.contrib.fasthttp import FastHttpSession
from locust.exception import StopUser

from loadtests.lab.history.recorder import Completion, Operation, Recorder
from loadtests.lab.load.bounded_client import UNCOMPRESSED, bound
from loadtests.lab.protocol.adapter import Adapter, Exchange, Reply, Request
from loadtests.lab.protocol.carts import lines_of
from loadtests.lab.protocol.halls import Hall
from loadtests.lab.protocol.office import OfficeAdapter
from loadtests.lab.protocol.seat_map import SeatMap

RETRY_PAUSE_S = 0.05
LONGEST_PAUSE_S = 5.0
"""A client that is told to wait longer than this asks again after this time all the same."""
HANGS_UP_WITHIN_S = 0.02
ANSWERED_WITHIN_S = 60.0
"""An answer that takes longer is unknown: a server that sends a byte now and then could keep a buyer for ever."""
_COME_AGAIN = frozenset({429, 503})


_log = logging.getLogger("lastseat")


class HungUp(TimeoutError):
    """The buyer closed the connection without waiting for the answer."""


class ClientContext:
    """What the clients of one locust process share: the events, the recorder, and which process numbers are free.

    ``first_process`` keeps the numbers of several locust processes apart. The default ``adapter`` is that of an office
    that keeps the contract. ``time_outs`` is the share of mutations whose buyer hangs up before the answer.
    ``opens_at`` is when the doors open, by the Unix clock. ``hall`` is that of the events, where they have one.
    ``over`` is set when the run ends. A client sets ``sells_carts`` to False when the service says that it sells no
    carts.
    """

    def __init__(
        self,
        events: Sequence[str],
        recorder: Recorder,
        *,
        first_process: int,
        seed: int,
        retries: int,
        adapter: Adapter | None = None,
        time_outs: float = 0.0,
        opens_at: float | None = None,
        hall: Hall | None = None,
    ) -> None:
        self.events = events
        self.sells_carts = True
        self.recorder = recorder
        self.adapter = adapter or OfficeAdapter()
        self.retries = retries
        self.time_outs = time_outs
        self.opens_at = opens_at
        self.hall = hall
        self.over = gevent.event.Event()
        self.gone = 0
        self._processes: Iterator[int] = itertools.count(first_process)
        self._seed = seed

    @property
    def event(self) -> str:
        """The only event, where the workload has one."""
        return self.events[0]

    def next_process(self) -> int:
        return next(self._processes)

    def rng_of(self, process: int) -> random.Random:
        """The random numbers of one client: the same for the same seed and process."""
        return random.Random(f"{self._seed}:{process}")


class Client:
    """One logical process of the history. After an unknown outcome it continues under a new number."""

    def __init__(self, sessions: Sequence[FastHttpSession], context: ClientContext) -> None:
        """``sessions``: one with each node of the service. The nodes are asked in turn, also for a retry."""
        self._sessions: Sequence[Any] = sessions
        for session in sessions:
            bound(session.client)
        self.context = context
        self._process = context.next_process()
        self.buyer = context.adapter.buyer(self._process)
        self.rng = context.rng_of(self._process)
        self._asked = 0
        self._turn = self._process

    def buy(
        self, quantity: int, *, event: str | None = None, intended_ns: int | None = None, **seats: Any
    ) -> Operation:
        """Ask for tickets; ``ok`` has the order, ``sold_out`` says what remained, where the service says it.

        ``seats`` says which, of an event with a hall: those ``wanted``, or ``together``, or in a ``section``.
        """
        return self._mutate("buy", event, intended_ns, quantity=quantity, **seats)

    def buy_together(self, items: Mapping[str, int], *, intended_ns: int | None = None) -> list[Operation]:
        """Ask for tickets of several events in one cart, all or none; a line for each event."""

        def lines(key: str, attempt: int) -> list[Operation]:
            # In a history a process does one thing at a time: each further event has one of its own, this once.
            others = [self.context.next_process() for _ in range(len(items) - 1)]
            cart = lines_of(key, items, [self._process, *others], attempt)
            for line in cart:
                line.intended_ns = intended_ns if attempt == 1 else None
            return cart

        return self._until_answered("buy", lines)

    def cancel(self, order: str, *, event: str | None = None) -> Operation:
        """Give an order back."""
        return self._mutate("cancel", event, None, order=order)

    def hold(
        self,
        quantity: int,
        *,
        event: str | None = None,
        seconds: float | None = None,
        intended_ns: int | None = None,
        **seats: Any,
    ) -> Operation:
        """Ask for tickets to be set aside; ``ok`` has the hold, which ends after ``seconds`` by the service's clock.

        ``seats`` is as in ``buy``.
        """
        return self._mutate("hold", event, intended_ns, quantity=quantity, seconds=seconds, **seats)

    def confirm(self, hold: str, *, event: str | None = None) -> Operation:
        """Turn a hold into an order, after the payment; ``refused`` if it is not open and cannot be sold anew."""
        return self._mutate("confirm", event, None, hold=hold)

    def release(self, hold: str, *, event: str | None = None) -> Operation:
        """Give held tickets back."""
        return self._mutate("release", event, None, hold=hold)

    def read(self, *, event: str | None = None, intended_ns: int | None = None) -> Operation:
        """Look at what remains."""
        return self._ask([self._operation("read", event, intended_ns=intended_ns)])[0]

    def look(self, seat_map: SeatMap, *, event: str | None = None, intended_ns: int | None = None) -> Operation:
        """Look at the seats, which brings ``seat_map`` up to date; it stays as it is where no answer came.

        What is asked next is asked of the same node: of nodes that share no store, only that one has what it showed.
        """
        looked = self._ask([self._operation("read", event, intended_ns=intended_ns)], seat_map)[0]
        self._turn -= 1
        return looked

    def _mutate(self, op: str, event: str | None, intended_ns: int | None, **fields: Any) -> Operation:
        def line(key: str, attempt: int) -> list[Operation]:
            first = intended_ns if attempt == 1 else None
            return [self._operation(op, event, key=key, attempt=attempt, intended_ns=first, **fields)]

        return self._until_answered(op, line)[0]

    def _until_answered(self, op: str, lines: Callable[[str, int], list[Operation]]) -> list[Operation]:
        """Ask under a fresh key, and again under the same key while the outcome is unknown or the service is busy.

        After a 429 or 503 that names a time the client waits that long and a random time more, so that clients do not
        return at the same moment.
        """
        self._asked += 1
        key = self.context.adapter.key(f"{self._process}-{self._asked}")
        attempts = self.context.retries + 1 if self.context.adapter.may_ask_again(op) else 1
        for attempt in range(1, attempts + 1):
            asked = self._ask(lines(key, attempt))
            pause_s = self._pause_s(asked[0])
            if pause_s is None or attempt == attempts or self.context.over.wait(pause_s):
                break
        return asked

    def _pause_s(self, operation: Operation) -> float | None:
        """How long to wait before asking again; None where the answer is final."""
        if operation.outcome == "unknown":
            return RETRY_PAUSE_S * operation.attempt
        if operation.outcome == "fail" and operation.status in _COME_AGAIN and operation.retry_after_s is not None:
            return min(operation.retry_after_s, LONGEST_PAUSE_S) * self.rng.uniform(1.0, 1.5)
        return None

    def _operation(self, op: str, event: str | None, **fields: Any) -> Operation:
        return Operation(
            process=self._process,
            op=op,
            event=event or self.context.event,
            invoke_ns=0,
            return_ns=None,
            outcome="unknown",
            **fields,
        )

    def _ask(self, lines: list[Operation], seat_map: SeatMap | None = None) -> list[Operation]:
        """Ask for the operations: as many requests as the service needs; and record a line for each event."""
        if self.context.over.is_set():
            # Also for users that locust spawns while it stops: after Ctrl-C each worker that goes makes the master
            # give its users to the others. They would write into a shard that is being closed.
            raise StopUser
        session, adapter = self._next_node(lines), self.context.adapter
        exchange = Exchange(lines, self.buyer, session.base_url or "", seat_map=seat_map)
        try:
            for line in lines:
                line.invoke_ns = time.monotonic_ns()
            if self._converse(adapter.prepare(exchange), session, exchange):
                self._converse(adapter.converse(exchange), session, exchange, self._patience_s(lines[0]), is_timed=True)
        except Exception:
            # A fault of the lab in building a request or reading an answer must not end the run.
            _log.exception("an answer could not be dealt with, so its outcome is unknown")
        finally:
            for line in exchange.records:
                if line.return_ns is None:
                    line.outcome = "unknown"
                self.context.recorder.write(line)
            if any(line.outcome == "unknown" for line in lines):
                self._process = self.context.next_process()
        return lines

    def _converse(
        self,
        conversation: Generator[Request, Reply, Any],
        session: Any,
        exchange: Exchange,
        patience_s: float | None = None,
        *,
        is_timed: bool = False,
    ) -> Any:
        """Send what a conversation asks for until it has ended; returns what it returns.

        A timed one is what its operations are about: they span from its first request to its last answer.
        """
        lines, answered_ns = exchange.lines, 0
        request, result = _go_on(conversation, None)
        if is_timed:
            began_ns = time.monotonic_ns()
            for line in (*lines, *exchange.records):
                line.invoke_ns = began_ns
        while request is not None:
            if request.after_s:
                gevent.sleep(request.after_s)
            with self._send(session, request, patience_s) as response:
                reply = self._reply(response, patience_s)
                request, result = _go_on(conversation, reply)
                failed = [line for line in lines if line.outcome in _FAILURES] if request is None and is_timed else []
                is_in_vain = result is False and lines[0].outcome == "fail"
                if reply.error is not None:
                    response.failure(reply.error)
                elif len(failed) == len(lines) or is_in_vain:
                    response.failure(f"{reply.status} {exchange.word}")
                else:
                    response.success()
            for line in failed:
                line.status = reply.status if reply.error is None else None
            patience_s, answered_ns = None, reply.at_ns
        if is_timed:
            for line in lines:
                line.return_ns = None if line.outcome == "unknown" else answered_ns or time.monotonic_ns()
        return result

    def _patience_s(self, operation: Operation) -> float | None:
        """After how long this buyer hangs up; None where they wait for the answer."""
        if operation.key is None or not self.context.time_outs or self.rng.random() >= self.context.time_outs:
            return None
        return self.rng.uniform(0.0, HANGS_UP_WITHIN_S)

    def _send(self, session: Any, request: Request, patience_s: float | None) -> Any:
        # As an OSError it looks to locust's client like its own time-out: it closes the connection.
        with gevent.Timeout(ANSWERED_WITHIN_S if patience_s is None else patience_s, HungUp("the buyer hung up")):
            return session.request(
                request.method,
                request.path,
                name=request.name,
                data=request.body,
                headers=UNCOMPRESSED | request.headers,
                catch_response=True,
            )

    def _next_node(self, lines: Sequence[Operation]) -> Any:
        """The session of the next node; where there are several nodes the lines name theirs, from 1 on."""
        place = self._turn % len(self._sessions)
        self._turn += 1
        if len(self._sessions) > 1:
            for line in lines:
                line.node = place + 1
        return self._sessions[place]

    def _reply(self, response: Any, patience_s: float | None) -> Reply:
        at_ns = time.monotonic_ns()
        # An answer that came before the time-out is discarded too: the share is as it was asked for.
        error = HungUp("the buyer hung up") if patience_s is not None else response.request_meta["exception"]
        if error is not None:
            return Reply(0, None, {}, at_ns, error)
        return Reply(response.status_code, response.content, response.headers, at_ns)


def _go_on(conversation: Generator[Request, Reply, Any], reply: Reply | None) -> tuple[Request | None, Any]:
    """The next request of a conversation, or None and what it has returned."""
    try:
        return (next(conversation) if reply is None else conversation.send(reply)), None
    except StopIteration as end:
        return None, end.value


_FAILURES: frozenset[Completion] = frozenset({"fail", "unknown"})
