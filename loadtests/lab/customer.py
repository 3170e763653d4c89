"""A customer of the ticket office: asks one thing at a time, over HTTP, and records each asking.

An operation is recorded whatever happens to it, also when locust ends the user while the answer is on its way: then
the history says ``unknown``, which is the truth. Without that, a purchase that the server applied would be missing
from the history, and the audit would seem to contain a sale that nobody asked for.
"""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Iterator
from typing import Any

import gevent
from locust.contrib.fasthttp import FastHttpSession
from locust.exception import StopUser

from loadtests.lab.answers import outcome_without_answer
from loadtests.lab.manners import Manners, OfficeManners
from loadtests.lab.recorder import Operation, Outcome, Recorder

EVERY_STATUS = frozenset(range(100, 600))
RETRY_PAUSE_S = 0.05


class Sale:
    """What the customers of one locust process share: which event, who writes the history, which numbers are free.

    ``over`` is set when the run ends; ``first_process`` keeps the numbers of several locust processes apart. Without
    ``manners`` the service is an office that keeps the contract.
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
    ) -> None:
        self.event = event
        self.recorder = recorder
        self.manners = manners or OfficeManners()
        self.retries = retries
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

    def __init__(self, session: FastHttpSession, sale: Sale) -> None:
        self._session: Any = session
        # Every status is an answer to be read here, not an exception; a redirection is not followed, for it may lead
        # to a host that nobody meant to load; and a shop sets no cookies.
        agent: Any = session.client
        agent.valid_response_codes = EVERY_STATUS
        agent.redirect_response_codes = frozenset()
        agent.cookiejar = None
        self._sale = sale
        self._process = sale.next_process()
        self.name = f"buyer-{self._process}"
        self.dice = sale.dice(self._process)
        self._asked = 0

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
        """Ask under a key of its own, and ask again under the same key while the outcome is unknown."""
        self._asked += 1
        key = f"{self._process}-{self._asked}"
        attempts = self._sale.retries + 1 if self._sale.manners.may_ask_again(op) else 1
        for attempt in range(1, attempts + 1):
            first = intended_ns if attempt == 1 else None
            operation = self._ask(self._operation(op, key=key, attempt=attempt, intended_ns=first, **fields))
            if operation.outcome != "unknown" or self._sale.over.is_set():
                break
            gevent.sleep(RETRY_PAUSE_S * attempt)
        return operation

    def _operation(self, op: str, **fields: Any) -> Operation:
        return Operation(
            process=self._process,
            op=op,
            event=self._sale.event,
            invoke_ns=0,
            return_ns=None,
            outcome="unknown",
            **fields,
        )

    def _ask(self, operation: Operation) -> Operation:
        if self._sale.over.is_set():
            # Also for users that locust spawns while it stops: after Ctrl-C each worker that goes makes the master
            # give its users to the others. They would write into a part that is being closed.
            raise StopUser
        request = self._sale.manners.request(operation, self.name)
        try:
            operation.invoke_ns = time.monotonic_ns()
            with self._session.request(
                request.method,
                request.path,
                name=request.name,
                data=request.body,
                headers=request.headers,
                catch_response=True,
            ) as response:
                self._understand(operation, request.method, response, time.monotonic_ns())
        finally:
            self._sale.recorder.write(operation)
            if operation.outcome == "unknown":
                self._process = self._sale.next_process()
        return operation

    def _understand(self, operation: Operation, method: str, response: Any, return_ns: int) -> None:
        """Put the answer into the operation, and tell locust whether it counts as a failure."""
        error = response.request_meta["exception"]
        if error is not None:
            operation.outcome = outcome_without_answer(method, error)
            response.failure(error)
        else:
            status = response.status_code
            word = self._sale.manners.understand(operation, status, response.content, response.headers)
            if operation.outcome in _FAILURES:
                operation.status = status
                response.failure(f"{status} {word}")
            else:
                response.success()
        operation.return_ns = None if operation.outcome == "unknown" else return_ns


_FAILURES: frozenset[Outcome] = frozenset({"fail", "unknown"})
