"""``lastseat import`` and ``check --resolution``: records of other tools, and clocks that round."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from loadtests.lab.checks.files import judge_files
from loadtests.lab.cli import lastseat
from loadtests.lab.durations import duration_ns
from loadtests.lab.exit_status import EXIT_USAGE, _status_of
from loadtests.lab.imports import FORMATS, jepsen
from loadtests.lab.imports.errors import ImportFailed

JMETER = """timeStamp,elapsed,label,responseCode,threadName,left
1700000000000,12,POST /orders,201,g1,1
1700000000005,12,POST /orders,201,g2,0
1700000000020,3,GET /stock,200,g1,0
1700000000030,3,POST /orders,409,g1,0
1700000000031,3,POST /orders,500,g2,0
1700000000040,3,login,200,g3,
"""
MAP = """
[time]
start = "timeStamp"
duration = "elapsed"
unit = "ms"
[fields]
op = "label"
process = "threadName"
remaining = "left"
[always]
event = "show"
quantity = 1
[op]
"POST /orders" = "buy"
"GET /stock" = "read"
[outcome]
field = "responseCode"
ok = [200, 201]
sold_out = [409]
"""
JEPSEN = """#jepsen.history.Op{:index 0, :time 100, :type :invoke, :process 0, :f :buy, :value {:quantity 2}}
{:time 150, :type :invoke, :process 1, :f :buy, :value {:quantity 1}} ; the second buyer
{:time 151, :type :info, :process :nemesis, :f :kill, :value ["n1" #{1 2} #_ (skipped)]}
{:time 200, :type :ok, :process 0, :f :buy, :value {:quantity 2, :tickets [1 2], :order "o\\"1"}}
{:time 250, :type :info, :process 1, :f :buy, :value {:quantity 1}, :error [:timeout 1.5M nil]}
{:time 300N, :type :invoke, :process 2, :f :read, :value nil}
"""
JEPSEN_MAP = """
[time]
start = "start"
end = "end"
unit = "ns"
[fields]
op = "f"
process = "process"
quantity = "asked.quantity"
tickets = "value.tickets"
order = "value.order"
[always]
event = "show"
[op]
buy = "buy"
read = "read"
[outcome]
field = "type"
ok = ["ok"]
fail = ["fail"]
unknown = ["info"]
"""


def imported(folder: Path, kind: str, record: str, meaning: str, *more: str) -> Result:
    (folder / "record").write_text(record, encoding="utf-8")
    (folder / "map.toml").write_text(meaning, encoding="utf-8")
    arguments = ["import", kind, folder / "record", "--map", folder / "map.toml", "-o", folder / "history.jsonl", *more]
    return CliRunner().invoke(lastseat, [str(each) for each in arguments], standalone_mode=False)


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "history.jsonl").read_text(encoding="utf-8").splitlines()]


def test_the_rows_of_a_csv_file_become_a_history_that_can_be_judged(tmp_path: Path) -> None:
    result = imported(tmp_path, "csv", JMETER, MAP)
    assert result.return_value == 0
    assert "1 × responseCode is '500'" in result.output
    assert "1 × label is 'login'" in result.output
    outcomes = [(each["op"], each["outcome"], each["return_ns"] is None) for each in lines(tmp_path)]
    assert outcomes == [
        ("buy", "ok", False), ("buy", "ok", False), ("read", "ok", False), ("buy", "sold_out", False),
        ("buy", "unknown", True),
    ]  # fmt: skip
    history = tmp_path / "history.jsonl"
    assert judge_files(history, [], capacity=2).verdict == "valid"
    oversold = judge_files(history, [], capacity=1)
    assert (oversold.verdict, oversold.oversold) == ("invalid", 1)


def test_a_jepsen_history_in_edn_and_in_json_is_the_same_history(tmp_path: Path) -> None:
    assert imported(tmp_path, "jepsen", JEPSEN, JEPSEN_MAP).return_value == 0
    of_edn = lines(tmp_path)
    assert [(each["op"], each["outcome"], each.get("tickets"), each.get("order")) for each in of_edn] == [
        ("buy", "ok", [1, 2], 'o"1'), ("buy", "unknown", None, None), ("read", "unknown", None, None),
    ]  # fmt: skip
    (tmp_path / "edn").write_text(JEPSEN, encoding="utf-8")
    events = [event for _, event in jepsen._events(tmp_path / "edn")]
    (tmp_path / "history.jsonl").unlink()
    assert imported(tmp_path, "jepsen", "\n".join(map(json.dumps, events)), JEPSEN_MAP).return_value == 0
    assert lines(tmp_path) == of_edn


def test_rows_of_a_log_that_mixes_several_things_can_be_chosen(tmp_path: Path) -> None:
    record = "metric,at,took,status\nbytes,5.5,7,0\nduration,5.5,250,200\nduration,5.6,250,200\n"
    meaning = """
    only = { metric = "duration" }
    [time]
    end = "at"
    duration = "took"
    unit = "s"
    duration_unit = "ms"
    resolution = "1ms"
    [always]
    op = "buy"
    event = "show"
    quantity = 1
    [outcome]
    field = "status"
    ok = [200]
    """
    assert imported(tmp_path, "csv", record, meaning).return_value == 0
    assert [(each["invoke_ns"], each["return_ns"]) for each in lines(tmp_path)] == [
        (1_000_000, 251_000_000), (101_000_000, 351_000_000),
    ]  # fmt: skip


def test_a_gzipped_record_is_read_too(tmp_path: Path) -> None:
    path = tmp_path / "record.gz"
    path.write_bytes(gzip.compress(b"a;b\n1;2,5\n"))
    assert list(FORMATS["csv"](path)) == [(2, {"a": "1", "b": "2,5"})]


@pytest.mark.parametrize(
    ("record", "meaning", "said"),
    [
        ("", MAP, "its first line has to name the fields"),
        ("a,b\n1\n", MAP, "line 2: it has 1 fields, and the first 2"),
        (JMETER.replace("1700000000005", "soon"), MAP, "line 3: timeStamp is 'soon', which is no number"),
        (JMETER, MAP.replace('duration = "elapsed"', ""), "two of `start`, `end` and `duration`"),
        (JMETER, MAP.replace("quantity = 1", ""), "how many tickets were asked for"),
        (JMETER, MAP.replace("[always]", "[allways]"), "did you mean `always`?"),
        (JMETER, MAP.replace('unit = "ms"', 'unit = "days"'), "it may be ns, us, ms, s, iso"),
        (JMETER, MAP.replace('unit = "ms"', 'unit = "ms"\nresolution = "1 tick"'), "is no duration like 1ms"),
        (JMETER, MAP.replace('op = "label"', ""), "in which field the operation stands"),
        (JMETER, MAP.replace("POST", "PATCH").replace("GET", "HEAD"), "holds no operation by this map"),
    ],
)  # fmt: skip
def test_what_cannot_be_understood_is_named_and_nothing_is_written(
    tmp_path: Path, record: str, meaning: str, said: str
) -> None:
    failed = str(imported(tmp_path, "csv", record, meaning).exception)
    assert said in failed
    assert "Nothing was written" in failed
    assert not (tmp_path / "history.jsonl").exists()


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ("{:type :invoke :process 0", "it breaks off in the middle"),
        ("[:a :b]", "it is no operation, which is a map like"),
        ("{:type :ok :process 0}", "completes what it never invoked"),
        ("{:a ]}", "closes what"),
        ("{:a}", "a key without a value"),
    ],
)
def test_a_broken_edn_file_is_named_with_its_line(tmp_path: Path, record: str, said: str) -> None:
    (tmp_path / "h.edn").write_text(record, encoding="utf-8")
    with pytest.raises(ImportFailed, match="line 1") as raised:
        list(jepsen.read(tmp_path / "h.edn"))
    assert said in str(raised.value)


def test_an_unknown_format_is_wrong_usage_and_the_formats_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x").touch()
    arguments = ["lastseat", "import", "k6", str(tmp_path / "x"), "--map", str(tmp_path / "x")]
    monkeypatch.setattr("sys.argv", arguments)
    assert _status_of(lastseat) == EXIT_USAGE
    assert "there are csv, jepsen" in capsys.readouterr().err


def test_a_history_that_is_there_is_not_overwritten(tmp_path: Path) -> None:
    assert imported(tmp_path, "csv", JMETER, MAP).return_value == 0
    before = (tmp_path / "history.jsonl").read_bytes()
    assert "is there already" in str(imported(tmp_path, "csv", JMETER, MAP).exception)
    assert (tmp_path / "history.jsonl").read_bytes() == before


# The buyer of number 1 answered at 10.4 ms, and was recorded at 10: whoever asked at 10.2 and read that none was sold
# asked before, though the record says afterwards.
ROUNDED = [
    {"process": 1, "op": "buy", "event": "show", "key": "1", "quantity": 1, "tickets": [1]}
    | {"invoke_ns": 9_000_000, "return_ns": 10_000_000, "outcome": "ok"},
    {"process": 2, "op": "read", "event": "show", "remaining": 2}
    | {"invoke_ns": 10_000_001, "return_ns": 11_000_000, "outcome": "ok"},
    {"process": 3, "op": "buy", "event": "show", "key": "2", "quantity": 1, "tickets": [2]}
    | {"invoke_ns": 9_500_000, "return_ns": 12_000_000, "outcome": "ok"},
]


def judged(folder: Path, operations: list[dict[str, Any]], *options: str) -> dict[str, Any]:
    path = folder / "history.jsonl"
    path.write_text("\n".join(map(json.dumps, operations)), encoding="utf-8")
    arguments = ["check", str(path), "--capacity", "2", "--json", *options]
    verdict: dict[str, Any] = json.loads(CliRunner().invoke(lastseat, arguments, standalone_mode=False).output)
    return verdict


def test_rounded_times_make_no_violation_where_the_resolution_is_said(tmp_path: Path) -> None:
    assert judged(tmp_path, ROUNDED)["verdict"] == "invalid"
    assert judged(tmp_path, ROUNDED, "--resolution", "1us")["verdict"] == "valid"
    assert judged(tmp_path, [each | {"resolution_ns": 1_000} for each in ROUNDED])["verdict"] == "valid"


def test_a_violation_that_is_larger_than_the_resolution_stays_and_shows_the_recorded_times(tmp_path: Path) -> None:
    later = [*ROUNDED[::2], ROUNDED[1] | {"invoke_ns": 20_000_000, "return_ns": 21_000_000}]
    verdict = judged(tmp_path, later, "--resolution", "1ms")
    assert verdict["verdict"] == "invalid"
    shown = [op for check in verdict["checks"] for witness in check["witness"] for op in witness["operations"]]
    assert {op["invoke_ns"] for op in shown if op["op"] == "read"} == {20_000_000}


def test_whether_anything_overlapped_is_judged_by_the_times_as_recorded(tmp_path: Path) -> None:
    apart = [each | {"invoke_ns": n * 2_000_000, "return_ns": n * 2_000_000 + 1} for n, each in enumerate(ROUNDED)]
    apart[1]["remaining"] = 1
    verdict = judged(tmp_path, apart, "--resolution", "5ms")
    assert verdict["verdict"] == "unknown"
    assert "nothing was tested" in verdict["why"]


def test_the_widened_times_of_one_process_are_no_overlap(tmp_path: Path) -> None:
    one = [each | {"process": 1} for each in ROUNDED[:2]] + ROUNDED[2:]
    assert judged(tmp_path, one, "--resolution", "1ms")["verdict"] == "valid"
    clashing = [each | {"process": 1, "return_ns": each["return_ns"] + 50_000_000} for each in ROUNDED]
    assert "its process was still in another operation" in judged(tmp_path, clashing, "--resolution", "1ms")["why"]


@pytest.mark.parametrize(("text", "wanted"), [("0", 0), ("1ms", 10**6), ("500us", 500_000), ("2.5s", 25 * 10**8)])
def test_a_duration_is_read_with_its_unit(text: str, wanted: int) -> None:
    assert duration_ns(text) == wanted


@pytest.mark.parametrize("text", ["1", "ms", "-1ms", "1 fortnight", ""])
def test_a_duration_without_a_unit_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no duration like 1ms"):
        duration_ns(text)
