"""What is written is what the contract says, and what the reader understands."""

from __future__ import annotations

import json
from pathlib import Path

from loadtests.lab.history.history import read_history
from loadtests.lab.history.recorder import Operation, Recorder


def purchase(**fields: object) -> Operation:
    given = {
        "process": 1,
        "op": "buy",
        "event": "show",
        "invoke_ns": 10,
        "return_ns": 20,
        "outcome": "ok",
        "key": "1-1",
    }
    return Operation(**(given | fields))  # type: ignore[arg-type]


def test_an_unknown_operation_says_that_it_has_not_returned(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "history.jsonl")
    recorder.write(purchase(outcome="unknown", return_ns=None, quantity=2))
    line = json.loads((tmp_path / "history.jsonl").read_text())
    assert line["return_ns"] is None
    assert line["outcome"] == "unknown"


def test_what_a_service_does_not_give_is_absent(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "history.jsonl")
    recorder.write(purchase(quantity=2))
    line = json.loads((tmp_path / "history.jsonl").read_text())
    assert not {"version", "tickets", "order", "remaining", "attempt", "host", "status"} & line.keys()


def test_an_ok_mutation_says_whether_it_was_replayed(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "history.jsonl")
    recorder.write(purchase(replayed=False))
    assert json.loads((tmp_path / "history.jsonl").read_text())["replayed"] is False


def test_operations_are_in_the_file_before_it_is_closed(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "history.jsonl")
    for number in range(3):
        recorder.write(purchase(key=f"1-{number}", invoke_ns=10 * number, return_ns=10 * number + 5, quantity=1))
    assert len((tmp_path / "history.jsonl").read_text().splitlines()) == recorder.operations == 3


def test_the_reader_understands_what_the_recorder_writes(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "history.jsonl")
    recorder.write(purchase(quantity=2, order="o1", tickets=[1, 2], remaining=3, version=1, replayed=False, worker=7))
    recorder.write(
        purchase(op="read", key=None, invoke_ns=30, return_ns=40, remaining=3, version=1, wait_ms=0.1, epoch=2)
    )
    recorder.write(purchase(op="cancel", key="1-2", invoke_ns=50, return_ns=None, outcome="unknown", order="o1"))
    recorder.close()
    assert len(read_history(tmp_path / "history.jsonl")) == 3
