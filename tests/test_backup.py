"""``examples/one-host/backup`` and the way back in ``docs/one-host.md``, while buyers buy at a real office."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import json
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import pytest
from disks import may_mount, on_small_disk
from one_host import EXAMPLE, Office, commands, wide
from typed import JSON, Answer, send, wait_for

from service.rules.halls import Hall, Plan, Row, Section
from service.rules.inventory import Event, Sell, Wish, decide_all, records_of
from service.settings import Settings
from service.stores.journal.ledger import Ledger
from service.stores.journal.lines import FORMAT, Counters, SegmentHead
from service.stores.journal.segments import begin_segment
from service.stores.journal.store import Journal
from service.stores.journal.verification import verify_journal

NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)
SCRIPT = EXAMPLE / "backup"
BUYERS = 6
EVENTS = ("gala", "tour")
CART = b'{"items":[{"event":"gala","quantity":1},{"event":"tour","quantity":1}]}'


def backup(data: Path, folder: Path, status: int = 0) -> Path:
    """Run the script as one does; the copy."""
    done = subprocess.run(
        [sys.executable, SCRIPT, data, folder], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == status, done.stderr
    return Path(done.stdout.splitlines()[0])


def verify(data: Path) -> int:
    """The exit status of ``lastseat journal verify``."""
    command = [Path(sys.executable).with_name("lastseat"), "journal", "verify", "--data", data]
    return subprocess.run(command, capture_output=True, check=False, timeout=120).returncode


class Crowd:
    """Buyers who buy, cancel, hold and fill carts, one after the other, until they are told to stop."""

    def __init__(self, office: Office) -> None:
        self._office = office
        self._stop = threading.Event()
        self._mutex = threading.Lock()
        self.acknowledged: dict[str, Answer] = {}
        """What was answered, by its key."""
        self.errors: list[object] = []
        self._buyers = [threading.Thread(target=self._buy, args=(number,)) for number in range(BUYERS)]

    def __enter__(self) -> Crowd:
        for buyer in self._buyers:
            buyer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for buyer in self._buyers:
            buyer.join(60)
            assert not buyer.is_alive()

    def so_far(self) -> dict[str, Answer]:
        with self._mutex:
            return dict(self.acknowledged)

    def goes_on(self) -> None:
        """Return when they have had thirty answers more, or one that is none."""
        began = len(self.so_far())
        wait_for(lambda: self.errors or len(self.so_far()) >= began + 30, "they buy")

    def _buy(self, number: int) -> None:
        turn = 0
        while not self._stop.is_set():
            turn += 1
            event = EVENTS[turn % 2]
            try:
                if turn % 3 == 0:
                    self._ask(f"{number}-{turn}", "/carts", CART)
                elif turn % 3 == 1:
                    self._ask(f"{number}-{turn}", f"/events/{event}/orders", b'{"quantity":2}')
                else:
                    self._ask(f"{number}-{turn}", f"/events/{event}/holds", b'{"quantity":1,"seconds":600}')
            except Exception as error:
                self.errors.append(error)
                return

    def _ask(self, key: str, path: str, content: bytes) -> None:
        answer = send(self._office.port, "POST", path, content, JSON | {"Idempotency-Key": key})
        with self._mutex:
            if answer.status == 201:
                self.acknowledged[key] = answer
            else:
                self.errors.append(answer)


def audits(office: Office) -> dict[str, list[bytes]]:
    return {event: office.audit(event) for event in EVENTS}


def carts(audit: list[bytes]) -> set[str]:
    return {record["cart"] for record in map(json.loads, audit) if "cart" in record}


def restore(backups: Path, copy: Path, office: Office) -> None:
    """What the page says, in its order: all of it but ``systemctl``, which is the test, runs as it stands there."""
    text = commands("restore", office)
    for there, here in {"/var/backups/lastseat": str(backups), "2026-11-29T20-00-00.000000Z": copy.name}.items():
        assert there in text
        text = text.replace(there, here)
    before, between, after = re.split(r"systemctl (?:stop|start) lastseat\n", text)
    assert before == ""
    office.stop()
    for step in (between, after):
        if step is after:
            office.start()
        subprocess.run(["bash", "-euc", step], check=True, timeout=120, capture_output=True)


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    with Office(tmp_path / "state", LASTSEAT_RATE="") as running:
        for event in EVENTS:
            running.make_event(f'{{"event":"{event}","capacity":100000}}')
        yield running


@pytest.fixture
def script() -> ModuleType:
    """The script, to be called in this process."""
    loader = importlib.machinery.SourceFileLoader("backup", str(SCRIPT))
    spec = importlib.util.spec_from_loader("backup", loader)
    assert spec
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


@pytest.mark.servers
def test_what_was_acknowledged_before_a_backup_began_is_there_when_it_was_restored_and_buying_goes_on(
    office: Office, tmp_path: Path
) -> None:
    backups = tmp_path / "backups"
    office.make_event('{"event":"gone","capacity":1}')
    assert office.call("POST", "/events/gone/orders", b'{"quantity":1}').status == 201
    assert office.call("DELETE", "/events/gone?even_if_sold=1").status == 204
    with Crowd(office) as crowd:
        for _ in range(4):
            crowd.goes_on()
            owed = crowd.so_far()
            copy = backup(office.data, backups)
        crowd.goes_on()
    assert crowd.errors == []
    assert len(list(backups.iterdir())) == 4
    assert wide(backups) == []
    before, token = audits(office), office.admin
    restore(backups, copy, office)
    assert office.admin == token
    assert wide(office.data) == []
    assert len(list((office.data / "removed").glob("gone-*.jsonl"))) == 1

    after = audits(office)
    for event in EVENTS:
        assert after[event] == before[event][: len(after[event])]
        versions = [json.loads(line)["version"] for line in after[event]]
        assert versions == list(range(1, len(versions) + 1))
    assert len(after["gala"]) < len(before["gala"])
    assert carts(after["gala"]) == carts(after["tour"]) != set()
    there = {record["key"] for event in EVENTS for record in map(json.loads, after[event])}
    assert set(owed) <= there
    for key, told in list(owed.items())[:: len(owed) // 20]:
        if "order" in told.json:
            shown = office.call("GET", f"/events/{told.json['event']}/orders/{told.json['order']}")
            assert (shown.status, shown.json["tickets"]) == (200, told.json["tickets"]), key
    bought = office.call("POST", "/events/gala/orders", b'{"quantity":1}')
    assert (bought.status, bought.json["version"]) == (201, len(after["gala"]) + 1)
    assert verify(office.data) == 0


@pytest.mark.servers
def test_a_copy_of_one_event_after_the_other_has_half_a_cart_and_no_journal_tells(
    office: Office, tmp_path: Path
) -> None:
    """The negative control: why nobody may write for a moment."""
    wrong = tmp_path / "wrong"
    for event in EVENTS:
        assert office.call("POST", "/carts", CART).status == 201
        shutil.copytree(office.data / "journal" / event, wrong / "journal" / event)
    assert verify(wrong) == 0
    office.stop()
    shutil.rmtree(office.data)
    shutil.copytree(wrong, office.data)
    office.start()
    assert [len(carts(office.audit(event))) for event in EVENTS] == [1, 2]


@pytest.mark.servers
def test_while_the_second_round_lasts_a_purchase_waits_and_a_cart_too(office: Office, script: ModuleType) -> None:
    answers: list[int] = []
    asked = [("/events/gala/orders", b'{"quantity":1}'), ("/carts", CART)]
    buyers = [
        threading.Thread(target=lambda each=each: answers.append(office.call("POST", *each).status)) for each in asked
    ]
    with script.nobody_writes(office.data):
        for buyer in buyers:
            buyer.start()
        buyers[0].join(1.0)
        assert answers == []
        assert (office.data / "journal" / "gala" / "00000001.jsonl").read_bytes().count(b"\n") == 1
    for buyer in buyers:
        buyer.join(30)
    assert answers == [201, 201]


@pytest.mark.servers
def test_a_backup_of_damaged_data_says_so_in_its_status_and_in_its_name(office: Office, tmp_path: Path) -> None:
    assert office.call("POST", "/carts", CART).status == 201
    office.stop()
    segment = office.data / "journal" / "gala" / "00000001.jsonl"
    segment.write_bytes(segment.read_bytes().replace(b'"quantity":1', b'"quantity":2'))
    copy = backup(office.data, tmp_path / "backups", status=1)
    assert copy.name.endswith("-damaged")
    assert verify(copy) == 1


@pytest.mark.servers
def test_where_no_backup_can_be_made_none_is_there(office: Office, tmp_path: Path) -> None:
    for data, folder, why in (
        (tmp_path / "nothing", tmp_path / "backups", "has no journal"),
        (office.data, office.data / "admin-token" / "backups", "no copy was made"),
    ):
        command = [sys.executable, SCRIPT, data, folder]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        assert (done.returncode, done.stdout, why in done.stderr) == (1, "", True), done.stderr
        assert "Traceback" not in done.stderr
        assert not folder.exists()


@pytest.mark.skipif(not may_mount(), reason="no small disk can be mounted here")
def test_a_backup_that_finds_no_room_leaves_nothing(tmp_path: Path) -> None:
    Writer(tmp_path / "data").sell(200)
    folder = tmp_path / "backups"
    then = ["sh", "-c", '"$@"; echo "status $?"; ls -A "$0"', folder, sys.executable, SCRIPT, tmp_path / "data", folder]
    command = [*on_small_disk(folder, 64), *map(str, then)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout == "status 1\n"
    assert "No space left" in done.stderr


# -- without an office: segments are short, and copies are taken at many moments --------------------------------------


class Writer:
    """One who writes purchases into an event, four to a segment; in a thread or by itself."""

    def __init__(self, data: Path, event: str = "gala") -> None:
        self.folder = data / "journal" / event
        self.folder.mkdir(parents=True)
        about = Event(event, event, 1_000_000)
        begin_segment(self.folder, SegmentHead(FORMAT, "id-1", about, 1, Counters()))
        self._ledger = Ledger(self.folder, 4)
        self.written = 0

    def sell(self, count: int = 1) -> None:
        for _ in range(count):
            command = Sell(f"k{self.written}", "r", f"o{self.written}", 1)
            view = self._ledger.view([command], None)
            self._ledger.sync(self._ledger.append(records_of(decide_all(view, [command], NOW))))
            self.written += 1

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """They write all the time, inside this block."""
        stop = threading.Event()

        def work() -> None:
            while not stop.is_set():
                self.sell()

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(30)


def snapshot(script: ModuleType, data: Path, target: Path) -> Path:
    """The script's two rounds."""
    script.copy_twice(data, target)
    return target


