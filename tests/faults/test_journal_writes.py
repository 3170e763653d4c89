"""A journal's write that fails half-way, and what other processes may have seen or believed of it meanwhile."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner
from flask.testing import FlaskClient

from service.commands.journal import journal
from service.errors import Problem
from service.rules.inventory import Event, Record, Sell, decide_all, records_of
from service.runtime.files import CommitFailed
from service.stores.journal.ledger import Ledger
from service.stores.journal.lines import FORMAT, Counters, SegmentHead
from service.stores.journal.segments import Position, begin_segment

NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)
SMALL = 4
DISK_SAYS = [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "journal" / "show"
    made.mkdir(parents=True)
    begin_segment(made, SegmentHead(FORMAT, "id-1", Event("show", "Show", 1000), 1, Counters()))
    return made


def wanted(view_of: Ledger, *keys: str) -> list[Record]:
    commands = [Sell(key, "r", f"o-{key}", 1) for key in keys]
    return records_of(decide_all(view_of.view(commands, None), commands, NOW))


def commit(ledger: Ledger, *keys: str) -> list[Record]:
    records = wanted(ledger, *keys)
    ledger.sync(ledger.append(records, halfway=None))
    return records


def keys_in(ledger: Ledger) -> list[str]:
    return [record.key for record in ledger.records(ledger.audit()[1])]


class Disk:
    """In the place of ``os.write``: takes so many bytes of a write and then fails, once it is told to."""

    def __init__(self, error: int, room: int) -> None:
        self.error, self.room = error, room
        self.meanwhile: Callable[[], None] = lambda: None
        self._write = os.write

    def write(self, fd: int, content: memoryview) -> int:
        if not self.room:
            self.meanwhile()
            raise OSError(self.error, os.strerror(self.error))
        taken = self._write(fd, content[: self.room])
        self.room -= taken
        return taken


# -- taken back -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", DISK_SAYS, ids=lambda error: errno.errorcode[error])
def test_of_a_batch_that_the_disk_takes_only_half_of_nothing_is_left_and_nobody_saw_any_of_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    """Its first records are whole lines; another process that read them then would have told of what never was."""
    writer, reader = Ledger(folder), Ledger(folder)
    commit(writer, "a")
    batch = wanted(writer, "b", "c", "d")
    disk = Disk(error, room=300)
    seen: list[int] = []
    looked_or_waits = threading.Event()

    def look() -> None:
        seen.append(reader.view([], None).version)
        looked_or_waits.set()

    looking = threading.Thread(target=look)

    def let_him_look() -> None:
        looking.start()
        assert looked_or_waits.wait(20)

    disk.meanwhile = let_him_look
    with monkeypatch.context() as broken:
        broken.setattr(os, "write", disk.write)
        broken.setattr("service.stores.journal.segments.time.sleep", lambda _: looked_or_waits.set())
        with pytest.raises(Problem) as problem:
            writer.append(batch, halfway=None)
    looking.join(20)
    assert problem.value.kind.definite
    assert "try again" in problem.value.detail
    assert seen == [1]
    assert keys_in(Ledger(folder)) == ["a"]
    for ledger, key in ((reader, "e"), (writer, "f")):
        commit(ledger, key)
    assert keys_in(reader) == keys_in(Ledger(folder)) == ["a", "e", "f"]


def test_what_is_taken_back_is_taken_back_on_the_disk_before_the_buyer_is_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a power cut could bring back a sale of which its buyer was told that nothing was written."""
    ledger = Ledger(folder)
    batch = wanted(ledger, "b", "c", "d")
    calls: list[str] = []
    truncate, sync = os.ftruncate, os.fdatasync
    monkeypatch.setattr(os, "write", Disk(errno.ENOSPC, room=300).write)
    monkeypatch.setattr(os, "ftruncate", lambda fd, size: (calls.append("cut"), truncate(fd, size))[1])
    monkeypatch.setattr(os, "fdatasync", lambda fd: (calls.append("sync"), sync(fd))[1])
    with pytest.raises(Problem, match="storage_full"):
        ledger.append(batch, halfway=None)
    assert calls == ["cut", "sync"]


