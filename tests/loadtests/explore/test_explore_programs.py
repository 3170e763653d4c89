"""What buyers do in an exploration: how it is written, what is refused, and that a replay id keeps it."""

from __future__ import annotations

import shlex

import pytest

from loadtests.lab.explore.programs import BUY, ProgramOperation, events_of, parse_programs, written
from loadtests.lab.explore.replay import ReplayId, parse
from loadtests.lab.explore.scenarios import SCENARIOS

EVERYTHING = [
    "A: hold 2; confirm, cancel, retry",
    "B: cart a,b, read b",
    "C: seats stalls-A-1 stalls-A-2, hold seats stalls-A-1, release",
    "D: retry A, sweep, switch none, buy 2 b",
]


def test_a_program_is_operations_in_order_and_what_stands_before_a_semicolon_has_happened() -> None:
    program, cart, _, last = parse_programs(EVERYTHING)
    assert [operation.text for operation in program] == ["hold 2", "confirm", "cancel", "retry"]
    assert [operation.before for operation in program] == [True, False, False, False]
    assert cart[0].events == ("a", "b")
    assert last[-1] == ProgramOperation("buy", ("b",), 2)
    assert events_of(parse_programs(EVERYTHING)) == ["a", "b"]


def test_programs_are_written_as_they_are_read_and_go_through_a_replay_id() -> None:
    programs = parse_programs(EVERYTHING)
    assert parse_programs(written(programs)) == programs
    replay = ReplayId("json", "none", programs, 3, ("invoke", "view", "append"), "AtA-B~C!Dax*")
    assert parse(replay.id) == replay
    assert shlex.split(replay.id) == [replay.id]
    assert not set(replay.id) & set("*?[]{}()<>|&;$`\\\"'!# \t")


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_scenario_is_read_and_its_name_stands_in_its_replay_id(name: str) -> None:
    script = SCENARIOS[name]
    replay = ReplayId("json", "file", script.parsed, script.tickets, ("invoke", "view"), "AB", name)
    assert replay.id == f"2.json.file.{name}.{script.tickets}.iv.AB"
    assert parse(replay.id) == replay


def test_plain_purchases_are_written_as_ever() -> None:
    replay = parse("1.json.none.2x1.avpw.AABBBBAA")
    assert replay.programs == (BUY, BUY)
    assert replay.id == "1.json.none.2x1.avpw.AABBBBAA"


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        (["A: buy"], "2 to 4 scripts"),
        (["A: buy"] * 5, "2 to 4 scripts"),
        (["A: lunch", "B: buy"], "is no operation; there are: buy"),
        (["A: buy 99", "B: buy"], "buy is written so"),
        (["A: cart a,a", "B: buy"], "cart is written so"),
        (["A: seats somewhere", "B: buy"], "seats is written so"),
        (["A: confirm", "B: buy"], "needs a hold before it"),
        (["A: hold, cancel", "B: buy"], "needs an order"),
        (["A: retry", "B: buy"], "needs an operation before it"),
        (["A: buy", "B: retry D"], "there is no buyer D"),
        (["B: buy", "A: buy"], "should begin with “A:”"),
        (["A: sweep", "B: sweep"], "there is one sweeper"),
        (["A: buy, buy, buy, buy, buy, buy, buy", "B: buy"], "at most 6 operations"),
        (["", "B: buy"], "is no operation"),
    ],
)
def test_a_script_that_cannot_be_is_refused_in_words(texts: list[str], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse_programs(texts)
