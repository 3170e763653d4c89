"""The recorded histories: the folder is the expected verdict.

Most are made by ``make_histories.py``; ``contract_example`` stands in the contract, and ``recorded_from…`` are runs of
the real office under a real load.
"""

from __future__ import annotations

import gzip
import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
from oracle import is_linearizable

from loadtests.lab.checks.files import capacity_of, judge_folder
from loadtests.lab.checks.findings import VIOLATIONS
from tests.loadtests.checks.make_histories import make_all

HISTORIES = Path(__file__).parents[1] / "histories"


def folders(verdict: str) -> list[Any]:
    return [pytest.param(folder, id=folder.name) for folder in sorted((HISTORIES / verdict).iterdir())]


def lines(path: Path) -> list[dict[str, Any]]:
    text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return [json.loads(line) for line in text.splitlines()]


def about(folder: Path) -> dict[str, Any]:
    path = folder / "about.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return found


@pytest.mark.parametrize("folder", folders("valid"))
def test_an_honest_history_is_valid(folder: Path) -> None:
    verdict = judge_folder(folder)
    assert (verdict.verdict, [result.why for result in verdict.checks if result.why]) == ("valid", [])


@pytest.mark.parametrize("folder", folders("invalid"))
def test_one_wrong_operation_is_invalid_and_named(folder: Path) -> None:
    verdict = judge_folder(folder)
    named = {violation for result in verdict.checks for violation in result.violations}
    assert verdict.verdict == "invalid"
    assert about(folder)["violation"] in named
    witnessed = {witness.violation for result in verdict.checks for witness in result.witness}
    assert named == witnessed
    assert not [result.why for result in verdict.checks if "crash" in result.why]


@pytest.mark.parametrize("folder", folders("unknown"))
def test_what_cannot_be_judged_is_unknown_with_the_reason(folder: Path) -> None:
    verdict = judge_folder(folder)
    assert verdict.verdict == "unknown"
    assert about(folder)["why"] in verdict.why
    assert "crash" not in verdict.why


BESIDE_THE_SEARCH = ("unknown_seat.a_section", "a_seat_of_a_purchase_of_any_seat")
"""It knows no seats without a name where there is no hall, and no sections that the hall does not have."""


@pytest.mark.parametrize(
    "folder", [each for each in folders("valid") + folders("invalid") if each.id not in BESIDE_THE_SEARCH]
)
def test_the_brute_force_search_agrees(folder: Path) -> None:
    """Event by event: so it finds nothing wrong with half a cart, each half of which is right by itself."""
    audits = {audit[0]["event"]: audit for audit in map(lines, folder.glob("audit*.jsonl*"))}
    (history,) = [lines(path) for path in folder.glob("history.jsonl*")]
    events = set(audits) or {line["event"] for line in history}
    linearizable = all(
        is_linearizable(
            [_in_todays_words(line) for line in history if line["event"] == event],
            audits.get(event),
            capacity_of(folder) or audits[event][0]["capacity"],
        )
        for event in events
    )
    assert linearizable == (folder.parent.name == "valid" or folder.name.startswith("half_a_cart"))


def _in_todays_words(line: dict[str, Any]) -> dict[str, Any]:
    """A purchase of one ``seat``, which is the older way to say so, as one that wanted it."""
    if "seat" not in line:
        return line
    refused = {"outcome": "seat_taken", "taken": [line["seat"]]} if line["outcome"] == "sold_out" else {}
    return {**line, "wanted": [line["seat"]], **refused}


@pytest.mark.parametrize("file", ["history.jsonl", "audit.jsonl"])
def test_a_damaged_file_gives_a_verdict_and_no_crash(file: str, tmp_path: Path) -> None:
    shutil.copytree(HISTORIES / "valid" / "audited", tmp_path, dirs_exist_ok=True)
    whole = (tmp_path / file).read_bytes()
    rng = random.Random(file)
    verdicts = set()
    for _ in range(200):
        damaged = bytearray(whole)
        at = rng.randrange(len(damaged))
        if rng.random() < 0.5:
            damaged[at] = rng.choice(b'0123456789",:{}[]-enulotrufa\xff\x00')
        else:
            del damaged[at : at + rng.randrange(1, 400)]
        (tmp_path / file).write_bytes(damaged)
        verdict = judge_folder(tmp_path)
        assert "crash" not in verdict.why
        verdicts.add(verdict.verdict)
    assert "unknown" in verdicts


def test_the_recorded_histories_are_what_the_script_makes(tmp_path: Path) -> None:
    make_all(tmp_path)
    made = {path.relative_to(tmp_path): path.read_text() for path in tmp_path.rglob("*.json*")}
    kept = {
        path.relative_to(HISTORIES): path.read_text()
        for path in HISTORIES.rglob("*.json*")
        if not path.parent.name.startswith(("contract_example", "recorded_from"))
    }
    assert made == kept


def test_every_violation_that_has_a_name_has_a_recorded_history() -> None:
    recorded = {about(folder)["violation"] for folder in (HISTORIES / "invalid").iterdir()}
    assert recorded == set(VIOLATIONS)
