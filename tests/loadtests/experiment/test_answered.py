"""What was answered stands beside the verdict, and no verdict is drawn from answers that were not understood."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from loadtests.lab.experiment.result import Conclusion, conclude, load_conclusion

TARGET = {"workload": {"capacity": 4, "rate": 0.0}, "target": {"name": "a shop"}}


def buy(number: int, outcome: str = "ok", status: int | None = None, **more: Any) -> dict[str, Any]:
    """One of many purchases at once."""
    line = {"process": number, "op": "buy", "event": "show", "key": f"k{number}", "quantity": 1, "invoke_ns": number}
    line |= {"return_ns": None if outcome == "unknown" else 1000 + number, "outcome": outcome} | more
    return line if status is None else line | {"status": status}


def concluded(folder: Path, lines: list[dict[str, Any]], experiment: dict[str, Any] | None = None) -> Conclusion:
    (folder / "history.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    (folder / "experiment.json").write_text(json.dumps(experiment or TARGET), encoding="utf-8")
    return conclude(folder, [], [], [])


def sold_out_sale() -> list[dict[str, Any]]:
    sales = [buy(n, remaining=3 - n, return_ns=1000 + n) for n in range(4)]
    return [*sales, buy(9, "sold_out", remaining=0, invoke_ns=2000, return_ns=3000)]


def test_a_sale_that_is_sold_out_and_was_understood_is_valid_and_says_what_was_answered(tmp_path: Path) -> None:
    conclusion = concluded(tmp_path, sold_out_sale())
    assert conclusion.verdict.verdict == "valid"
    assert conclusion.answered.lines == ["5 purchases: 4 ok, 1 sold out"]
    assert load_conclusion(tmp_path).answered == conclusion.answered


def test_where_most_answers_are_not_described_nothing_is_decided_and_the_status_is_named(tmp_path: Path) -> None:
    strange = [buy(20 + n, "unknown", 400) for n in range(9)]
    few = concluded(tmp_path, [*sold_out_sale(), *strange[:2]], {"workload": {"capacity": 6}})
    assert "2 with status 400" not in few.verdict.why
    most = concluded(tmp_path, [*sold_out_sale(), *strange], {"workload": {"capacity": 13}})
    assert most.verdict.verdict == "unknown"
    assert "most answers are not described: 9 with status 400 of 14 purchases" in most.verdict.why
    assert "Say in [buy] what that status means" in most.verdict.why
    assert any("64% of the purchases are unknown" in line for line in most.answered.lines)


def test_a_violation_stays_one_however_many_answers_are_not_described(tmp_path: Path) -> None:
    strange = [buy(20 + n, "unknown", 400) for n in range(20)]
    assert concluded(tmp_path, [*[buy(n) for n in range(5)], *strange]).verdict.verdict == "invalid"


def test_where_nothing_was_sold_or_refused_the_statuses_that_came_are_named(tmp_path: Path) -> None:
    failed = [buy(1, "fail", 429), buy(2, "fail", 429), buy(3, "unknown", 502), buy(4, "unknown")]
    conclusion = concluded(tmp_path, failed)
    assert conclusion.verdict.verdict == "unknown"
    assert "2 with status 429, 1 with status 502, 1 without an answer" in conclusion.verdict.why


def test_a_strangers_sale_that_ended_before_its_last_ticket_is_not_valid(tmp_path: Path) -> None:
    short = [buy(n, remaining=3 - n) for n in range(3)]
    conclusion = concluded(tmp_path, short)
    assert conclusion.verdict.verdict == "unknown"
    assert "ended at 3 of 4" in conclusion.verdict.why
    assert any(line.startswith("never sold out: 3 of 4") for line in conclusion.answered.lines)
    refused_none = {"workload": {"capacity": 4, "rate": 50.0}, "target": {"name": "a shop"}}
    assert concluded(tmp_path, short, refused_none).verdict.verdict == "valid"


def test_an_unknown_purchase_may_have_been_the_last_ticket(tmp_path: Path) -> None:
    short = [*[buy(n, remaining=3 - n) for n in range(3)], buy(8, "unknown", None)]
    assert not concluded(tmp_path, short).answered.short


def test_where_only_reads_contradict_the_sales_of_a_stranger_the_file_is_named_first(tmp_path: Path) -> None:
    sales = [buy(n) for n in range(4)]
    read = {"process": 50, "op": "read", "event": "show", "invoke_ns": 5000, "return_ns": 6000, "outcome": "ok"}
    stale = [*sales, read | {"remaining": 3}]
    conclusion = concluded(tmp_path, stale)
    assert (conclusion.verdict.verdict, conclusion.verdict.oversold) == ("invalid", 0)
    assert any("Look at the target file first" in remark for remark in conclusion.remarks)
    (tmp_path / "ours").mkdir()
    ours = concluded(tmp_path / "ours", stale, {"workload": {"capacity": 4}})
    assert not any("target file" in remark for remark in ours.remarks)


def test_where_a_ticket_was_sold_twice_the_file_is_not_blamed(tmp_path: Path) -> None:
    conclusion = concluded(tmp_path, [buy(n) for n in range(5)])
    assert conclusion.verdict.oversold == 1
    assert not conclusion.remarks


def test_where_no_purchase_came_to_its_end_that_is_said(tmp_path: Path) -> None:
    holds = [buy(n) | {"op": "hold", "hold": f"h{n}"} for n in range(3)]
    back = [
        {"process": 10 + n, "op": "release", "event": "show", "key": f"r{n}", "hold": f"h{n}", "outcome": "ok"}
        | {"invoke_ns": 2000 + n, "return_ns": 3000 + n}
        for n in range(3)
    ]
    conclusion = concluded(tmp_path, [*holds, *back])
    assert conclusion.verdict.verdict == "unknown"
    assert "no purchase came to its end: 3 were begun" in conclusion.verdict.why
    assert conclusion.answered.lines == ["no purchase came to its end: 3 were begun, and given back or left"]
