"""Writes ``history.jsonl``: one operation a line, in the contract's words.

Each line is one ``write`` to a file opened for appending, with no buffer in between: a load generator that is
killed leaves whole lines behind, and what it had recorded is not lost. A write costs a few microseconds, a request
some hundreds.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import msgspec

Op = Literal["buy", "read", "cancel", "hold", "confirm", "release"]
Completion = Literal[
    "ok", "sold_out", "refused", "fail", "unknown", "seat_taken", "section_sold_out", "not_together"
]  # fmt: skip


class Operation(msgspec.Struct, omit_defaults=True, kw_only=True):
    """One operation as its buyer saw it; times are ``time.monotonic_ns()``, None until the whole answer is there."""

    process: int
    op: str
    event: str
    invoke_ns: int
    return_ns: int | None
    outcome: Completion
    intended_ns: int | None = None
    """When it was due, where arrivals keep to a schedule: its latency counts from here."""
    key: str | None = None
    attempt: int = 1
    quantity: int | None = None
    seconds: float | None = None
    """How long a hold was asked for; the service decides where it is absent."""
    order: str | None = None
    hold: str | None = None
    cart: str | None = None
    """The buyer's own name of the cart that it belongs to, the same in each of the cart's events."""
    tickets: list[int] | None = None
    seats: list[str] | None = None
    """The seats of the answer."""
    wanted: list[str] | None = None
    """The seats that were asked for, where a buyer names them."""
    together: bool | None = None
    """Whether the best seats were asked for as neighbours, of an event with a hall."""
    section: str | None = None
    """The section in which the best seats were asked for."""
    taken: list[str] | None = None
    """Which of the wanted seats a refusal names as taken."""
    map: str | None = None
    """The state of every seat, two bits each, in base64, as a read showed it."""
    seat: str | None = None
    """Which seat it is about, where buyers of another service choose one."""
    remaining: int | None = None
    version: int | None = None
    replayed: bool | None = None
    worker: int | None = None
    epoch: int | None = None
    wait_ms: float | None = None
    hold_ms: float | None = None
    store_ms: float | None = None
    status: int | None = None
    """The HTTP status, where the outcome is ``fail`` or ``unknown`` and there was an answer."""
    node: int | None = None
    """The node of the service that was asked, from 1 on, where there are several."""
    retry_after_s: float | None = None
    """How long the service asked the buyer to wait before the next request, where it did."""
    resolution_ns: int | None = None
    """What the clock of its times could not tell, where that is known to matter."""
    host: str | None = None
    """The machine whose clock the times are from, where several machines make the load."""


class Recorder:
    """Appends operations to one file. Greenlets of a process may share it; processes need a file each."""

    def __init__(self, path: Path, host: str | None = None) -> None:
        self.path = path
        self.operations = 0
        self._host = host
        self._encoder = msgspec.json.Encoder()
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)

    def write(self, operation: Operation) -> None:
        """Append one operation. Raises ``OSError`` where the disk refuses: the history is not whole then."""
        operation.host = self._host or operation.host
        line = self._encoder.encode(operation) + b"\n"
        written = os.write(self._fd, line)
        if written != len(line):
            raise OSError(f"{self.path}: only {written} of {len(line)} bytes of an operation were written")
        self.operations += 1

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
