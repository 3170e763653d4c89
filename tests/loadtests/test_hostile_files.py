"""Histories, audits and results folders that somebody made: judged or refused with a word, never obeyed."""

from __future__ import annotations

import gzip
import json
import os
import random
import re
import resource
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtests.lab.checks.files import judge_folder
from loadtests.lab.commands import check as command
from loadtests.lab.exit_status import EXIT_USAGE
from loadtests.lab.experiment.result import Conclusion
from loadtests.lab.report.run_report import COUNTEREXAMPLE, write_run_report
from loadtests.lab.report.text import conclusion_text
from loadtests.lab.untrusted import printable

HISTORIES = Path(__file__).parent / "histories"
FOLDERS = [
    folder
    for kind in ("valid", "invalid", "unknown")
    for folder in sorted((HISTORIES / kind).iterdir())
    if (folder / "history.jsonl").exists()
]
LASTSEAT = [sys.executable, "-c", "from loadtests.lab.cli import main; main()"]

NASTY = [
    "[/red]", "[red]", "[link=http://evil.example]x[/link]", "\x1b[2J\x1b]0;title\x07", "\x9b31m", "\u202egnp.exe",
    "<script>alert(1)</script>", "\" onload=\"alert(1)", "</title><svg onload=alert(1)>", "a\nVALID no violation",
    "\x00", "{{ 7*7 }}", "é ☃ 票",
]  # fmt: skip

Line = dict[str, Any]


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(command.check, [str(argument) for argument in arguments], standalone_mode=False)


def sold_twice(folder: Path, text: str) -> Path:
    """One seat sold to two, with the same text wherever a service, or a client, may put any."""
    folder.mkdir(exist_ok=True)
    both = {"op": "buy", "event": text, "quantity": 1, "outcome": "ok", "tickets": [1], "remaining": 0, "version": 1}
    lines: list[Line] = [
        both | {"process": 1, "key": f"a{text}", "order": f"o{text}", "invoke_ns": 1000, "return_ns": 5000},
        both | {"process": 2, "key": f"b{text}", "order": f"p{text}", "invoke_ns": 2000, "return_ns": 6000},
        {"process": 3, "op": "cancel", "event": text, "key": f"c{text}", "order": text, "outcome": "refused",
         "invoke_ns": 7000, "return_ns": 8000, "host": None, "cart": text, "hold": text},
    ]  # fmt: skip
    records: list[Line] = [
        {"event": text, "capacity": 1, "versions": 1},
        {"version": 1, "kind": "sold", "key": f"b{text}", "order": f"p{text}", "quantity": 1, "tickets": [1]},
    ]
    (folder / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "audit.jsonl").write_text("".join(json.dumps(line) + "\n" for line in records))
    experiment = {"experiment": text, "event": text, text: {text: [text]}, "options": {"capacity": 1, text: text}}
    (folder / "experiment.json").write_text(json.dumps(experiment))
    return folder


@pytest.mark.parametrize("text", NASTY)
def test_a_name_is_printed_as_it_is_spelled_and_changes_no_verdict(tmp_path: Path, text: str) -> None:
    result = run(sold_twice(tmp_path, text))
    assert result.exception is None
    assert result.return_value == 1
    assert result.output.startswith("INVALID")
    assert set(result.output) - {"\n"} == {each for each in result.output if each.isprintable()}
    if "\n" not in text and len(text) < 20:
        assert printable(text) in result.output
    verdict = judge_folder(tmp_path)
    said = conclusion_text(Conclusion(verdict=verdict, folder=tmp_path, incomplete=[text], remarks=[text]))
    assert all(each.isprintable() or each == "\n" for each in said)
    assert said.count("\n") < 40


def test_in_a_process_of_its_own_the_status_is_the_verdict(tmp_path: Path) -> None:
    done = subprocess.run(
        [*LASTSEAT, "check", str(sold_twice(tmp_path, "[/red]"))],
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)


