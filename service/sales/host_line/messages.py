"""The messages between workers and the combiner: msgpack, in packets that are shorter than any socket's limit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, get_args

import msgspec

from service.errors import Problem
from service.rules.records import Command, Outcome, Record, Refusal, Replay, Swept, Wish

PACKET = 32 * 1024
"""Most bytes of a message in one packet."""
MOST_BYTES = 256 << 20
"""No message is longer: an order of ten million tickets is about 50 MB."""
_MORE, _LAST = b"+", b"."
_KINDS: tuple[type, ...] = get_args(Command)


class Hello(msgspec.Struct, array_like=True):
    """The first message of a connection, from the combiner."""

    fingerprint: str


class Asked(msgspec.Struct, array_like=True):
    """A command, when it came, and until when the guard may be waited for: monotonic seconds of this host."""

    command: list[Any]
    arrived: float
    deadline: float


class Ask(msgspec.Struct, array_like=True):
    """Commands for one event that wait in one process."""

    number: int
    event: str
    asked: list[Asked]


class Times(msgspec.Struct, array_like=True):
    """What the transaction measured, and its epoch."""

    wait_ms: float
    held_ms: float
    store_ms: float
    epoch: int


class Decided(msgspec.Struct, array_like=True, tag="d"):
    times: Times
    record: Record
    replayed: bool


class Refused(msgspec.Struct, array_like=True, tag="r"):
    times: Times
    code: str
    version: int
    remaining: int
    retry_after_s: int | None
    seats: tuple[str, ...]


class SweptClean(msgspec.Struct, array_like=True, tag="s"):
    times: Times
    version: int
    remaining: int


class Failed(msgspec.Struct, array_like=True, tag="f"):
    code: str
    detail: str
    retry_after_s: int | None
    extra: dict[str, Any]


class Again(msgspec.Struct, array_like=True, tag="a"):
    """Nothing was written: no guard acts now under which the combiner may decide. The worker does."""


Answer = Decided | Refused | SweptClean | Failed | Again


class Answers(msgspec.Struct, array_like=True):
    """To the ``Ask`` of that number, in the order of its commands."""

    number: int
    answers: list[Answer]


encode = msgspec.msgpack.Encoder(enc_hook=str).encode
decode_hello = msgspec.msgpack.Decoder(Hello).decode
decode_ask = msgspec.msgpack.Decoder(Ask).decode
decode_answers = msgspec.msgpack.Decoder(Answers).decode


def written(command: Command) -> list[Any]:
    """A command as a list: its kind and its fields."""
    return [_KINDS.index(type(command)), *msgspec.structs.astuple(command)]


def read(fields: Sequence[Any]) -> Command:
    kind, *values = fields
    if isinstance(values[-1], list):
        seats, section, together = values[-1]
        values[-1] = Wish(tuple(seats), section, together)
    command: Command = _KINDS[kind](*values)
    return command


def answer_of(outcome: Outcome, times: Times) -> Answer:
    match outcome:
        case Record():
            return Decided(times, outcome, replayed=False)
        case Replay(record):
            return Decided(times, record, replayed=True)
        case Refusal(code, version, remaining, retry_after_s, seats):
            return Refused(times, code, version, remaining, retry_after_s, seats)
        case Swept(version, remaining):
            return SweptClean(times, version, remaining)


def outcome_of(answer: Decided | Refused | SweptClean) -> Outcome:
    match answer:
        case Decided(_, record, replayed):
            return Replay(record) if replayed else record
        case Refused(_, code, version, remaining, retry_after_s, seats):
            return Refusal(code, version, remaining, retry_after_s, seats)
        case SweptClean(_, version, remaining):
            return Swept(version, remaining)


def failed(error: BaseException) -> Failed:
    """A problem as a message. Any other error may have come after the commit."""
    problem = error if isinstance(error, Problem) else Problem("internal")
    return Failed(problem.code, problem.detail, problem.retry_after_s, problem.extra)


def problem_of(failure: Failed) -> Problem:
    return Problem(failure.code, failure.detail, retry_after_s=failure.retry_after_s, **failure.extra)


def packets(message: bytes) -> Iterable[bytes]:
    """The packets of a message. It counts from its last packet on: without that one it was never sent."""
    return (_LAST + message,) if len(message) < PACKET else _parts(message)


def _parts(message: bytes) -> Iterator[bytes]:
    for begin in range(0, len(message), PACKET):
        part = message[begin : begin + PACKET]
        yield (_LAST if begin + PACKET >= len(message) else _MORE) + part


class Assembly:
    """The packets of one connection that have come, put together."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._parts: list[bytes] = []
        self._left = most_bytes
        self._most_bytes = most_bytes

    def add(self, packet: bytes) -> bytes | None:
        """The message that this packet ends; None if more of it is to come. Errors: ``OSError`` if it is too long."""
        if packet.startswith(_LAST) and not self._parts:
            return packet[1:]
        self._parts.append(packet[1:])
        self._left -= len(packet)
        if self._left < 0:
            raise OSError("a message is too long")
        if packet.startswith(_MORE):
            return None
        whole = b"".join(self._parts)
        self._parts, self._left = [], self._most_bytes
        return whole