@pytest.mark.slow
def test_at_many_moments_a_copy_is_whole_and_has_all_that_was_written_before(
    tmp_path: Path, script: ModuleType
) -> None:
    writer = Writer(tmp_path / "data")
    found = []
    with writer.at_work():
        for moment in range(30):
            written = writer.written
            wait_for(lambda written=written: writer.written > written, "somebody writes")
            copy = snapshot(script, tmp_path / "data", tmp_path / f"copy-{moment}")
            report = verify_journal(copy / "journal" / "gala")
            assert (report.damages, report.torn) == ([], 0)
            assert report.records > written
            found.append(lines(copy))
    whole = lines(tmp_path / "data")
    assert all(whole.startswith(each) for each in found)
    assert len(list(copy.rglob("*.jsonl"))) > 5


def test_an_event_that_is_made_when_the_locks_are_taken_is_not_in_the_copy(tmp_path: Path, script: ModuleType) -> None:
    """Nobody keeps its writers out: its files would be of different moments, and its carts may be half."""
    Writer(tmp_path / "data").sell(1)
    with script.nobody_writes(tmp_path / "data") as events:
        Writer(tmp_path / "data", "new").sell(1)
        assert events == ["gala"]
        names = [f"journal/{event}/{each}" for event in events for each in script.OF_AN_EVENT]
        assert len(script.copy(tmp_path / "data", tmp_path / "copy", names, {})) == 2


