"""What fails as a step of a schedule: an answer, a disk, a lease, the combiner; and who waits gets their turn."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from loadtests.lab.commands.explore import explore as command
from loadtests.lab.explore.execution import ExecutedSchedule
from loadtests.lab.explore.exploration import ExplorationResult, Scenario, run, schedule_runner
from loadtests.lab.explore.programs import parse_programs
from loadtests.lab.explore.schedules import Chooser, tokens

pytestmark = pytest.mark.servers


def played(case: Scenario, *schedules: str) -> list[ExecutedSchedule]:
    with schedule_runner(case) as runner:
        return [runner.execute(Chooser(tokens(schedule))) for schedule in schedules]


def outcomes(executed: ExecutedSchedule) -> list[str]:
    return [operation.outcome for operation in executed.operations]


def texts(executed: ExecutedSchedule) -> str:
    return " ".join(step.text for step in executed.steps)


def test_after_a_lost_answer_the_retry_tells_what_became_of_the_request() -> None:
    case = Scenario.of_programs(
        parse_programs(["buy, retry", "buy"]), guard="file", worker="gthread", may=("lost-answer",)
    )
    assert case.gates[-1] == "answer"
    [executed] = played(case, "AAA~A")
    assert outcomes(executed) == ["unknown", "ok", "sold_out"]
    assert [line.attempt for line in executed.operations] == [1, 2, 1]
    assert "A does not know what became of the request" in texts(executed)
    assert "sold, ticket 1, as before" in texts(executed)
    assert not executed.failing


def test_a_disk_that_refuses_a_write_has_written_nothing_and_one_that_fails_a_sync_closes_the_store() -> None:
    case = Scenario(guard="file", worker="gthread", may=("disk",))
    full, broken, after = played(case, "AA!ABBBBB", "AAA!AB", "AAAAABBBBB")
    assert outcomes(full) == ["fail", "ok"]
    assert "the disk is full, and nothing is written. A is told: storage_full." in texts(full)
    assert outcomes(broken) == ["unknown", "fail"]
    assert "A is told: not_durable." in texts(broken)
    assert "B is told: store_closed." in texts(broken)
    assert outcomes(after) == ["ok", "sold_out"], "the service was started again"
    assert not any(each.failing for each in (full, broken, after))


@pytest.mark.parametrize(("guard", "loses"), [("lease", True), ("fenced", False)])
def test_a_lease_that_ends_between_reading_and_writing(guard: str, loses: bool) -> None:
    case = Scenario(store="redis", guard=guard, worker="sync", may=("lease-end",))
    for executed in played(case, "AAxBBBB", "AAxBBBB"):
        assert executed.failing is loses
        assert outcomes(executed).count("ok") == 1 + loses


def test_what_a_combiner_left_undone_is_asked_again_and_sold_once() -> None:
    case = Scenario(guard="file", worker="sync", may=("combiner",))
    for executed in played(case, "AA*AAA", "AAA*AA"):
        assert outcomes(executed) == ["ok", "sold_out"]
        assert "The combiner is killed" in texts(executed)
        assert not executed.failing, executed.verdict


def test_of_two_who_wait_the_one_who_came_first_has_the_guard_next() -> None:
    schedule = "AACBA"  # C waits before B
    case = Scenario(guard="file", worker="gthread", buyers=3, tickets=3)
    for executed in played(case, schedule, schedule, schedule):
        after = executed.choices.decisions[len(schedule)].enabled
        assert set(after) == {"A", "C"}, "A stands at its answer, and C has the guard"


def test_two_carts_that_lock_in_different_orders_deadlock_and_one_is_refused() -> None:
    [executed] = played(Scenario.of("cart-deadlock", guard="file", worker="gthread"), "AABBAB")
    assert not executed.stuck
    assert not executed.failing, executed.verdict
    assert sorted(outcomes(executed)) == ["fail", "fail", "ok", "ok"]
    told = [step.text for step in executed.steps].index("A is told: lock_timeout.")
    assert executed.steps[told - 1].text == "B asks for the lock of a.", "the refusal stands where it happened"
    assert executed.steps[-1].text.endswith("B is told: sold, ticket 1 of b and ticket 1 of a.")


def test_the_guard_is_switched_while_two_buy_and_waits_for_who_is_inside() -> None:
    case = Scenario.of("switch", guard="none", worker="gthread")
    switched_before, switched_between = played(case, "CAABABB", "AACBA")
    assert not switched_before.failing
    assert not switched_between.failing, "B was kept out until the switch, and the switch until A had written"
    assert set(switched_between.choices.decisions[4].enabled) == {"A"}


@pytest.mark.parametrize(
    ("name", "store", "guard", "worker"),
    [
        ("late-payment", "sqlite", "immediate", "gthread"),
        ("sweep", "journal", "file", "sync"),
        ("cart", "redis", "atomic", "gthread"),
        ("seats", "postgres", "row", "gevent"),
    ],
)
def test_a_scenario_on_another_store_loses_nothing(name: str, store: str, guard: str, worker: str) -> None:
    explored = run(Scenario.of(name, store=store, guard=guard, worker=worker, most=10, prune=False))
    assert (explored.verdict, explored.stuck) == ("valid", 0)


@pytest.mark.parametrize(
    ("name", "most", "replay"),
    [
        ("cart", 5, "2.json.none.cart.1.ivp.AAABBBA"),
        ("sweep", 16, "2.json.none.sweep.1.ivp.tBBAAAB"),
        ("late-payment", 17, "2.json.none.late-payment.1.ivp.tAABBBBBBA"),
        ("switch", 9, "2.json.none.switch.1.ivp.AABBBAC"),
    ],
)
def test_without_a_guard_the_others_lose_too(name: str, most: int, replay: str) -> None:
    explored: ExplorationResult = run(Scenario.of(name, guard="none", worker="gthread", most=most, prune=False))
    assert explored.first is not None
    assert explored.first.replay == replay


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--may", "lunch"], "there is no failure 'lunch'"),
        (["--may", "disk", "--store", "sqlite", "--guard", "immediate"], "json and journal"),
        (["--may", "lease-end", "--guard", "file"], "only a lease ends"),
        (["--may", "combiner", "--guard", "none"], "a combiner decides for the workers of a host"),
        (["--scenario", "cart", "--store", "memory", "--guard", "thread"], "memory writes to one event at a time"),
        (["--scenario", "switch", "--store", "redis"], "the switch of an engine"),
    ],
)
def test_what_cannot_fail_here_is_refused_before_anything_starts(arguments: list[str], says: str) -> None:
    ran = CliRunner().invoke(command, arguments)
    assert ran.exit_code == 2
    assert says in " ".join(ran.output.replace("│", " ").split())


def test_what_is_too_large_says_so_before_it_starts_and_offers_walks(tmp_path: Path) -> None:
    arguments = ["--buyers", "4", "--guard", "file", "--worker", "gthread", "--most", "1", "--results", str(tmp_path)]
    ran = CliRunner().invoke(command, arguments, standalone_mode=False)
    said = " ".join(ran.stderr.split())
    assert "About 63,063,000 schedules" in said
    assert "--walks 200" in said
