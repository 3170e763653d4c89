"""Services that the lab does not know, as Flask applications, and a buyer before them without a network."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
from flask import Flask
from werkzeug.serving import make_server

from loadtests.lab.history.recorder import Operation
from loadtests.lab.protocol.adapter import Exchange, Reply, Request
from loadtests.lab.target.adapter import RunValues, TargetAdapter
from loadtests.lab.target.tables import Target

URL = "http://127.0.0.1:1"


def target(**tables: Any) -> Target:
    """A target of the smallest file, and what is given over it."""
    content: dict[str, Any] = {"capacity": 5, "url": URL, "buy": {"path": "/buy", "sold_out": {"status": 409}}}
    for name, value in tables.items():
        both = isinstance(value, dict) and isinstance(content.get(name), dict)
        content[name] = content[name] | value if both else value
    return msgspec.convert(content, type=Target)


class Shopper:
    """One buyer of a target whose service is a Flask application."""

    def __init__(self, app: Flask, run: RunValues | None = None, **tables: Any) -> None:
        self.adapter = TargetAdapter(target(**tables), run)
        self.buyer = self.adapter.buyer(1)
        self.asked: list[Request] = []
        self._browser = app.test_client(use_cookies=False)
        self._operations = 0

    def ask(self, op: str = "buy", steps: int = 99, **fields: Any) -> Exchange:
        """One operation, from what a buyer does before it to its last answer; broken off after so many requests."""
        self._operations += 1
        fields = {"key": self.adapter.key(f"1-{self._operations}"), "quantity": 1} | fields
        line = Operation(
            process=1, op=op, event="sale", invoke_ns=1, return_ns=None, outcome="unknown",
            **(fields if op != "read" else {}),
        )  # fmt: skip
        exchange = Exchange([line], self.buyer, URL)
        if self._drive(self.adapter.prepare(exchange)):
            self._drive(self.adapter.converse(exchange), steps)
        return exchange

    def buy(self, **fields: Any) -> str:
        """What came of a purchase."""
        return self.ask(**fields).lines[0].outcome

    def _drive(self, conversation: Generator[Request, Reply, Any], steps: int = 99) -> Any:
        try:
            request = next(conversation)
            for _ in range(steps):
                request = conversation.send(self._send(request))
        except StopIteration as end:
            return end.value
        conversation.close()
        return None

    def _send(self, request: Request) -> Reply:
        self.asked.append(request)
        path = request.path.removeprefix(URL)
        answer = self._browser.open(path, method=request.method, headers=request.headers, data=request.body)
        return Reply(answer.status_code, answer.data, answer.headers, time.monotonic_ns())


@contextmanager
def served(app: Flask) -> Iterator[str]:
    """The address of an application as a server of this process."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
