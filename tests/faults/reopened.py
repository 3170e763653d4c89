"""Opens an office on what a power cut left, and compares what is there with what had been answered.

Every state is opened in a process of its own, as after a boot: nothing of the one before is open any more, and what
kills the process is a finding and not the end of the test.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import multiprocessing
import os
import shutil
import tempfile
import traceback
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import msgspec

from loadtests.lab.faults.disk.traced_disk import Image

_CHUNK = 20


class Left(NamedTuple):
    """What a cut left, and how many of the run's answers had been given by then."""

    place: int
    answered: int
    image: Image


@dataclass
class Told:
    """What the answers up to some moment promise of one event."""

    exists: bool = False
    deleted: bool = False
    version: int = 0
    sales: list[dict[str, Any]] = field(default_factory=list)
    """Of orders and of holds."""


class Run(NamedTuple):
    """The whole run: its store, its answers in order, and the audits of its events as they were at their longest."""

    store: str
    answers: list[dict[str, Any]]
    audits: dict[str, list[dict[str, Any]]]


def run_of(store: str, lines: Sequence[bytes]) -> Run:
    """The run that gave these answers."""
    answers = [json.loads(line) for line in lines]
    audits: dict[str, list[dict[str, Any]]] = {}
    for each in answers:
        if "audit" in each["answer"]:
            audits[each["event"]] = each["answer"]["audit"][1:]
    return Run(store, answers, audits)


Findings = Callable[[Run, Sequence[Left]], list[str]]


@contextlib.contextmanager
def judges() -> Iterator[Findings]:
    """Gives what finds out what is wrong with states, a sentence each; several processes do, until the block ends."""
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:

        def find(run: Run, left: Sequence[Left]) -> list[str]:
            chunks = [(run, left[start : start + _CHUNK]) for start in range(0, len(left), _CHUNK)]
            return [finding for some in pool.map(_judge_some, chunks) for finding in some]

        yield find


def _judge_some(work: tuple[Run, Sequence[Left]]) -> list[str]:
    run, left = work
    _load_all()
    return [f"place {each.place}: {finding}" for each in left if (finding := _in_a_process_of_its_own(run, each))]


def _load_all() -> None:
    """Before the forks, once for all: what each of them would load by itself."""
    from service.guards import GUARDS, guard_class
    from service.stores import STORES, store_class

    for name in ("service.app", "flask.testing", "numpy"):
        importlib.import_module(name)
    for guard in GUARDS:
        guard_class(guard)
    for store in STORES:
        store_class(store)


def _in_a_process_of_its_own(run: Run, left: Left) -> str:
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        try:
            finding = _judge(run, left)
        except BaseException:
            finding = traceback.format_exc()
        os.write(writing, (finding or "fine").encode()[:60_000])
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as said:
        finding = said.read().decode()
    _, status = os.waitpid(child, 0)
    if not finding:
        return f"the process that opened it ended with wait status {status}"
    return "" if finding == "fine" else finding


def _judge(run: Run, left: Left) -> str:
    memory = Path("/dev/shm")
    where = Path(tempfile.mkdtemp(prefix="lastseat-", dir=memory if os.access(memory, os.W_OK) else None))
    try:
        for path, content in sorted(left.image.items()):
            if content is None:
                (where / path).mkdir()
            else:
                (where / path).write_bytes(content)
        return _compare(run, run.answers[: left.answered], run.answers[left.answered :], where / "data")
    finally:
        shutil.rmtree(where)


def _compare(run: Run, before: Sequence[dict[str, Any]], after: Sequence[dict[str, Any]], data: Path) -> str:
    told = _told(before)
    first = _open(run.store, data, boot=1)
    found = {event: _audit(first, event) for event in {each["event"] for each in run.answers}}
    for event, (status, records) in found.items():
        if told[event].deleted and (kept := _kept(data, event)) != run.audits[event]:
            return f"the audit of {event} was not kept when it was removed: {kept} and not {run.audits[event]}"
        if status == 404:
            if told[event].exists and not _is_being_deleted(event, after):
                return f"event {event} is gone, and was answered for at version {told[event].version}"
        elif status != 200:
            return f"the audit of {event} is refused: {records}"
        else:
            finding = _broken_promise(event, told[event], records, run.audits[event])
            finding = finding or _sell_on(first, event, records)
            if finding:
                return finding
    return _half_a_cart(found) or _after_second_start(run.store, data, found)


def _kept(data: Path, event: str) -> list[dict[str, Any]]:
    """The audit of a removed event that lies beside the others."""
    files = (data / "removed").glob(f"{event}-*.jsonl")
    return [json.loads(line) for path in files for line in path.read_text().splitlines()[1:]]


