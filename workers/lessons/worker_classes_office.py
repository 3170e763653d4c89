"""The real ticket office under gunicorn for one lesson, and the buyers who load it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import secrets
import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path
from typing import Any

from workers import GUNICORN_CONF
from workers.lessons.children import ChildFailed
from workers.lessons.programs import family, program

_READY_WITHIN_S = 30.0
_ANSWER_WITHIN_S = 60.0
_READY_ANSWER_WITHIN_S = 2.0
_POLL_S = 0.02
_PLENTY = 1_000_000


@dataclass(frozen=True, slots=True)
class Office:
    """A running office."""

    port: int
    pid: int
    token: str

    def call(
        self, method: str, path: str, content: object = None, timeout_s: float = _ANSWER_WITHIN_S
    ) -> tuple[int, Message, dict[str, Any]]:
        """One request on a connection of its own: status, headers, body. Errors: ``OSError``, ``HTTPException``."""
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self.token}"}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)
        with contextlib.closing(connection):
            connection.request(method, path, None if content is None else json.dumps(content), headers)
            answer = connection.getresponse()
            return answer.status, answer.headers, json.loads(answer.read() or b"{}")

    def cpu_s(self) -> float:
        """Seconds of processor time that all its processes have taken until now."""
        return sum(sum(each.cpu_times()[:2]) for each in family(self.pid))


@contextlib.contextmanager
def office(arguments: Sequence[str], think: str, think_ms: float, folder: Path) -> Iterator[Office]:
    """The office under gunicorn with these options, on a free port; at the end nothing of it is left running.

    Errors: ``ChildFailed`` where it does not come up, with the end of its log.
    """
    folder.mkdir()
    log, token = folder / "gunicorn.log", secrets.token_hex(16)
    kept = {k: v for k, v in os.environ.items() if not k.startswith("LASTSEAT_") and k != "GUNICORN_CMD_ARGS"}
    settings = {
        "LASTSEAT_DATA": str(folder / "data"),
        "LASTSEAT_THINK": think,
        "LASTSEAT_THINK_MS": f"{think_ms:g}",
        "LASTSEAT_EVENT": "",
        # Each purchase decided by itself: the lesson is about workers, not about sharing one decision.
        "LASTSEAT_BATCH": "1",
        "LASTSEAT_LOCK_TIMEOUT_S": "20",
        "LASTSEAT_ADMIN_TOKEN": token,
    }
    # Bound here and handed over: no other program can take the port in between.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as bound:
        bound.bind(("127.0.0.1", 0))
        command = [sys.executable, "-m", "gunicorn", "--config", GUNICORN_CONF]
        command += ["--bind", f"fd://{bound.fileno()}", "--log-level", "warning", *arguments, "service:app"]
        with program(
            command,
            log=log,
            environment=kept | settings,
            directory=folder,
            pass_fds=[bound.fileno()],
        ) as running:
            started = Office(bound.getsockname()[1], running.pid, token)
            # gunicorn has it now; kept here too, clients would still be queued after gunicorn has ended.
            bound.close()
            deadline = time.monotonic() + _READY_WITHIN_S
            while not _ready(started):
                if running.poll() is not None or time.monotonic() > deadline:
                    said = log.read_text(encoding="utf-8", errors="replace")
                    raise ChildFailed(f"gunicorn did not come up; its log ends:\n{said[-2000:]}")
                time.sleep(_POLL_S)
            yield started


def _ready(started: Office) -> bool:
    with contextlib.suppress(OSError, http.client.HTTPException):
        return started.call("GET", "/readyz", timeout_s=_READY_ANSWER_WITHIN_S)[0] == 200
    return False


@dataclass(slots=True)
class Sale:
    """What the buyers of one sale saw."""

    seconds: float = 0.0
    holds_s: list[float] = field(default_factory=list)
    """How long the guard was held for each purchase, as its answer says."""
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
        """How many purchases were in their critical section at once, on average over the sale."""
        return sum(self.holds_s) / self.seconds

    @property
    def cores(self) -> float:
        """How many processor cores the office kept busy, on average over the sale."""
        return self.cpu_s / self.seconds

    @property
    def right(self) -> bool:
        """Every purchase was answered with a ticket of its own, and the store knows of all."""
        return not self.problems and len(set(self.tickets)) == len(self.tickets) == self.in_store


def sell(place: Office, events: Sequence[str], purchases: int) -> Sale:
    """A buyer for each name in ``events``, all at once; each buys from that event, so many times in a row."""
    sale, stop = Sale(), threading.Event()
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
            sale.holds_s.append(_held_s(headers))
            sale.tickets += [(event, number) for number in content["tickets"]]

    buyers = [threading.Thread(target=buy, args=(event,), daemon=True) for event in events]
    spent, began = place.cpu_s(), time.perf_counter()
    try:
        for buyer in buyers:
            buyer.start()
        for buyer in buyers:
            buyer.join()
    finally:
        stop.set()
    sale.seconds = time.perf_counter() - began
    sale.cpu_s = place.cpu_s() - spent
    sale.in_store = sum(place.call("GET", f"/events/{name}")[2].get("sold", 0) for name in names)
    return sale


def _held_s(headers: Message) -> float:
    """From ``Server-Timing: wait;dur=…, hold;dur=…, store;dur=…``, in milliseconds there."""
    parts = dict(part.strip().split(";dur=") for part in headers["Server-Timing"].split(","))
    return float(parts["hold"]) / 1e3
