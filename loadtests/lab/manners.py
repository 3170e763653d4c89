"""How a service is asked and how its answers are read: the one seam between customers and services.

A customer decides what to ask and records it; ``Manners`` know the paths, the bodies and the words. There are the
office's own (the contract), and those of a target file.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

import msgspec

from loadtests.lab.answers import keep_fields, outcome_of, parse
from loadtests.lab.recorder import Operation


class Request(msgspec.Struct, frozen=True):
    """One HTTP request; ``name`` is the line in locust's statistics that it counts for."""

    method: str
    path: str
    name: str
    headers: dict[str, str] = {}
    body: bytes | None = None


class Manners(ABC):
    """How to deal with one kind of service."""

    @abstractmethod
    def request(self, operation: Operation, buyer: str) -> Request:
        """The request that asks for the operation."""

    @abstractmethod
    def understand(self, operation: Operation, status: int, body: bytes | None, headers: Mapping[str, str]) -> str:
        """Put an answer's outcome and facts into the operation; returns a word for the error, if it is one."""

    def may_ask_again(self, op: str) -> bool:
        """Whether the service knows a repeated request by its key."""
        return True

    def notes(self) -> list[str]:
        """What should be said beside the verdict."""
        return []


class OfficeManners(Manners):
    """The contract's HTTP."""

    def request(self, operation: Operation, buyer: str) -> Request:
        """Every mutation carries its key."""
        headers = {"Idempotency-Key": operation.key} if operation.key else {}
        event, name = f"/events/{operation.event}", "/events/<event>"
        match operation.op:
            case "read":
                return Request("GET", event, name)
            case "cancel":
                return Request("DELETE", f"{event}/orders/{operation.order}", f"{name}/orders/<order>", headers)
            case "buy":
                body = msgspec.json.encode({"quantity": operation.quantity, "buyer": buyer})
                headers["Content-Type"] = "application/json"
                return Request("POST", f"{event}/orders", f"{name}/orders", headers, body)
            case "hold":
                wanted: dict[str, object] = {"quantity": operation.quantity, "buyer": buyer}
                if operation.seconds is not None:
                    wanted["seconds"] = operation.seconds
                headers["Content-Type"] = "application/json"
                return Request("POST", f"{event}/holds", f"{name}/holds", headers, msgspec.json.encode(wanted))
            case "confirm":
                path = f"{event}/holds/{operation.hold}/confirm"
                return Request("POST", path, f"{name}/holds/<hold>/confirm", headers)
            case "release":
                return Request("DELETE", f"{event}/holds/{operation.hold}", f"{name}/holds/<hold>", headers)
        raise ValueError(f"customers do not know the operation {operation.op}")

    def understand(self, operation: Operation, status: int, body: bytes | None, headers: Mapping[str, str]) -> str:
        """By the table in the contract."""
        answer = parse(body)
        operation.outcome = outcome_of(operation.op, status, answer)
        keep_fields(operation, answer, headers)
        return answer.code or "without a code"
