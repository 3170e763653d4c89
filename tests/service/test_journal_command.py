"""`lastseat journal`: says what is damaged and where, shows what is there, and sets aside what cannot be read."""

from __future__ import annotations

import json
import re
import zlib
from pathlib import Path

import msgspec
import pytest
from click import ClickException
from click.testing import CliRunner, Result

from service.commands.journal import journal
from service.errors import Problem
from service.rules.inventory import Event, Record, Sell, decide_all
from service.settings import Settings
from service.stores.journal.lines import decode, encode
from service.stores.journal.segments import Position
from service.stores.journal.store import Journal

EVENT = Event("gala", "Gala", 100, lab=True)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory with a journal of five sales."""
    store = Journal(Settings(data=tmp_path))
    store.create(EVENT)
    for number in range(5):
        sell(store, f"k{number}")
    return tmp_path


def sell(store: Journal, key: str) -> int:
    from datetime import UTC, datetime

    command = Sell(key, "r", f"o-{key}", 2, None)
    view = store.view("gala", [command])
    decide_all(view, [command], datetime(2026, 11, 23, tzinfo=UTC))
    [position] = store.append([view])
    assert isinstance(position, Position)
    store.make_durable("gala", position)
    return view.fresh[0].version


def segment(data: Path) -> Path:
    return data / "journal" / "gala" / "00000001.jsonl"


def flip_a_bit(data: Path, line: int) -> None:
    lines = segment(data).read_bytes().splitlines(keepends=True)
    damaged = bytearray(lines[line])
    damaged[20] ^= 1
    segment(data).write_bytes(b"".join([*lines[:line], bytes(damaged), *lines[line + 1 :]]))


def scramble(data: Path, line: int) -> None:
    """More of a line is wrong than its checksum could put right."""
    lines = segment(data).read_bytes().splitlines(keepends=True)
    lines[line] = lines[line].replace(b'"', b"#")
    segment(data).write_bytes(b"".join(lines))


def run(data: Path, *arguments: str) -> Result:
    return CliRunner().invoke(journal, [*arguments, "--data", str(data)], standalone_mode=False)


def test_a_whole_journal_is_said_to_be_whole(data: Path) -> None:
    ran = run(data, "verify")
    assert ran.return_value == 0
    assert "gala: whole, 5 records in 1 segment(s), 10 of 100 sold" in ran.output


def test_a_damaged_line_is_named_with_its_place(data: Path) -> None:
    flip_a_bit(data, 3)
    ran = run(data, "verify", "--json")
    assert ran.return_value == 1
    [report] = json.loads(ran.output)
    assert "checksum is wrong" in report["damages"][0]


def test_an_unfinished_line_at_the_end_is_no_damage(data: Path) -> None:
    with segment(data).open("ab") as file:
        file.write(b'{"version":6')
    ran = run(data, "verify")
    assert ran.return_value == 0
    assert "an unfinished line of 12 bytes" in ran.output


HOSTILE = "[red]\x1b[2J\x9b31m\u202e[/nothing]"


def hostile_lines(data: Path) -> None:
    """Whole lines, by their checksums, whose texts a terminal or Rich would obey."""
    text = f'{{"version":6,"kind":{json.dumps(HOSTILE, ensure_ascii=False)}'.replace("\x1b", "\\u001b").encode()
    damaged = b'%b,"crc":"%08x"}\n' % (text, zlib.crc32(text))
    content = segment(data).read_bytes()
    sold = json_records(content)[-1]
    another = encode(
        msgspec.structs.replace(sold, version=6, key="k", order="o-k", tickets=(11, 12), remaining=88, buyer=HOSTILE)
    )
    segment(data).write_bytes(content + damaged + another)


def json_records(content: bytes) -> list[Record]:
    return [line for each in content.splitlines(keepends=True) if isinstance(line := decode(each), Record)]


@pytest.mark.parametrize("arguments", [["verify"], ["verify", "--json"], ["show", "gala"], ["repair", "gala", "--yes"]])
def test_what_a_damaged_file_says_is_shown_as_characters_and_never_obeyed(data: Path, arguments: list[str]) -> None:
    hostile_lines(data)
    ran = run(data, *arguments)
    assert ran.exception is None
    assert [each for each in ran.output if not each.isprintable() and each != "\n"] == []
    assert re.search(r"\[red\](\\\S+)\[2J(\\\S+)31m(\\\S+)\[/nothing\]", ran.output)
    if arguments[0] == "show":
        assert json.loads(ran.output.splitlines()[-1])["buyer"] == HOSTILE


@pytest.mark.parametrize("verb", ["verify", "repair"])
def test_the_name_of_a_directory_is_shown_as_characters(data: Path, verb: str) -> None:
    named = "[red]\x1b[2J[" + chr(92)
    (data / "journal" / "gala").rename(data / "journal" / named)
    ran = run(data, verb, named)
    assert (ran.exception, ran.return_value) == (None, 0)
    assert "[red]\\u001b[2J[\\: " in ran.output
    (data / "journal" / named / "00000001.jsonl").write_bytes(b"#\n")
    ran = run(data, "repair", named, "--yes")
    assert isinstance(ran.exception, ClickException)
    assert "no head of [red]\\u001b[2J[\\ can be read" in ran.exception.message


def test_records_are_shown_from_a_version_on(data: Path) -> None:
    shown = [json.loads(line) for line in run(data, "show", "gala", "--from", "3", "--count", "2").output.splitlines()]
    assert [record["version"] for record in shown] == [3, 4]


def test_repair_says_what_it_would_do_and_does_it_only_when_it_is_told_to(data: Path) -> None:
    scramble(data, 3)
    before = segment(data).read_bytes()
    assert run(data, "repair", "gala").return_value == 1
    assert segment(data).read_bytes() == before
    with pytest.raises(Problem):
        Journal(Settings(data=data)).view("gala")
    assert run(data, "repair", "gala", "--yes").return_value == 0
    assert segment(data).with_suffix(".damaged").read_bytes() == before
    store = Journal(Settings(data=data))
    assert [record.version for record in store.audit("gala")[1]] == [1, 2, 4, 5]
    assert sell(store, "after") == 6


def test_a_whole_journal_is_not_touched_by_repair(data: Path) -> None:
    before = segment(data).read_bytes()
    assert "nothing was written" in run(data, "repair", "gala", "--yes").output
    assert segment(data).read_bytes() == before


def test_an_event_without_a_journal_is_named(data: Path) -> None:
    ran = CliRunner().invoke(journal, ["show", "nowhere", "--data", str(data)])
    assert ran.exit_code == 2
    assert "no journal of the event 'nowhere'" in ran.output
