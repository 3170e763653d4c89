"""Buyers who fight over holds, over the office's HTTP: a history and an audit to be judged.

They hand the ids of their holds to each other, so that one hold is confirmed by two at once, and released by a third
while it is confirmed. Holds last some milliseconds, so payments come late; and the office's clock jumps back.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

from flask import Flask
from typed import as_admin

from loadtests.lab.checks.judging import judge
from loadtests.lab.checks.verdict import Verdict
from loadtests.lab.history.history import read_audit, read_history
from loadtests.lab.history.recorder import Operation, Recorder
from loadtests.lab.protocol.office import OfficeAdapter
from service.rules.inventory import Event
from service.sales.box_office import BoxOffice
from service.sales.command_handler import utc_now

CAPACITY = 60
PATIENCE_S = 60.0


BACK_MS = (0, 5, 20)
"""By how much the office's clock may go back."""


class Fight:
    """So many ``threads`` at one event, each with so many ``turns``."""

    def __init__(self, app: Flask, folder: Path, *, threads: int = 6, turns: int = 40, seed: int = 1) -> None:
        self.office: BoxOffice = app.extensions["office"]
        self._app = app
        self._folder = folder
        self._recorder = Recorder(folder / "history.jsonl")
        self._threads, self._turns, self._seed = threads, turns, seed
        self._holds: list[str] = []
        self._orders: list[str] = []
        self._back = timedelta()
        self._failed: list[BaseException] = []
        self.office.clock = self._clock

    def hold(self) -> Verdict:
        """Let them fight, and judge what each was told."""
        self.office.create(Event("show", "Show", CAPACITY, lab=True))
        fighters = [threading.Thread(target=self._fight, args=(number,)) for number in range(self._threads)]
        for fighter in fighters:
            fighter.start()
        for fighter in fighters:
            fighter.join(PATIENCE_S)
        if self._failed:
            raise self._failed[0]
        self._recorder.close()
        audit = self._folder / "audit.jsonl"
        client = self._app.test_client()
        audit.write_bytes(client.get("/events/show/audit", headers=as_admin(client)).data)
        return judge(
            read_history(self._folder / "history.jsonl"), {"show": read_audit(audit)}, capacity=CAPACITY
        )  # fmt: skip

    def kinds(self) -> set[str]:
        """What stands in the audit: that the fight was one."""
        return {
            record.kind if not (record.kind == "sold" and record.hold) else "sold late" for record in self._records()
        }

    def _records(self) -> Sequence[object]:
        return list(self.office.audit("show")[1])

    def _clock(self) -> datetime:
        return utc_now() - self._back

    def _fight(self, number: int) -> None:
        try:
            dice, client = random.Random(f"{self._seed}:{number}"), self._app.test_client()
            for turn in range(self._turns):
                operation = self._wish(dice, number, f"{number}-{turn}")
                request = OfficeAdapter().request(operation, f"buyer-{number}")
                operation.invoke_ns = time.monotonic_ns()
                answer = client.open(
                    request.path, method=request.method, headers=request.headers, data=request.body or b""
                )
                operation.return_ns = time.monotonic_ns()
                OfficeAdapter().understand(operation, answer.status_code, answer.data, answer.headers)
                if operation.outcome == "unknown":
                    raise AssertionError(answer.data)
                # By the buyers' clock a hold may end earlier by as much as the office's clock has gone back before.
                lasts = (operation.seconds or 0) - BACK_MS[-1] / 1e3
                operation.seconds = lasts if lasts > 0 else None
                self._recorder.write(operation)
                if operation.outcome == "ok" and operation.op == "hold" and operation.hold:
                    self._holds += [operation.hold] * 3
                elif operation.outcome == "ok" and operation.order and operation.op in {"buy", "confirm"}:
                    self._orders.append(operation.order)
                if dice.random() < 0.05:
                    self._back = timedelta(milliseconds=dice.choice(BACK_MS))
        except BaseException as error:
            self._failed.append(error)
            raise

    def _wish(self, dice: random.Random, process: int, key: str) -> Operation:
        def wish(op: str, **fields: object) -> Operation:
            given = {"process": process, "op": op, "event": "show", "invoke_ns": 0, "return_ns": None, "key": key}
            return Operation(outcome="unknown", **(given | fields))  # type: ignore[arg-type]

        chance = dice.random()
        if chance < 0.35:
            return wish("hold", quantity=dice.randint(1, 4), seconds=dice.choice([0.002, 0.01, 0.03, 5]))
        if chance < 0.75 and (hold := self._one_of(self._holds, dice)):
            return wish("release" if dice.random() < 0.25 else "confirm", hold=hold)
        if chance < 0.85 and (order := self._one_of(self._orders, dice)):
            return wish("cancel", order=order)
        if chance < 0.92:
            return wish("read", key=None)
        return wish("buy", quantity=dice.randint(1, 3))

    @staticmethod
    def _one_of(names: list[str], dice: random.Random) -> str | None:
        """One that another thread may take at the same moment, the newest first, so that it is still open."""
        return names.pop(-dice.randint(1, min(6, len(names)))) if len(names) > 6 else None
