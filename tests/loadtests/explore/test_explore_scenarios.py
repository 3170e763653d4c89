"""The scenarios on the real service: each loses without a guard, the same way every time, and never with one."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from loadtests.lab.commands.explore import explore as command
from loadtests.lab.explore.exploration import ExplorationResult, Scenario, run, schedule_runner
from loadtests.lab.explore.programs import parse_programs
from loadtests.lab.explore.schedules import Chooser, tokens

pytestmark = pytest.mark.servers


def steps_of(explored: ExplorationResult) -> list[str]:
    assert explored.first is not None
    return [step.text for step in explored.first.steps]


@pytest.mark.parametrize("worker", ["sync", "gthread", "gevent"])
def test_without_a_guard_an_expiry_loses_by_the_same_schedule_under_each_worker_model(worker: str) -> None:
    explored = run(Scenario.of("expiry", guard="none", worker=worker, most=17, prune=False))
    assert explored.first is not None
    assert explored.first.replay == "2.json.none.expiry.1.ivp.tAABBBA"
    assert steps_of(explored)[0] == "Time moves on by 61 s: every hold has ended."


@pytest.mark.parametrize(
    ("name", "first"), [("seats", "2.json.none.seats.2.ivp.AABBBA"), ("retry", "2.json.none.retry.2.ivp.AABBBA")]
)
def test_without_a_guard_a_scenario_loses(name: str, first: str) -> None:
    explored = run(Scenario.of(name, guard="none", worker="gthread", most=6, prune=False))
    assert explored.first is not None
    assert explored.first.replay == first


@pytest.mark.parametrize(("name", "schedules"), [("expiry", 32), ("seats", 6), ("retry", 6)])
def test_under_the_file_lock_no_schedule_of_a_scenario_loses(name: str, schedules: int) -> None:
    explored = run(Scenario.of(name, guard="file", worker="gthread", prune=False))
    assert (explored.verdict, explored.whole, explored.schedules) == ("valid", True, schedules)


def test_a_hold_ends_when_time_moves_and_not_before() -> None:
    """The clock is looked at once, between invocation and reading: what moves it later comes too late."""
    with schedule_runner(Scenario.of("expiry", guard="file", worker="gthread")) as runner:
        before, between, never = (
            runner.execute(Chooser(tokens(schedule))) for schedule in ("tBBBAA", "AAtABBB", "AAABBB")
        )
    assert [line.outcome for line in before.operations] == ["ok", "refused", "ok"]
    for each in (between, never):
        assert [line.outcome for line in each.operations] == ["ok", "ok", "sold_out"]
        assert each.verdict is not None
        assert each.verdict.verdict != "invalid"


def test_the_chooser_is_told_what_each_step_is_about() -> None:
    seen = []

    class Watching(Chooser):
        def choose(self, enabled, standings=None, blocked=()):  # type: ignore[no-untyped-def]
            seen.append((dict(standings), list(blocked)))
            return super().choose(enabled, standings, blocked)

    programs = parse_programs(["A: hold; release", "B: buy b"])
    with schedule_runner(Scenario.of_programs(programs, guard="file", worker="gthread", tickets=2)) as runner:
        runner.execute(Watching(tokens("AABtBBA")))
    standings, blocked = seen[0]
    assert set(standings) == {"A", "B", "t"}
    assert (standings["A"].gate, standings["A"].operation, standings["A"].pid) == ("invoke", "release", 0)
    assert (standings["B"].event, standings["t"].gate, blocked) == ("b", "time", [])
    assert seen[2][0]["A"].gate == "append"
    assert seen[2][0]["A"].pid > 0


def test_who_waits_is_told_to_the_chooser_with_the_event() -> None:
    told = []

    class Watching(Chooser):
        def choose(self, enabled, standings=None, blocked=()):  # type: ignore[no-untyped-def]
            told.extend(blocked)
            return super().choose(enabled, standings, blocked)

    with schedule_runner(Scenario.of("seats", guard="file", worker="gthread")) as runner:
        runner.execute(Watching(tokens("AB")))
    assert {(each.buyer, each.gate, each.event) for each in told} == {("B", "blocked", "a")}


def test_the_command_takes_scripts_and_plays_the_losing_schedule_again(tmp_path: Path) -> None:
    arguments = ["--script", "A: hold", "--script", "B: buy", "--worker", "gthread", "--most", "9", "--no-prune"]
    ran = CliRunner().invoke(command, [*arguments, "--results", str(tmp_path)], standalone_mode=False)
    assert ran.exception is None
    assert "2.json.none.hold/buy.1.ivp.AABBBA" in ran.stdout.replace("\n", "")
    arguments = ["--replay", "2.json.none.hold/buy.1.ivp.AABBBA", "--worker", "gevent"]
    again = CliRunner().invoke(command, arguments, standalone_mode=False)
    assert again.return_value == 1
    assert "that sale is gone" in again.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--scenario", "lunch"], "there is no scenario 'lunch'; they are: buy, expiry"),
        (["--script", "A: lunch", "--script", "B: buy"], "is no operation"),
        (["--script", "A: buy"], "2 to 4 scripts"),
        (["--scenario", "expiry", "--script", "A: buy", "--script", "B: buy"], "either"),
        (["--scenario", "retry", "--gates", "view,append"], "invoke"),
    ],
)
def test_what_cannot_be_played_is_refused_before_anything_starts(arguments: list[str], says: str) -> None:
    ran = CliRunner().invoke(command, arguments)
    assert ran.exit_code == 2
    assert says in ran.output


def test_the_scenarios_are_listed_in_words() -> None:
    ran = CliRunner().invoke(command, ["--scenarios"], standalone_mode=False)
    assert "expiry" in ran.stdout
    assert "A: hold; confirm" in ran.stdout
    assert "turns the buyer's last hold into an order" in ran.stdout
