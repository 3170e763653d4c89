"""A target file tried before any load: each request is sent once, and it is shown what was asked, answered, understood.

What is sent is what a run would send, by the same code; only here one buyer asks, and somebody looks on.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

from loadtests.lab.history.recorder import Operation
from loadtests.lab.protocol.adapter import Exchange, Reply, Request
from loadtests.lab.protocol.admin_api import OfficeError
from loadtests.lab.protocol.http_calls import NoAnswer, ask
from loadtests.lab.target.adapter import RunValues, TargetAdapter
from loadtests.lab.target.masking import MASK, hide, hide_named, is_secret_name, secrets_of
from loadtests.lab.target.reading import AnswerView, elements, has_more_pages
from loadtests.lab.target.server import TargetOffice
from loadtests.lab.target.tables import Target, ValueSource
from loadtests.lab.untrusted import printable

_TIMEOUT_S = 20.0
_SHOWN = 600
_FACTS = ("order", "quantity", "tickets", "seat", "remaining", "version")
_HEADERS = ("Location", "Content-Type", "Link", "X-Total-Count", "Retry-After")

Say = Callable[[str], object]


def commands_of(target: Target) -> list[list[str]]:
    """The commands that a file would have run, as it says them, without secrets."""
    known = secrets_of(target)
    started = [target.start.command] if target.start else []
    commands = started + [step.command for step in target.setup_steps if step.command]
    return [[printable(hide(word, known)) for word in command] for command in commands]


class Trial:
    """One trial of a service that runs at ``url``."""

    def __init__(
        self, target: Target, url: str, say: Say, *, is_own_host: bool = False, data: Path | None = None
    ) -> None:
        """Raises ``NotThisMachine`` for another machine's address, unless ``is_own_host``."""
        self._target = target
        self._say = say
        self._secrets = secrets_of(target)
        self._office = TargetOffice(target, url, is_own_host=is_own_host, data=data, watch=self._show)
        self.trouble: list[str] = []
        """What has to be changed, or looked at, before a run says much."""

    def run(self) -> None:
        """Set up, look, buy, give back, list. What goes wrong is said, and the rest is tried all the same."""
        target, mark = self._target, secrets.token_hex(4)
        event = f"{target.event}-{mark}" if target.makes_events else target.event
        try:
            self._heading("setup" if target.setup_steps else "")
            self._office.create_event(event, target.capacity)
        except OfficeError as error:
            self._wrong(f"the set-up did not succeed, so the rest was not tried: {error}")
            return
        for name, value in self._office.values.items():
            self._say(f"  taken: {name} = {MASK if is_secret_name(name) else self._shown(str(value))}")
        run = RunValues(mark=mark, values=self._office.values, capacity=target.capacity)
        buyer = _OneBuyer(TargetAdapter(target, run), self._office.url, event, self._show)
        before = self._ask(buyer, "read", target.read is not None)
        bought = self._ask(buyer, "buy", True, quantity=1)
        after = self._ask(buyer, "read", target.read is not None)
        self._compare(before, bought, after)
        if bought is not None and bought.order is not None:
            self._ask(buyer, "cancel", target.cancel is not None, order=bought.order)
        self._lists(event)
        for note in buyer.adapter.notes():
            self._wrong(note)

    def _compare(self, before: Operation | None, bought: Operation | None, after: Operation | None) -> None:
        """Whether the numbers are what they must be: without that a run would judge something else."""
        if before is None or after is None or before.remaining is None or after.remaining is None:
            return
        if before.remaining != self._target.capacity:
            self._wrong(
                f"`capacity` is {self._target.capacity}, and [read] shows {before.remaining} before anything is sold"
            )
        is_sold = bought is not None and bought.outcome == "ok"
        if is_sold and before.remaining - after.remaining != 1:
            self._wrong(
                f"one was bought, and [read] shows {before.remaining} before and {after.remaining} after: is it the "
                "number that is left?"
            )

    def _ask(self, buyer: _OneBuyer, op: str, is_there: bool, **fields: Any) -> Operation | None:
        if not is_there:
            return None
        self._heading(op)
        line, word = buyer.ask(op, **fields)
        facts = [f"{name} = {self._shown(str(value))}" for name in _FACTS if (value := getattr(line, name)) is not None]
        self._say(f"  understood: {line.outcome}" + "".join(f" · {fact}" for fact in facts))
        if line.outcome != "ok":
            why = f" ({word})" if word else ""
            self._wrong(f"[{op}] was understood as {line.outcome}{why}: is that what the answer says?")
        return line

    def _lists(self, event: str) -> None:
        for name, fetch in (("orders", self._office.orders), ("audit", self._office.audit)):
            if getattr(self._target, name) is None:
                continue
            self._heading(name)
            try:
                listed = fetch(event)
            except OfficeError as error:
                self._wrong(f"[{name}] could not be read: {error}")
                continue
            if name == "orders" and not isinstance(listed, bytes) and listed is not None:
                earlier = f", of which {len(listed.earlier)} were there before" if listed.earlier else ""
                self._say(f"  understood: {len(listed.orders)} in the list{earlier}")
                if listed.missing:
                    self._wrong(f"[orders] {listed.missing}")

    def _show(self, asked: Request | list[str], answer: AnswerView) -> None:
        """What was asked and answered, without secrets; a warning where a list has pages."""
        if isinstance(asked, list):
            self._say(f"  command: {self._shown(' '.join(asked))}")
            self._say(f"  ended:   with {answer.status}: {self._shown(answer.text[:_SHOWN])}")
            return
        self._say(f"  asked:    {asked.method} {self._shown(asked.path)}")
        for name, value in asked.headers.items():
            self._say(f"            {name}: {MASK if is_secret_name(name) else self._shown(value)}")
        if asked.body:
            self._say(f"            {self._shown(asked.body[:_SHOWN].decode(errors='replace'))}")
        shown = [f"{name}: {self._shown(said)}" for name in _HEADERS if (said := answer.header(name))]
        self._say("  answered: " + " · ".join([str(answer.status), *shown]))
        if answer.body:
            more = f" … ({len(answer.body):,} bytes)" if len(answer.text) > _SHOWN else ""
            self._say(f"            {self._shown(answer.text[:_SHOWN])}{more}")
        self._warn_of_pages(asked, answer)

    def _warn_of_pages(self, asked: Request, answer: AnswerView) -> None:
        read, seats = self._target.read, self._target.seats
        source = read.answer.remaining if read else None
        counted = source.count if read and isinstance(source, ValueSource) and asked.name == read.path else None
        listed = seats.list if seats and asked.name == (seats.path or (read.path if read else "")) else None
        for path in {counted, listed} - {None}:
            found = elements(answer, path or "")
            if found is not None and has_more_pages(answer, len(found)):
                self._wrong(f"the list at `{path}` has {len(found)} elements and more pages: ask for all in one answer")

    def _heading(self, name: str) -> None:
        if name:
            self._say(f"[{name}]")

    def _wrong(self, text: str) -> None:
        self.trouble.append(self._shown(text))

    def _shown(self, text: str) -> str:
        return printable(hide_named(hide(text.strip(), self._secrets)))


