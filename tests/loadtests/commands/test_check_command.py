"""``lastseat check``: what it prints and how it exits."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from loadtests.lab.checks.verdict import EXIT_STATUS
from loadtests.lab.commands import check as command
from loadtests.lab.exit_status import EXIT_LAB_FAILED, EXIT_USAGE

HISTORIES = Path(__file__).parents[1] / "histories"
VALID = HISTORIES / "valid" / "contract_example"
INVALID = HISTORIES / "invalid" / "lost_sale.the_last_record"
UNKNOWN = HISTORIES / "unknown" / "a_line_that_is_no_json"


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(command.check, [str(argument) for argument in arguments], standalone_mode=False)


@pytest.mark.parametrize("folder", [VALID, INVALID, UNKNOWN])
def test_the_verdict_comes_first_and_is_the_exit_status(folder: Path) -> None:
    result, verdict = run(folder), folder.parent.name
    assert result.output.startswith(verdict.upper())
    assert result.return_value == EXIT_STATUS[verdict]


def test_the_witness_is_named_by_key_and_line() -> None:
    output = run(INVALID).output
    assert "lost sale: it was acknowledged, and the audit has no record of its key" in output
    assert "line 29: buy by key x: ok, version 20, 5600 to 5800 ns" in output


def test_a_bad_line_is_named() -> None:
    assert "history.jsonl, line 5" in run(UNKNOWN).output


def test_json_is_the_verdict_and_nothing_else() -> None:
    verdict = json.loads(run(INVALID, "--json").output)
    assert {"verdict", "tier", "operations", "seconds", "checks", "why"} <= set(verdict)
    assert (verdict["verdict"], verdict["tier"], verdict["operations"]) == ("invalid", "A", 29)
    lost = [
        witness for check in verdict["checks"] for witness in check["witness"] if witness["violation"] == "lost sale"
    ]
    assert [operation["key"] for operation in lost[0]["operations"]] == ["x"]
    assert {"name", "verdict", "count", "witness"} <= set(verdict["checks"][0])


def test_a_history_file_takes_its_audit_as_an_option() -> None:
    history = VALID / "history.jsonl"
    assert run(history).return_value == 2
    assert "the capacity is unknown" in run(history).output
    assert run(history, "--audit", VALID / "audit.jsonl").return_value == 0


def test_a_capacity_that_the_audit_contradicts_is_invalid() -> None:
    result = run(VALID, "--capacity", "4")
    assert result.return_value == 1
    assert "torn audit: the audit begins with a capacity of 5; the event was created with 4" in result.output


def test_every_event_has_its_own_audit(tmp_path: Path) -> None:
    shutil.copytree(HISTORIES / "valid" / "two_events", tmp_path / "run")
    assert run(tmp_path / "run").return_value == 0
    (tmp_path / "run" / "audit-show.jsonl").rename(tmp_path / "run" / "audit-late.jsonl")
    result = run(tmp_path / "run")
    assert result.return_value == 2
    assert "audit-late.jsonl is by its header the audit of the event show" in result.output


@pytest.mark.parametrize(
    "arguments",
    [["nowhere"], [HISTORIES], [VALID, "--audit", VALID / "audit.jsonl"], [VALID, "--capacity", "-1"], []],
)
def test_wrong_usage_is_a_usage_error(arguments: list[str | Path]) -> None:
    assert isinstance(run(*arguments).exception, click.UsageError)


def test_a_failure_of_the_lab_is_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("the disk is gone")

    monkeypatch.setattr(command, "judge_folder", fail)
    failure = run(VALID).exception
    assert isinstance(failure, click.ClickException)
    assert not isinstance(failure, click.UsageError)
    assert "the disk is gone" in failure.message


def test_the_help_has_examples() -> None:
    assert "lastseat check results/demo/latest" in run("--help").output


@pytest.mark.servers
@pytest.mark.parametrize(
    ("arguments", "status"),
    [([VALID], 0), ([INVALID], 1), ([UNKNOWN], 2), (["nowhere"], EXIT_USAGE)],
)
def test_the_process_exits_as_the_contract_says(arguments: list[str | Path], status: int) -> None:
    program = [sys.executable, "-c", "from loadtests.lab.cli import main; main()", "check", *map(str, arguments)]
    assert subprocess.run(program, capture_output=True, check=False).returncode == status
    assert EXIT_LAB_FAILED == 70
