"""Which schedules are tried: all of them, each once, few preemptions first; and how one is written down."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import pytest

from loadtests.lab.explore.programs import BUY
from loadtests.lab.explore.replay import ReplayId, check_case, check_gates, parse
from loadtests.lab.explore.schedules import Choices, Chooser, Diverged, explore, pct, pct_bound, tokens


def gates_each(gates: int, buyers: str = "AB", extra: Sequence[str] = ()) -> Callable[[Chooser], bool]:
    """A pretended performance: every buyer passes so many gates and nobody waits for anybody."""

    def perform(chooser: Chooser) -> bool:
        left = dict.fromkeys(buyers, gates)
        disturbed = False
        while any(left.values()):
            able = [buyer for buyer in buyers if left[buyer]]
            chosen = chooser.choose([*able, *([] if disturbed else [e for e in extra if e[-1].upper() in able])])
            if len(chosen) == 1 and chosen.isupper():
                left[chosen] -= 1
            elif chosen.islower():
                disturbed, left[chosen.upper()] = True, 0
            else:
                disturbed = True
        return True

    return perform


def all_of(perform: Callable[[Chooser], bool], most: int = 10_000) -> list[Choices]:
    return list(explore(perform, most=most))


def test_two_buyers_at_four_gates_have_seventy_schedules_eight_of_them_with_at_most_one_preemption() -> None:
    courses = all_of(gates_each(4))
    assert len(courses) == 70
    assert sum(course.preemptions <= 1 for course in courses) == 8


@pytest.mark.parametrize(("gates", "buyers", "count"), [(1, "AB", 2), (2, "AB", 6), (6, "AB", 924), (2, "ABC", 90)])
def test_every_schedule_is_tried_exactly_once(gates: int, buyers: str, count: int) -> None:
    schedules = [course.schedule for course in all_of(gates_each(gates, buyers))]
    assert len(schedules) == len(set(schedules)) == count


def test_fewer_preemptions_come_first() -> None:
    preemptions = [course.preemptions for course in all_of(gates_each(4))]
    assert preemptions == sorted(preemptions)


def test_a_kill_happens_at_most_once_a_run_and_at_every_place() -> None:
    courses = all_of(gates_each(2, extra=("a", "b")))
    kills = Counter(sum(letter.islower() for letter in course.schedule) for course in courses)
    assert set(kills) == {0, 1}
    assert {"aBB", "AaBB", "ABaB", "ABBa"} <= {course.schedule for course in courses}


def test_time_moves_at_every_place_and_takes_no_turn() -> None:
    def perform(chooser: Chooser) -> bool:
        left, moves = {"A": 1, "B": 1}, 1
        while any(left.values()):
            chosen = chooser.choose([*(name for name in left if left[name]), *(["t"] if moves else [])])
            if chosen == "t":
                moves = 0
            else:
                left[chosen] -= 1
        return True

    courses = all_of(perform)
    assert {course.schedule for course in courses} == {"AB", "BA", "tAB", "AtB", "tBA", "BtA"}
    assert {course.preemptions for course in courses} == {0}, "nobody could have gone on"


def test_exploring_ends_at_the_bound_and_when_it_is_told_to() -> None:
    assert len(all_of(gates_each(4), most=5)) == 5
    stop_at_once = gates_each(4)
    assert len(list(explore(lambda chooser: stop_at_once(chooser) and False, most=99))) == 1


def test_a_schedule_that_the_service_does_not_follow_is_said_to_diverge() -> None:
    chooser = Chooser(["A", "B"])
    chooser.choose(["A", "B"])
    with pytest.raises(Diverged, match="step 2 is 'B', but only A could go on"):
        chooser.choose(["A"])


def test_a_random_walk_is_the_same_for_the_same_seed_and_another_for_others() -> None:
    def walk(seed: int) -> str:
        chooser = Chooser(prefer=pct(seed, "ABC", steps=12, depth=3))
        gates_each(4, "ABC")(chooser)
        return chooser.choices.schedule

    assert walk(7) == walk(7)
    assert len({walk(seed) for seed in range(30)}) > 5
    assert pct_bound(buyers=2, steps=8, depth=2) == 1 / 16


def test_walks_find_an_ordering_at_least_as_often_as_the_bound_says() -> None:
    """The race of depth 2: one buyer passes all gates between the other's second and third."""
    found = 0
    for seed in range(400):
        chooser = Chooser(prefer=pct(seed, "AB", steps=8, depth=2))
        gates_each(4)(chooser)
        found += chooser.choices.schedule in ("AABBBBAA", "BBAAAABB")
    assert found >= 400 * pct_bound(2, 8, 2)


def test_tokens_are_steps_kills_and_stops() -> None:
    assert tokens("AA-Bab") == ["A", "A", "-B", "a", "b"]
    assert tokens("At~B!Ax*") == ["A", "t", "~B", "!A", "x", "*"]
    for broken in ("A-", "A1", "-a", "Ä"):
        with pytest.raises(ValueError, match="no step"):
            tokens(broken)


def test_a_replay_id_says_the_whole_case() -> None:
    replay = ReplayId("json", "none", (BUY, BUY), 1, ("acquire", "view", "append", "answer"), "AABBBBAA")
    assert replay.id == "1.json.none.2x1.avpw.AABBBBAA"
    assert parse(replay.id) == replay


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("3.json.none.2x1.avpw.AB", "another version"),
        ("", "another version"),
        ("1.json.none", "no replay id"),
        ("1.json.none.2x1.axyz.AB", "no replay id"),
        ("1.json.none.9x1.avpw.AB", "2 to 8 buyers"),
        ("1.json.none.2x1.avpw.AC", "there are 2 buyers"),
        ("2.json.none.lunch.1.ivp.AB", "no replay id"),
        ("2.json.none.expiry.1.ivp.AC", "there are 2 buyers"),
        ("1.json.none.2x1.avpw.A?", "no step"),
    ],
)
def test_a_replay_id_that_cannot_be_played_is_refused_in_words(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse(text)


def test_a_case_out_of_bounds_and_an_unknown_gate_are_refused() -> None:
    with pytest.raises(ValueError, match="2 to 8 buyers"):
        check_case(9, 1)
    with pytest.raises(ValueError, match="1 to 100 tickets"):
        check_case(2, 0)
    with pytest.raises(ValueError, match="no gate 'lunch'"):
        check_gates(["view", "lunch"])
    assert check_gates(["answer", "view"]) == ("view", "answer")