class Tags(HTMLParser):
    """The elements and attributes of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.scripts = 0
        self.handlers: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script"
        self.handlers += [name for name, _ in attrs if name.startswith("on")]


@pytest.mark.parametrize("text", NASTY)
def test_a_report_shows_text_and_runs_none(tmp_path: Path, text: str) -> None:
    folder = sold_twice(tmp_path / "run", text)
    (folder / "faults.json").unlink(missing_ok=True)
    page = write_run_report(folder).read_text(encoding="utf-8")
    tags = Tags(page)
    assert (tags.scripts, tags.handlers) == (1, [])  # the report's own, which saves a drawing
    assert "{{" not in text or "49" not in re.findall(r"<dd>(.*?)</dd>", page)
    assert not any(character in page for character in "\x00\x1b\x9b\u202e")
    drawing = (folder / COUNTEREXAMPLE).read_text(encoding="utf-8")
    assert {element.tag.rpartition("}")[2] for element in ElementTree.fromstring(drawing).iter()} <= {
        "svg", "title", "desc", "style", "g", "rect", "text", "tspan", "path", "circle",
    }  # fmt: skip


# -- what is no file ---------------------------------------------------------------------------------------------------


def put(path: Path, what: str) -> None:
    path.unlink(missing_ok=True)
    match what:
        case "a pipe":
            os.mkfifo(path)
        case "a link to nothing":
            path.symlink_to("nowhere")
        case "a link to itself":
            path.symlink_to(path.name)
        case "a folder":
            path.mkdir()
        case "a device":
            path.symlink_to("/dev/zero")
        case "no UTF-8":
            path.write_bytes(b'{"event":"\xff\xfe"}\n' * 2)
        case "one endless line":
            path.write_bytes(b"[" * (40 << 20))
        case "deep":
            path.write_bytes((b'{"event":' + b"[" * 10_000 + b"]" * 10_000 + b"}\n") * 2)
        case "half a gzip":
            path.write_bytes(gzip.compress(b"{}\n" * 1000)[:-9])
        case "a letter between lines":
            path.write_bytes(b"\x0b\n" * 3)


KINDS = [
    "a pipe", "a link to nothing", "a link to itself", "a folder", "a device", "no UTF-8", "one endless line", "deep",
    "half a gzip", "a letter between lines",
]  # fmt: skip


@pytest.mark.parametrize("what", KINDS)
@pytest.mark.parametrize(
    "name", ["history.jsonl", "audit.jsonl", "audit-more.jsonl", "experiment.json", "verdict.json"]
)
def test_what_lies_in_the_place_of_a_file_is_named_and_hangs_nothing(tmp_path: Path, name: str, what: str) -> None:
    folder = sold_twice(tmp_path, "show")
    put(folder / name, what)
    result = run(folder)
    if name == "history.jsonl":
        is_there = (folder / name).is_file()
        assert isinstance(result.exception, command.click.UsageError) or result.return_value == 2
        assert is_there or result.exception is not None
        return
    assert result.exception is None
    assert result.return_value == 1, "the answers alone show that the seat was sold twice"
    if name.startswith("audit"):
        assert name in result.output or what == "a link to nothing"


@pytest.mark.parametrize("what", ["a pipe", "a device"])
def test_a_path_that_is_no_file_is_wrong_usage(tmp_path: Path, what: str) -> None:
    put(tmp_path / "history", what)
    assert isinstance(run(tmp_path / "history").exception, command.click.UsageError)
    assert EXIT_USAGE == 64


# -- numbers -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("audited", [True, False])
@pytest.mark.parametrize("field", ["quantity", "version", "remaining", "tickets", "capacity"])
def test_numbers_beyond_all_memory_leave_the_verdict_to_what_the_others_show(
    tmp_path: Path, field: str, audited: bool
) -> None:
    folder = sold_twice(tmp_path, "show")
    lines = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    value: Any = {"quantity": 10**9, "version": 2**60, "remaining": -(2**60), "tickets": [2**60]}.get(field)
    huge = {"process": 9, "op": "buy", "event": "show", "quantity": 1, "outcome": "ok", "invoke_ns": 1, "return_ns": 2}
    more = [huge | {"process": 9 + n, "key": f"h{n}"} | ({} if value is None else {field: value}) for n in range(3)]
    (folder / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in [*lines[:2], *more]))
    if not audited:
        (folder / "audit.jsonl").unlink()
    capacity = str(10**18) if field == "capacity" else "1"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result = run(folder, "--capacity", capacity)
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10 < 500
    assert "crashed" not in result.output
    assert result.return_value == 1


BY_OTHERS = {
    "misplaced.one_version_for_two", "misplaced.version_0", "over-recorded.a_number_beyond_the_capacity",
    "inversion.by_versions_alone",
    "oversold.by_numbers", "oversold.by_counts", "double-booked.two_orders", "lost_sale.the_last_record",
    "replay_without_a_commit.there_was_no_first_attempt", "double_apply.two_fresh_answers",
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(BY_OTHERS))
def test_one_answer_that_tells_nothing_hides_no_violation_that_others_show(tmp_path: Path, name: str) -> None:
    source = HISTORIES / "invalid" / name
    lines = [json.loads(line) for line in (source / "history.jsonl").read_text().splitlines()]
    for path in source.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    witnesses = {
        operation.line
        for check in judge_folder(source).checks
        for each in check.witness
        for operation in each.operations
    }
    tried = 0
    for number, line in enumerate(lines):
        if line["outcome"] != "ok" or number + 1 in witnesses:
            continue
        silent = {"version", "tickets", "remaining"} | ({"order"} if line["op"] in {"buy", "confirm"} else set())
        changed = [*lines[:number], {k: v for k, v in line.items() if k not in silent}, *lines[number + 1 :]]
        (tmp_path / "history.jsonl").write_text("".join(json.dumps(each) + "\n" for each in changed))
        assert judge_folder(tmp_path).verdict == "invalid", f"line {number + 1}"
        tried += 1
        if tried == 12:
            break
    assert tried or len(lines) < 4


# -- anything ----------------------------------------------------------------------------------------------------------

VALUES = [
    *NASTY,
    -1, 0, 1, 2, 5, 10**9, 2**60, 2**60 + 1, 2**63 - 1, 10**30, 1e308, 1.5, True, None, [], {}, [1, 2, 3], [2**60],
    ["x"], "9" * 5000, "show", "ok", "unknown", "sold_out", "hold", "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59.999999-14:00", "2026-11-23T08:00:00",
]  # fmt: skip
PIECES = [b"\n", b"\x0b\n", b"\r", b"{}{}", b"\xff", b"[" * 3000, b"\x00", b'"', b"\n\n"]


def mangled(content: bytes, dice: random.Random) -> bytes:
    """The lines with other values here and there, out of order now and then, and bytes lost, changed and added."""
    lines = content.split(b"\n")
    for at in dice.sample(range(len(lines)), min(len(lines), dice.choice([0, 1, 2, 4]))):
        try:
            row = json.loads(lines[at])
        except ValueError:
            continue
        if isinstance(row, dict):
            row[dice.choice([*row, "quantity", "version", "tickets", "return_ns", "host", "cart"])] = dice.choice(
                VALUES
            )
            lines[at] = json.dumps(row).encode()
    if dice.random() < 0.2:
        dice.shuffle(lines)
    whole = bytearray(b"\n".join(lines))
    for _ in range(dice.choice([0, 0, 1, 2])):
        at = dice.randrange(len(whole) + 1)
        whole[at : at + dice.choice([0, 1, 20])] = dice.choice([b"", *PIECES])
    return bytes(whole)


@pytest.mark.slow
@settings(max_examples=150)
@given(folder=st.sampled_from(FOLDERS), seed=st.integers(0, 2**32), capacity=st.sampled_from([None, 0, 5, 10**18]))
def test_whatever_is_judged_there_is_a_verdict_or_a_usage(
    tmp_path_factory: pytest.TempPathFactory, folder: Path, seed: int, capacity: int | None
) -> None:
    dice, into = random.Random(seed), tmp_path_factory.mktemp("mangled")
    for path in folder.iterdir():
        if path.name.startswith(("history", "audit", "experiment")):
            (into / path.name).write_bytes(mangled(path.read_bytes(), dice))
    result = run(into, *([] if capacity is None else ["--capacity", str(capacity)]))
    assert result.exception is None, result.output
    assert result.return_value in {0, 1, 2}
    assert all(character.isprintable() or character == "\n" for character in result.output)
    assert "crashed" not in result.output
    write_run_report(into)
