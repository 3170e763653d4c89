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
import msgspec
from locust.contrib.fasthttp import FastHttpSession
from locust.exception import StopUser

from loadtests.lab.answers import keep_fields, outcome_of, outcome_without_answer, parse
from loadtests.lab.recorder import Operation, Outcome, Recorder

EVERY_STATUS = frozenset(range(100, 600))
RETRY_PAUSE_S = 0.05


class Sale:
    """What the customers of one locust process share: which event, who writes the history, which numbers are free.

    ``over`` is set when the run ends; ``first_process`` keeps the numbers of several locust processes apart.
    """

    def __init__(self, event: str, recorder: Recorder, *, first_process: int, seed: int, retries: int) -> None:
        self.event = event
        self.recorder = recorder
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
        # Every status is an answer to be read here, not an exception; and a ticket office sets no cookies.
        agent: Any = session.client
        agent.valid_response_codes = EVERY_STATUS
        agent.cookiejar = None
        self._sale = sale
        self._process = sale.next_process()
        self.name = f"buyer-{self._process}"
        self.dice = sale.dice(self._process)
        self._asked = 0

    def buy(self, quantity: int) -> Operation:
        """Ask for tickets; ``ok`` has the order, ``sold_out`` says what remained."""
        body = {"quantity": quantity, "buyer": self.name}
        return self._mutate("buy", "POST", "/orders", body=body, quantity=quantity)

    def cancel(self, order: str) -> Operation:
        """Give an order back."""
        return self._mutate("cancel", "DELETE", f"/orders/{order}", name="/orders/<order>", order=order)

    def read(self) -> Operation:
        """Look at what remains."""
        return self._ask(self._operation("read"), "GET", "", name="")

    def _mutate(
        self, op: str, method: str, path: str, *, name: str | None = None, body: Any = None, **fields: Any
    ) -> Operation:
        """Ask under a key of its own, and ask again under the same key while the outcome is unknown."""
        self._asked += 1
        key = f"{self._process}-{self._asked}"
        for attempt in range(1, self._sale.retries + 2):
            operation = self._operation(op, key=key, attempt=attempt, **fields)
            self._ask(operation, method, path, name=path if name is None else name, body=body)
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

    def _ask(self, operation: Operation, method: str, path: str, *, name: str, body: Any = None) -> Operation:
        if self._sale.over.is_set():
            # Also for users that locust spawns while it stops: after Ctrl-C each worker that goes makes the master
            # give its users to the others. They would write into a part that is being closed.
            raise StopUser
        headers = {"Idempotency-Key": operation.key} if operation.key else {}
        if body is not None:
            headers["Content-Type"] = "application/json"
        try:
            operation.invoke_ns = time.monotonic_ns()
            with self._session.request(
                method,
                f"/events/{operation.event}{path}",
                name=f"/events/<event>{name}",
                data=msgspec.json.encode(body) if body is not None else None,
                headers=headers,
                catch_response=True,
            ) as response:
                self._understand(operation, method, response, time.monotonic_ns())
        finally:
            self._sale.recorder.write(operation)
            if operation.outcome == "unknown":
                self._process = self._sale.next_process()
        return operation

    @staticmethod
    def _understand(operation: Operation, method: str, response: Any, return_ns: int) -> None:
        """Put the answer into the operation, and tell locust whether it counts as a failure."""
        error = response.request_meta["exception"]
        if error is not None:
            operation.outcome = outcome_without_answer(method, error)
            response.failure(error)
        else:
            answer = parse(response.content)
            operation.outcome = outcome_of(operation.op, response.status_code, answer)
            keep_fields(operation, answer, response.headers)
            if operation.outcome in _FAILURES:
                operation.status = response.status_code
                response.failure(f"{response.status_code} {answer.code or 'without a code'}")
            else:
                response.success()
        operation.return_ns = None if operation.outcome == "unknown" else return_ns


_FAILURES: frozenset[Outcome] = frozenset({"fail", "unknown"})
