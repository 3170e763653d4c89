"""A customer of the ticket office: asks one thing at a time, over HTTP, and records each asking.

An operation is recorded whatever happens to it, also when locust ends the user while the answer is on its way: then
the history says ``unknown``, which is the truth. Without that, a purchase that the server applied would be missing
from the history, and the audit would seem to contain a sale that nobody asked for.
"""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Iterator, Sequence
from typing import Any

import gevent
from locust.contrib.fasthttp import FastHttpSession
from locust.exception import StopUser

from loadtests.lab.answers import outcome_without_answer
from loadtests.lab.manners import Manners, OfficeManners, Request
from loadtests.lab.recorder import Operation, Outcome, Recorder

EVERY_STATUS = frozenset(range(100, 600))
RETRY_PAUSE_S = 0.05
LONGEST_PAUSE_S = 5.0
"""Who is told to come again later than this comes again now and then all the same."""
HANGS_UP_WITHIN_S = 0.02
_COME_AGAIN = frozenset({429, 503})


class HungUp(TimeoutError):
    """The buyer has not waited for the answer."""


class Sale:
    """What the customers of one locust process share: which event, who writes the history, which numbers are free.

    ``over`` is set when the run ends; ``first_process`` keeps the numbers of several locust processes apart. Without
    ``manners`` the service is an office that keeps the contract. ``time_outs`` is the share of requests that change
    something whose buyer hangs up before he has an answer. ``opens_at`` is when the doors open, by the Unix clock.
    """

    def __init__(
        self,
        event: str,
        recorder: Recorder,
        *,
        first_process: int,
        seed: int,
        retries: int,
        manners: Manners | None = None,
        time_outs: float = 0.0,
        opens_at: float | None = None,
    ) -> None:
        self.event = event
        self.recorder = recorder
        self.manners = manners or OfficeManners()
        self.retries = retries
        self.time_outs = time_outs
        self.opens_at = opens_at
        self.over = gevent.event.Event()
        self.gone = 0
        self._processes: Iterator[int] = itertools.count(first_process)
        self._seed = seed

    def next_process(self) -> int:
        return next(self._processes)

    def dice(self, process: int) -> random.Random:
        """The chances of one customer: the same seed and number decide the same."""
        return random.Random(f"{self._seed}:{process}")


