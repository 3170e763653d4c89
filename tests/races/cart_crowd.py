"""Buyers who fight over carts of the same events, in whatever order they name them: a history and audits to be judged.

Some ask twice at once under one key, some buy in one event by themselves, some give one order of a cart back.
"""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from loadtests.lab.checks.judging import judge
from loadtests.lab.checks.verdict import Verdict
from loadtests.lab.history.history import read_audit, read_history
from loadtests.lab.history.recorder import Operation, Recorder
from loadtests.lab.protocol.adapter import Request
from loadtests.lab.protocol.carts import lines_of, request_of, understand
from loadtests.lab.protocol.office import OfficeAdapter

EVENTS = ("a", "b", "c")
CAPACITY = 40
PATIENCE_S = 90.0

Ask = Callable[[Request], tuple[int, bytes, Mapping[str, str]]]


class CartCrowd:
    """So many ``buyers``, each with so many ``turns``, at three events."""

    def __init__(self, ask: Ask, folder: Path, *, buyers: int = 6, turns: int = 12, seed: int = 1) -> None:
        self.codes: list[str] = []
        self._ask, self._folder = ask, folder
        self._buyers, self._turns, self._seed = buyers, turns, seed
        self._recorder = Recorder(folder / "history.jsonl")
        self._processes = itertools.count()
        self._failed: list[BaseException] = []

    def fight(self) -> Verdict:
        """Let them fight, and judge what each was told."""
        buyers = [threading.Thread(target=self._buy, args=(number,)) for number in range(self._buyers)]
        for buyer in buyers:
            buyer.start()
        for buyer in buyers:
            buyer.join(PATIENCE_S)
        if self._failed:
            raise self._failed[0]
        self._recorder.close()
        audits = {}
        for event in EVENTS:
            path = self._folder / f"audit-{event}.jsonl"
            path.write_bytes(self._ask(Request("GET", f"/events/{event}/audit", ""))[1])
            audits[event] = read_audit(path)
        return judge(read_history(self._folder / "history.jsonl"), audits, capacity=CAPACITY)

    def _buy(self, number: int) -> None:
        try:
            dice = random.Random(f"{self._seed}:{number}")
            for turn in range(self._turns):
                key, chance = f"{number}-{turn}", dice.random()
                if chance < 0.15:
                    self._alone(Operation(**self._blank(dice.choice(EVENTS), key), op="buy", quantity=1))
                    continue
                items = {event: dice.randint(1, 2) for event in dice.sample(EVENTS, dice.randint(2, 3))}
                if chance < 0.3:
                    self._twice_at_once(key, items)
                    continue
                orders = [line for line in self._cart(key, items, 1) if line.outcome == "ok"]
                if orders and dice.random() < 0.3:
                    given_back = dice.choice(orders)
                    blank = self._blank(given_back.event, f"{key}-c")
                    self._alone(Operation(**blank, op="cancel", order=given_back.order))
        except BaseException as error:
            self._failed.append(error)
            raise

    def _blank(self, event: str, key: str) -> dict[str, object]:
        return {
            "process": next(self._processes), "event": event, "key": key, "invoke_ns": 0, "return_ns": None,
            "outcome": "unknown",
        }  # fmt: skip

    def _twice_at_once(self, key: str, items: Mapping[str, int]) -> None:
        other = threading.Thread(target=self._cart, args=(key, items, 2))
        other.start()
        self._cart(key, items, 1)
        other.join(PATIENCE_S)

    def _cart(self, key: str, items: Mapping[str, int], attempt: int) -> list[Operation]:
        lines = lines_of(key, items, self._processes, attempt)
        self._record(lines, request_of(lines, "ann"), partial(understand, lines))
        return lines

    def _alone(self, operation: Operation) -> None:
        manners = OfficeAdapter()
        self._record([operation], manners.request(operation, "ann"), partial(manners.understand, operation))

    def _record(self, lines: Sequence[Operation], request: Request, understand: Callable[..., str]) -> None:
        began = time.monotonic_ns()
        try:
            answer = self._ask(request)
        except OSError as error:
            self.codes.append(type(error).__name__)
        else:
            ended = time.monotonic_ns()
            told = understand(*answer)
            self.codes.append(told if isinstance(told, str) else told[0])
        for line in lines:
            line.invoke_ns, line.return_ns = began, None if line.outcome == "unknown" else ended
            self._recorder.write(line)
