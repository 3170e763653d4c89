"""The real ticket office under gunicorn, and buyers who load it."""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path
from typing import Any

from workers.lessons.common.processes import ChildFailed, start_and_join
from workers.lessons.common.resources import tree_cpu_s

_ANSWER_WITHIN_S = 60.0
_PLENTY = 1_000_000


@dataclass(frozen=True, slots=True)
class OfficeServer:
    """A running office."""

    address: str
    pid: int
    token: str

    def call(self, method: str, path: str, content: object = None) -> tuple[int, Message, dict[str, Any]]:
        """One request on a new connection: status, headers, body. Raises ``OSError``, ``HTTPException``."""
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self.token}"}
        with contextlib.closing(http.client.HTTPConnection(self.address, timeout=_ANSWER_WITHIN_S)) as connection:
            connection.request(method, path, None if content is None else json.dumps(content), headers)
            answer = connection.getresponse()
            return answer.status, answer.headers, json.loads(answer.read() or b"{}")


@contextlib.contextmanager
def running_office(worker: Mapping[str, Any], think: str, think_ms: float, folder: Path) -> Iterator[OfficeServer]:
    """The office on a free port; at the end nothing of it is left running. ``worker``: model, processes, threads.

    Raises ``ChildFailed`` if it does not start, with the end of its log.
    """
    from loadtests.lab.servers.office import NotReady, RunningOffice, Service

    # Every purchase is decided alone (batch 1): the lesson is about workers, not about shared decisions.
    service = Service(**worker, think_kind=think, think_ms=think_ms, batch=1, lock_timeout_s=20)
    running = RunningOffice(service, folder)
    try:
        running.start()
        yield OfficeServer(running.url.removeprefix("http://"), running.pid, running.office.token or "")
    except NotReady as error:
        raise ChildFailed(f"gunicorn did not start: {error}") from None
    finally:
        running.kill()


@dataclass(slots=True)
class OfficeSale:
    """The outcome of a sale, as its buyers saw it."""

    seconds: float = 0.0
    holds_s: list[float] = field(default_factory=list)
    """The time that the guard was held for each purchase, by the purchase's answer."""
    tickets: list[tuple[str, int]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    in_store: int = 0
    cpu_s: float = 0.0

    @property
    def rate(self) -> float:
        return len(self.tickets) / self.seconds

    @property
    def hold_s(self) -> float:
        return sum(self.holds_s) / max(1, len(self.holds_s))

    @property
    def at_once(self) -> float:
        """The average number of purchases in their critical section at once."""
        return sum(self.holds_s) / self.seconds

    @property
    def cores(self) -> float:
        """The average number of processor cores that the office kept busy."""
        return self.cpu_s / self.seconds

    @property
    def right(self) -> bool:
        """True if every purchase got a ticket of its own and the store has all of them."""
        return not self.problems and len(set(self.tickets)) == len(self.tickets) == self.in_store


def sell(place: OfficeServer, events: Sequence[str], purchases: int) -> OfficeSale:
    """A buyer for each name in ``events``, all at once; each buys ``purchases`` times in a row from that event."""
    sale, stop = OfficeSale(), threading.Event()
    names = list(dict.fromkeys(events))
    for name in names:
        place.call("POST", "/events", {"event": name, "name": name, "capacity": _PLENTY})

    def buy(event: str) -> None:
        for _ in range(purchases):
            if stop.is_set():
                return
            try:
                status, headers, content = place.call("POST", f"/events/{event}/orders", {"quantity": 1})
            except (OSError, http.client.HTTPException, ValueError) as error:
                sale.problems.append(repr(error))
                return
            if status != 201:
                sale.problems.append(f"{status} {content.get('code')}")
                continue
            # Server-Timing: wait;dur=…, hold;dur=…, store;dur=…, in milliseconds
            timing = dict(part.strip().split(";dur=") for part in headers["Server-Timing"].split(","))
            sale.holds_s.append(float(timing["hold"]) / 1e3)
            sale.tickets += [(event, number) for number in content["tickets"]]

    spent, began = tree_cpu_s(place.pid), time.perf_counter()
    try:
        start_and_join(threading.Thread(target=buy, args=(event,), daemon=True) for event in events)
    finally:
        stop.set()
    sale.seconds = time.perf_counter() - began
    sale.cpu_s = tree_cpu_s(place.pid) - spent
    sale.in_store = sum(place.call("GET", f"/events/{name}")[2].get("sold", 0) for name in names)
    return sale
