"""The recorded histories: the folder is the expected verdict."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from make_histories import make_all
from oracle import is_linearizable

from loadtests.lab.checks import VIOLATIONS, judge_folder

HISTORIES = Path(__file__).parent / "histories"


def folders(verdict: str) -> list[Any]:
    return [pytest.param(folder, id=folder.name) for folder in sorted((HISTORIES / verdict).iterdir())]


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def about(folder: Path) -> dict[str, Any]:
    path = folder / "about.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return found


@pytest.mark.parametrize("folder", folders("valid"))
def test_an_honest_history_is_valid(folder: Path) -> None:
    verdict = judge_folder(folder, capacity=about(folder).get("capacity"))
    assert (verdict.verdict, [result.why for result in verdict.checks if result.why]) == ("valid", [])


@pytest.mark.parametrize("folder", folders("invalid"))
def test_one_wrong_operation_is_invalid_and_named(folder: Path) -> None:
    verdict = judge_folder(folder, capacity=about(folder).get("capacity"))
    named = {violation for result in verdict.checks for violation in result.violations}
    assert verdict.verdict == "invalid"
    assert about(folder)["violation"] in named
    witnessed = {witness.violation for result in verdict.checks for witness in result.witness}
    assert named == witnessed
    assert not [result.why for result in verdict.checks if "crash" in result.why]


@pytest.mark.parametrize("folder", folders("unknown"))
def test_what_cannot_be_judged_is_unknown_with_the_reason(folder: Path) -> None:
    verdict = judge_folder(folder, capacity=about(folder).get("capacity"))
    assert verdict.verdict == "unknown"
    assert about(folder)["why"] in verdict.why
    assert "crash" not in verdict.why


@pytest.mark.parametrize("folder", folders("valid") + folders("invalid"))
def test_the_brute_force_search_agrees(folder: Path) -> None:
    audits = [lines(path) for path in folder.glob("audit*.jsonl")]
    history = lines(folder / "history.jsonl")
    if folder.name == "two_events":
        history = [line for line in history if line["event"] == audits[0][0]["event"]]
    capacity = about(folder).get("capacity") or audits[0][0]["capacity"]
    linearizable = is_linearizable(history, audits[0] if audits else None, capacity)
    assert linearizable == (folder.parent.name == "valid")


def test_the_recorded_histories_are_what_the_script_makes(tmp_path: Path) -> None:
    make_all(tmp_path)
    made = {path.relative_to(tmp_path): path.read_text() for path in tmp_path.rglob("*.json*")}
    kept = {path.relative_to(HISTORIES): path.read_text() for path in HISTORIES.rglob("*.json*")}
    assert made == {path: text for path, text in kept.items() if path.parent.name != "contract_example"}


def test_every_violation_that_has_a_name_has_a_recorded_history() -> None:
    recorded = {about(folder)["violation"] for folder in (HISTORIES / "invalid").iterdir()}
    assert recorded == set(VIOLATIONS)