def lines(data: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(data.rglob("*.jsonl")))


@pytest.mark.parametrize("order", ["segments first", "from the last segment on"])
def test_a_copy_without_the_locks_whose_files_are_of_different_moments_is_found_out(tmp_path: Path, order: str) -> None:
    """The negative control: ``cp -a`` takes files in an order that nobody chose."""
    writer = Writer(tmp_path / "data")
    writer.sell(7)
    wrong = tmp_path / "wrong" / "journal" / "gala"
    wrong.mkdir(parents=True)
    names = ["00000001.jsonl", "00000002.jsonl", "durable"]
    if order == "from the last segment on":
        names = ["00000002.jsonl", "00000003.jsonl"]
    for name in names:
        shutil.copy(writer.folder / name, wrong)
        writer.sell(1 if order == "segments first" else 4)
    shutil.copy(writer.folder / "00000001.jsonl", wrong)
    assert verify(tmp_path / "wrong") == 1


def test_a_copy_that_lost_its_end_is_found_out_by_the_mark_in_it(tmp_path: Path, script: ModuleType) -> None:
    writer = Writer(tmp_path / "data")
    writer.sell(3)
    copy = snapshot(script, tmp_path / "data", tmp_path / "copy")
    assert verify(copy) == 0
    segment = copy / "journal" / "gala" / "00000001.jsonl"
    segment.write_bytes(b"".join(segment.read_bytes().splitlines(keepends=True)[:-1]))
    assert verify(copy) == 1
    (copy / "journal" / "gala" / "durable").unlink()
    assert verify(copy) == 0  # without the mark nobody could tell: therefore it is part of the copy


def test_a_hall_comes_with_its_event_and_is_missed_without(tmp_path: Path) -> None:
    hall = Hall(Plan((Section("stalls", (Row("A", 3),)),)))
    house = Event("house", "House", 3, hall=hall.name, born="b1")
    (tmp_path / "data").mkdir()
    store = Journal(Settings(data=tmp_path / "data"))
    store.halls.keep(hall)
    store.create(house)
    view = store.view("house", now=NOW)
    decide_all(view, [Sell("k", "r", "o1", 1, wish=Wish(("stalls-A-2",)))], NOW)
    [position] = store.append([view])
    store.make_durable("house", position)
    copy = backup(tmp_path / "data", tmp_path / "backups")
    assert list(Journal(Settings(data=copy)).seats("house").seats) == [0, 2, 0]
    assert verify(copy) == 0
    shutil.rmtree(copy / "halls")
    assert verify(copy) == 1