class Customer:
    """One logical process of the history. After an unknown outcome it goes on under a new number."""

    def __init__(self, sessions: Sequence[FastHttpSession], sale: Sale) -> None:
        """``sessions``: one with each node of the service. Nodes are asked in turn, also for a repetition."""
        self._sessions: Sequence[Any] = sessions
        for session in sessions:
            # Every status is an answer to be read here, not an exception; a redirection is not followed, for it may
            # lead to a host that nobody meant to load; and a shop sets no cookies.
            agent: Any = session.client
            agent.valid_response_codes = EVERY_STATUS
            agent.redirect_response_codes = frozenset()
            agent.cookiejar = None
        self.sale = sale
        self._process = sale.next_process()
        self.name = f"buyer-{self._process}"
        self.dice = sale.dice(self._process)
        self._asked = 0
        self._turn = self._process

    def buy(self, quantity: int, *, intended_ns: int | None = None) -> Operation:
        """Ask for tickets; ``ok`` has the order, ``sold_out`` says what remained, where the service says it."""
        return self._mutate("buy", intended_ns, quantity=quantity)

    def cancel(self, order: str) -> Operation:
        """Give an order back."""
        return self._mutate("cancel", None, order=order)

    def hold(self, quantity: int, *, seconds: float | None = None, intended_ns: int | None = None) -> Operation:
        """Ask for tickets to be set aside; ``ok`` has the hold, which ends after ``seconds`` by the service's clock."""
        return self._mutate("hold", intended_ns, quantity=quantity, seconds=seconds)

    def confirm(self, hold: str) -> Operation:
        """Turn a hold into an order, as who has paid does; ``refused`` if it is not open and cannot be sold anew."""
        return self._mutate("confirm", None, hold=hold)

    def release(self, hold: str) -> Operation:
        """Give held tickets back."""
        return self._mutate("release", None, hold=hold)

    def read(self, *, intended_ns: int | None = None) -> Operation:
        """Look at what remains."""
        return self._ask(self._operation("read", intended_ns=intended_ns))

    def _mutate(self, op: str, intended_ns: int | None, **fields: Any) -> Operation:
        """Ask under a key of its own, and again under the same key while the outcome is unknown or the service is busy.

        Who is told by when to come again (429, 503) comes then, and not all at the same moment.
        """
        self._asked += 1
        key = f"{self._process}-{self._asked}"
        attempts = self.sale.retries + 1 if self.sale.manners.may_ask_again(op) else 1
        for attempt in range(1, attempts + 1):
            first = intended_ns if attempt == 1 else None
            operation = self._ask(self._operation(op, key=key, attempt=attempt, intended_ns=first, **fields))
            pause_s = self._pause_s(operation)
            if pause_s is None or attempt == attempts or self.sale.over.wait(pause_s):
                break
        return operation

    def _pause_s(self, operation: Operation) -> float | None:
        """How long to wait before asking again; None where the answer is one."""
        if operation.outcome == "unknown":
            return RETRY_PAUSE_S * operation.attempt
        if operation.outcome == "fail" and operation.status in _COME_AGAIN and operation.retry_after_s is not None:
            return min(operation.retry_after_s, LONGEST_PAUSE_S) * self.dice.uniform(1.0, 1.5)
        return None

    def _operation(self, op: str, **fields: Any) -> Operation:
        return Operation(
            process=self._process,
            op=op,
            event=self.sale.event,
            invoke_ns=0,
            return_ns=None,
            outcome="unknown",
            **fields,
        )

    def _ask(self, operation: Operation) -> Operation:
        if self.sale.over.is_set():
            # Also for users that locust spawns while it stops: after Ctrl-C each worker that goes makes the master
            # give its users to the others. They would write into a part that is being closed.
            raise StopUser
        request = self.sale.manners.request(operation, self.name)
        session = self._next_node(operation)
        try:
            patience_s = self._patience_s(operation)
            operation.invoke_ns = time.monotonic_ns()
            with self._send(session, request, patience_s) as response:
                if patience_s is None:
                    self._understand(operation, request.method, response, time.monotonic_ns())
                else:
                    # An answer that was faster is lost too: so it is decided beforehand how many there are.
                    response.failure(HungUp("the buyer hung up"))
        finally:
            self.sale.recorder.write(operation)
            if operation.outcome == "unknown":
                self._process = self.sale.next_process()
        return operation

    def _patience_s(self, operation: Operation) -> float | None:
        """When this buyer hangs up; None where he waits, as long as the client itself does."""
        if operation.key is None or not self.sale.time_outs or self.dice.random() >= self.sale.time_outs:
            return None
        return self.dice.uniform(0.0, HANGS_UP_WITHIN_S)

    def _send(self, session: Any, request: Request, patience_s: float | None) -> Any:
        # As an OSError it looks to the client like its own time-out: the connection is closed, and not used again.
        with gevent.Timeout(patience_s, HungUp("the buyer hung up")):
            return session.request(
                request.method,
                request.path,
                name=request.name,
                data=request.body,
                headers=request.headers,
                catch_response=True,
            )

    def _next_node(self, operation: Operation) -> Any:
        """The session that this operation is asked in; where there are several it names its node, from 1 on."""
        place = self._turn % len(self._sessions)
        self._turn += 1
        if len(self._sessions) > 1:
            operation.node = place + 1
        return self._sessions[place]

    def _understand(self, operation: Operation, method: str, response: Any, return_ns: int) -> None:
        """Put the answer into the operation, and tell locust whether it counts as a failure."""
        error = response.request_meta["exception"]
        if error is not None:
            operation.outcome = outcome_without_answer(method, error)
            response.failure(error)
        else:
            status = response.status_code
            word = self.sale.manners.understand(operation, status, response.content, response.headers)
            if operation.outcome in _FAILURES:
                operation.status = status
                response.failure(f"{status} {word}")
            else:
                response.success()
        operation.return_ns = None if operation.outcome == "unknown" else return_ns


_FAILURES: frozenset[Outcome] = frozenset({"fail", "unknown"})