def test_where_it_cannot_be_taken_back_nobody_is_told_that_nothing_was_written(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = Ledger(folder)
    batch = wanted(ledger, "b", "c", "d")
    monkeypatch.setattr(os, "write", Disk(errno.EIO, room=300).write)
    monkeypatch.setattr(os, "ftruncate", refuse)
    with pytest.raises(CommitFailed):
        ledger.append(batch, halfway=None)


def refuse(*_: object) -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


# -- the durable mark -------------------------------------------------------------------------------------------------


def test_a_record_in_the_place_of_half_a_line_is_synced_itself(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sync while a killed writer's half line stands at the end covers that half, not what will stand there."""
    ledger, following = Ledger(folder), Ledger(folder)
    position = ledger.append(wanted(ledger, "a"), halfway=None)
    with (folder / "00000001.jsonl").open("ab") as segment:
        segment.write(b'{"version":2,"kind":"sold","key":"' + b"x" * 2000)
    ledger.sync(position)
    synced: list[int] = []
    sync = os.fdatasync
    appended = following.append(wanted(following, "b"), halfway=None)
    monkeypatch.setattr(os, "fdatasync", lambda fd: (synced.append(fd), sync(fd))[1])
    following.sync(appended)
    assert len(synced) == 1


# -- between two segments ---------------------------------------------------------------------------------------------


def test_a_failed_sync_of_a_sealed_segment_closes_the_store(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second one would succeed without having written anything, and those who wait for it would be answered."""
    ledger = Ledger(folder, SMALL)
    for number in range(SMALL):
        commit(ledger, f"k{number}")
    batch = wanted(ledger, "next")
    monkeypatch.setattr(os, "fdatasync", refuse)
    with pytest.raises(CommitFailed):
        ledger.append(batch, halfway=None)


def test_the_office_closes_when_a_sealed_segment_cannot_be_synced(
    make_client: Callable[..., FlaskClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.stores.journal.ledger.SEGMENT_RECORDS", SMALL)
    client = make_client(store="journal")
    for _ in range(SMALL):
        assert client.post("/events/show/orders", json={"quantity": 1}).status_code == 201
    with monkeypatch.context() as broken:
        broken.setattr(os, "fdatasync", refuse)
        answer = client.post("/events/show/orders", json={"quantity": 1})
    assert (answer.status_code, answer.json["code"], answer.json["definite"]) == (500, "not_durable", False)
    assert client.get("/events/show").json["code"] == "store_closed"


def test_where_there_is_no_room_for_an_index_no_key_is_forgotten(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that is not found is sold to a second time."""
    writer, reader = Ledger(folder, SMALL), Ledger(folder, SMALL)
    for number in range(SMALL):
        commit(writer, f"k{number}")
    reader.view([], None)

    def no_room(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as full:
        full.setattr("service.stores.journal.index.replace_durably", no_room)
        for ledger in (writer, reader):
            with pytest.raises(Problem, match="storage_full"):
                ledger.append(wanted(ledger, "next"), halfway=None)
    for ledger in (writer, reader):
        commit(ledger, f"after-{ledger is writer}")
        assert set(ledger.view([Sell("k1", "r", "o", 1)], None).keys) == {"k1"}


# -- closed segments --------------------------------------------------------------------------------------------------


def test_a_closed_segment_that_was_cut_is_refused_and_named_and_can_be_repaired(folder: Path) -> None:
    """Each of its lines is whole, and so is what follows: only the missing seal tells."""
    ledger = Ledger(folder, SMALL)
    for number in range(2 * SMALL + 1):
        commit(ledger, f"k{number}")
    first = folder / "00000001.jsonl"
    first.write_bytes(b"".join(first.read_bytes().splitlines(keepends=True)[:-2]))
    for index in folder.glob("index-*"):
        index.unlink()
    with pytest.raises(Problem, match="ends without its seal"):
        Ledger(folder, SMALL)
    with pytest.raises(Problem, match="ends without its seal"):
        keys_in(ledger)
    data = ["--data", str(folder.parent.parent)]
    verified = CliRunner().invoke(journal, ["verify", *data], standalone_mode=False)
    assert verified.return_value == 1
    assert "ends without its seal" in verified.output
    assert CliRunner().invoke(journal, ["repair", "show", "--yes", *data], standalone_mode=False).return_value == 0
    assert CliRunner().invoke(journal, ["verify", *data], standalone_mode=False).return_value == 0
    assert keys_in(Ledger(folder, SMALL)) == ["k0", "k1", "k2", "k4", "k5", "k6", "k7", "k8"]


def test_a_closed_segment_that_is_missing_is_named(folder: Path) -> None:
    ledger = Ledger(folder, SMALL)
    for number in range(2 * SMALL + 1):
        commit(ledger, f"k{number}")
    (folder / "00000001.jsonl").unlink()
    with pytest.raises(Problem, match=r"show/00000001.jsonl is missing"):
        list(ledger.records(Position(3, 10_000)))