class _OneBuyer:
    """A buyer whose requests are sent one after another, without locust."""

    def __init__(
        self, adapter: TargetAdapter, url: str, event: str, show: Callable[[Request | list[str], AnswerView], None]
    ) -> None:
        self.adapter = adapter
        self._url, self._event, self._show = url, event, show
        self._buyer = adapter.buyer(1)
        self._asked = 0

    def ask(self, op: str, **fields: Any) -> tuple[Operation, str]:
        """One operation, and the word for what went wrong with it."""
        self._asked += 1
        key = None if op == "read" else self.adapter.key(f"1-{self._asked}")
        line = Operation(
            process=1, op=op, event=self._event, invoke_ns=0, return_ns=None, outcome="unknown", key=key, **fields
        )
        exchange = Exchange([line], self._buyer, self._url)
        if self._drive(self.adapter.prepare(exchange)):
            self._drive(self.adapter.converse(exchange))
        return line, exchange.word

    def _drive(self, conversation: Generator[Request, Reply, Any]) -> Any:
        try:
            request = next(conversation)
            while True:
                request = conversation.send(self._send(request))
        except StopIteration as end:
            return end.value

    def _send(self, request: Request) -> Reply:
        time.sleep(request.after_s)
        try:
            answer = ask(
                request.method, request.address(self._url), request.body, request.headers, timeout_s=_TIMEOUT_S
            )
        except NoAnswer as error:
            return Reply(0, None, {}, time.monotonic_ns(), ConnectionError(str(error)))
        self._show(request, AnswerView(answer.status, answer.body, answer.headers))
        return Reply(answer.status, answer.body, answer.headers, time.monotonic_ns())
