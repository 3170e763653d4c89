"""Exchanges into a history: those that the target file describes; all others are counted."""

from __future__ import annotations

import re
import threading
from collections import Counter
from pathlib import Path

from loadtests.lab.history.recorder import Operation, Recorder
from loadtests.lab.protocol.adapter import Adapter
from loadtests.lab.record.proxy import ForwardedRequest
from loadtests.lab.record.recognition import OPS, Recogniser
from loadtests.lab.target.tables import Target

_AN_ID = re.compile(r"(?<=/)(?:[0-9]+|[0-9a-fA-F-]{16,}|[^/]{33,})(?=/|$)")


class OperationWriter:
    """Writes the operations that pass by into one file; threads share it. No header, cookie or body is kept."""

    def __init__(self, path: Path, target: Target, adapter: Adapter) -> None:
        self._event = target.event
        self._adapter = adapter
        self._recogniser = Recogniser(target)
        self._recorder = Recorder(path)
        self._lock = threading.Lock()
        self.answers: Counter[tuple[str, str]] = Counter()
        """How many operations had which outcome."""
        self.not_understood: Counter[str] = Counter()
        """Requests that the file does not describe, by method and path, numbers and ids as ``…``."""

    @property
    def operations(self) -> int:
        return self._recorder.operations

    def add(self, exchange: ForwardedRequest) -> None:
        """Record an exchange, if it is an operation. Raises ``OSError`` where the disk refuses."""
        with self._lock:
            found = self._recogniser.recognise(exchange)
            if found is None:
                path = _AN_ID.sub("…", exchange.path.partition("?")[0])
                self.not_understood[f"{exchange.method} {path}"] += 1
                return
            operation = Operation(
                process=self._recorder.operations,
                op=found.op,
                event=found.values.get("event", self._event),
                invoke_ns=exchange.invoke_ns,
                return_ns=exchange.return_ns,
                outcome="unknown",
                key=found.values.get("key"),
                quantity=found.quantity if found.op == "buy" else None,
                order=found.values.get("order"),
                seat=found.values.get("seat"),
            )
            if exchange.status is not None:
                headers = exchange.answer_headers
                self._adapter.understand(operation, exchange.status, exchange.answer, headers)
            elif not exchange.sent:
                operation.outcome = "fail"
            if operation.outcome in {"fail", "unknown"}:
                operation.status = exchange.status
            if operation.outcome == "unknown":
                operation.return_ns = None
            self._recorder.write(operation)
            self.answers[found.op, operation.outcome] += 1

    @property
    def notes(self) -> list[str]:
        """What should be said beside the verdict."""
        return self._adapter.notes()

    def close(self) -> None:
        self._recorder.close()


def lines_of(recording: OperationWriter) -> list[str]:
    """What was recorded, a line for each kind of operation."""
    lines = []
    for op in OPS:
        outcomes = [(count, outcome) for (each, outcome), count in recording.answers.items() if each == op]
        if outcomes:
            said = ", ".join(
                f"{count:,} {outcome.replace('_', ' ')}" for count, outcome in sorted(outcomes, reverse=True)
            )
            lines.append(f"{op}: {said}")
    return lines