def _half_a_cart(found: Mapping[str, tuple[int, list[dict[str, Any]]]]) -> str:
    """Every cart of these runs is in every event that there is, if it is in one."""
    carts = {event: {each["cart"] for each in records if "cart" in each} for event, (_, records) in found.items()}
    everywhere = set.intersection(*carts.values()) if carts else set()
    return "" if all(each == everywhere for each in carts.values()) else f"half a cart: {carts}"


def _after_second_start(store: str, data: Path, found: Mapping[str, tuple[int, list[dict[str, Any]]]]) -> str:
    second = _open_store(store, data, boot=2)
    there = {event: records for event, (status, records) in found.items() if status == 200}
    if sorted(there) != second.names():
        return f"after the second start there are {second.names()}, and there were {sorted(there)}"
    for event, records in there.items():
        again = [json.loads(msgspec.json.encode(record.audit_line())) for record in second.audit(event)[1]]
        # The next sale first records the holds that have run out.
        kinds = [record["kind"] for record in again[len(records) :]]
        if again[: len(records)] != records or kinds != ["expired"] * _run_out(records) + ["sold"]:
            return f"{event} is another one after the second start: {again} and not {records} and one more"
    return ""


def _broken_promise(event: str, told: Told, records: list[dict[str, Any]], whole: list[dict[str, Any]]) -> str:
    if told.deleted:
        return f"event {event} is there again after its removal was answered"
    if records != whole[: len(records)]:
        return f"the audit of {event} is not how it began: {records} and not {whole}"
    if len(records) < told.version:
        return f"{event} is at version {len(records)}, and an answer left at {told.version}"
    for answer in told.sales:
        if not any(_is_answered_by(record, answer) for record in records):
            return f"{event} has no record of what was acknowledged: {answer}"
    return ""


def _run_out(records: Sequence[dict[str, Any]]) -> int:
    """How many holds are open in an audit although their time is over."""
    until = {record["hold"]: record["expires_at"] for record in records if record["kind"] == "held"}
    for record in records:
        if record["kind"] in {"confirmed", "released", "expired"}:
            until.pop(record["hold"])
    return sum(datetime.fromisoformat(moment) <= datetime.now(UTC) for moment in until.values())


def _told(answers: Sequence[dict[str, Any]]) -> defaultdict[str, Told]:
    told: defaultdict[str, Told] = defaultdict(Told)
    for each in answers:
        promised, answer = told[each["event"]], each["answer"]
        promised.deleted = each["method"] == "DELETE" and not answer
        promised.exists = not promised.deleted
        promised.version = max(promised.version, answer.get("version", 0))
        if each["method"] == "POST" and "tickets" in answer:
            promised.sales.append(answer)
    return told


def _is_being_deleted(event: str, after: Sequence[dict[str, Any]]) -> bool:
    """Whether the next answer about the event is that it is removed: then the cut came in between."""
    following = next((each for each in after if each["event"] == event), None)
    return following is not None and following["method"] == "DELETE" and not following["answer"]


def _is_answered_by(record: dict[str, Any], answer: dict[str, Any]) -> bool:
    """An order is a record of a sale or of a confirmation; a hold one of its beginning."""
    kinds = ("sold", "confirmed") if "order" in answer else ("held",)
    names = ("order" if "order" in answer else "hold", "quantity", "tickets", "version")
    return record["kind"] in kinds and all(record[name] == answer.get(name, record[name]) for name in names)


def _open(store: str, data: Path, *, boot: int) -> Any:
    from service.app import create_app
    from service.settings import Settings

    with _after_boot(boot):
        return create_app(Settings(data=data, store=store, first_event=None)).test_client()


def _open_store(store: str, data: Path, *, boot: int) -> Any:
    from service.settings import Settings
    from service.stores import open_store

    with _after_boot(boot):
        return open_store(Settings(data=data, store=store))


@contextlib.contextmanager
def _after_boot(number: int) -> Iterator[None]:
    """As after a boot: what a mark of an earlier one says is worth nothing, and the service has to know that."""
    from service.stores.journal import mark

    with (
        mock.patch("service.runtime.gunicorn._identity", lambda _: f"boot {number}"),
        mock.patch.object(mark, "_this_boot", lambda: 4711 + number),
    ):
        yield


def _audit(client: Any, event: str) -> tuple[int, list[dict[str, Any]]]:
    token = client.application.extensions["admin_token"]
    answer = client.get(f"/events/{event}/audit", headers={"Authorization": f"Bearer {token}"})
    if answer.status_code == 404:
        return 404, []
    if answer.status_code != 200:
        return answer.status_code, [answer.get_json()]
    return 200, [json.loads(line) for line in answer.text.splitlines()[1:]]


def _sell_on(client: Any, event: str, records: Sequence[dict[str, Any]]) -> str:
    expected = len(records) + _run_out(records) + 1
    answer = client.post(f"/events/{event}/orders", json={"quantity": 1})
    if answer.status_code != 201 or answer.get_json()["version"] != expected:
        return f"the next buyer of {event} is told {answer.status_code} {answer.text}"
    return ""
