# ruff: noqa: C408, E501 - the tables have a history a line
"""The recorded histories with seats, and of holds that were cut short; ``make_histories.py`` writes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.loadtests.checks.recorded import Line, Run, audited
from tests.loadtests.checks.recorded_seats import (
    a,
    b,
    hall,
    held,
    lost_seat,
    map_of,
    named_seats,
    one_row,
    seats,
    up,
    versioned_seats,
)

Mutate = Callable[[Run], object]


def _line(key: str, **fields: Any) -> Mutate:
    return lambda run: run.line(key).update(fields)


def _read(number: int, **fields: Any) -> Mutate:
    return lambda run: run.read(number).update(fields)


def _sale(key: str, **fields: Any) -> Mutate:
    """A sale is told otherwise by its answer and by its record."""

    def mutate(run: Run) -> None:
        run.line(key).update(fields)
        next(record for record in run.audits["show"][1:] if record.get("key") == key).update(fields)

    return mutate


def _records(**by_key: Line) -> Mutate:
    """Records are told otherwise, each by its key."""

    def mutate(run: Run) -> None:
        for record in run.audits["show"][1:]:
            record.update(by_key.get(record.get("key", ""), {}))

    return mutate


def _all(*mutates: Mutate) -> Mutate:
    return lambda run: [mutate(run) for mutate in mutates]


def _add(**line: Any) -> Mutate:
    return lambda run: run.add(**line)


def _append(record: Line, **line: Any) -> Mutate:
    """A record at the end, and the unknown operation that may have caused it."""

    def mutate(run: Run) -> None:
        run.add(**{"invoke": 4600, "returned": None, "outcome": "unknown", **line})
        run.append(**record)

    return mutate


def _another_hall(run: Run) -> None:
    run.audits["show"][0]["hall"]["sections"][1]["rows"][0]["seats"] = 4


def _without_versions(make: Callable[[], Run]) -> Callable[[], Run]:
    def made() -> Run:
        run = make()
        for line in run.lines:
            line.pop("version", None)
        return Run(run.lines, {}, 10)

    return made


def _expires_early(run: Run) -> None:
    """The only hold is of an hour, and it has expired by the next answer."""
    run.line("h")["seconds"] = 3600


def _lost_best(run: Run) -> None:
    """The purchase whose answer was lost asked for the best seat."""
    run.line("p").pop("wanted")


def _lost_hold(run: Run) -> None:
    """A hold whose answer was lost."""
    line = run.line("l")
    line.update(outcome="unknown", return_ns=None)
    for name in ("hold", "tickets", "seats", "remaining", "version", "replayed"):
        line.pop(name)


def _shown_free(seat: str) -> tuple[Mutate, Mutate]:
    """A purchase of a seat whose answer was lost, and a refusal of another one that shows it free, much later."""
    return (
        _add(op="buy", invoke=10, returned=None, outcome="unknown", key=f"lost {seat}", quantity=1, wanted=[seat]),
        _add(
            op="buy",
            invoke=960,
            returned=990,
            outcome="seat_taken",
            key=seat,
            quantity=2,
            wanted=[seat, "z"],
            taken=["z"],
        ),
    )


def _held_in_the_hall() -> Run:
    """The first purchase, a hold of the last places, and who is told that nothing is left."""
    run = held()
    run.lines = [line for line in run.lines if line["key"] in ("a", "b")]
    return run


def _sold_beside_a_hold(run: Run) -> None:
    run.add(op="buy", invoke=350, returned=800, key="x", quantity=2, order="o8", tickets=[4, 5], remaining=0)
    for line in run.lines:
        line.pop("version", None)


INVALID: list[tuple[str, str, Callable[[], Run], Mutate]] = [
    ("seat sold twice", "one_seat", seats, _line("b", seat="A1")),
    ("seat sold twice", "in_a_hall", hall, _all(_line("n", seats=up(2, 3)))),
    ("seat sold twice", "both_after_their_cancellation_was_asked", versioned_seats, _line("c", invoke_ns=1300, return_ns=1400)),
    ("seat sold twice", "a_hold_and_another_order", hall, _all(_line("h", seconds=1e-3), _line("k", outcome="fail"))),
    ("seat sold twice", "a_hold_that_was_answered_late", _without_versions(hall), _add(op="hold", invoke=2600, returned=9000, key="x", quantity=1, wanted=a(1), seats=a(1), hold="h9", seconds=1e-6)),
    ("other seats", "than_were_wanted", hall, _sale("j", wanted=up(2), seats=up(1))),
    ("other seats", "fewer_than_were_asked_for", hall, _line("n", seats=up(1))),
    ("other seats", "a_confirmation", hall, _sale("f", seats=b(1, 3))),
    ("other seats", "a_late_confirmation", hall, _sale("m", seats=a(2, 4))),
    ("other seats", "a_late_confirmation_of_an_unknown_hold", hall, _all(_lost_hold, _sale("m", seats=a(2, 4)))),
    ("other seats", "a_cancellation", hall, _records(g={"seats": a(2, 4)})),
    ("other seats", "a_release", hall, _records(t={"seats": a(4)})),
    ("other seats", "a_record_without_seats", hall, lambda run: run.record(13).pop("seats")),
    ("other seats", "a_hold_and_its_order_without_an_audit", versioned_seats, _all(_add(op="hold", invoke=1300, returned=1500, key="x", quantity=1, wanted=["z"], seats=["z"], hold="h1", remaining=2, version=4), _add(op="confirm", invoke=1600, returned=1700, key="y", hold="h1", order="o3", quantity=1, seats=["w"], remaining=2, version=5))),
    ("answer differs", "a_replay_with_other_seats", hall, _add(op="buy", invoke=4200, returned=4600, key="d", attempt=2, quantity=1, order="o2", tickets=[5], seats=a(4), remaining=5, version=3, replayed=True)),
    ("answer differs", "a_replay_with_other_seats_and_no_audit", versioned_seats, _all(*(_add(op="buy", invoke=1300, returned=1500, key="x", attempt=attempt, quantity=1, seats=[seat], order="o3", remaining=2, version=4) for attempt, seat in ((1, "v"), (2, "w"))))),
    ("answer differs", "a_record_with_other_seats", hall, _all(_records(p={"seats": b(3)}, s={"seats": a(4)}, t={"seats": a(4)}), _line("s", wanted=a(4)))),
    ("answer differs", "a_record_of_other_seats_than_an_unknown_key_wanted", hall, _line("p", wanted=b(3))),
    ("repeated seat", "in_an_answer", hall, _sale("n", seats=up(1, 1))),
    ("repeated seat", "in_a_record", hall, _append(dict(kind="sold", key="x", order="o9", quantity=2, tickets=[16, 17], seats=b(3, 3)), op="buy", key="x", quantity=2, wanted=b(3, 3))),
    ("unknown seat", "in_an_answer", hall, _sale("n", seats=up(1, 4))),
    ("unknown seat", "in_a_record", hall, _records(p={"seats": a(5)})),
    ("unknown seat", "a_section", hall, _line("o", section="pit")),
    ("torn audit", "a_hall_of_another_size", hall, _another_hall),
    ("seat recorded twice", "it_was_sold", hall, _append(dict(kind="sold", key="x", order="o9", quantity=1, tickets=[16], seats=a(1)), op="buy", key="x", quantity=1, wanted=a(1))),
    ("seat recorded twice", "hidden_by_a_cancellation", hall, _all(_records(d={"seats": a(3)}), _line("d", seats=a(3)))),
    ("seat recorded twice", "it_was_held", hall, _records(d={"seats": b(1)})),
    ("false seat-taken", "it_was_free", hall, _line("c", wanted=a(1, 4), taken=a(4))),
    ("false seat-taken", "one_is_not_named", hall, _line("c", wanted=a(2, 3), taken=a(3))),
    ("false seat-taken", "one_too_many_is_named", hall, _line("c", taken=a(3, 4))),
    ("false seat-taken", "none_is_named_and_all_were_free", hall, lambda run: [run.line("c").pop("taken"), run.line("c").update(wanted=a(1, 4))]),
    ("false seat-taken", "it_names_one_that_was_not_wanted", hall, _line("c", wanted=a(1, 4), taken=a(3))),
    ("false seat-taken", "it_names_none", hall, _line("c", taken=[])),
    ("false seat-taken", "a_stranger_names_none", named_seats, _line("b", taken=[])),
    ("false seat-taken", "at_another_version", hall, _line("c", version=0, remaining=10)),
    ("false seat-taken", "by_versions_alone", versioned_seats, _line("b", taken=["z"])),
    ("false seat-taken", "a_seat_that_nobody_wanted", seats, _line("c", seat="A3")),
    ("false seat-taken", "before_its_only_buyer_asked", named_seats, _line("b", invoke_ns=20, return_ns=90)),
    ("false seat-taken", "it_had_been_answered_as_sold", named_seats, lambda run: run.line("e").update(invoke_ns=100, return_ns=600, quantity=1)),
    ("false seat-taken", "it_had_been_shown_as_taken", named_seats, _all(_line("b", wanted=["x", "y"], taken=["x", "y"], invoke_ns=310), _line("d", taken=["z"], invoke_ns=850, return_ns=900))),
    ("false seat-taken", "none_is_named_and_nobody_had_asked", named_seats, _line("f", wanted=["v", "w"])),
    ("false sold-out", "a_section_with_room", hall, _line("o", section="stalls")),
    ("false seat-taken", "an_unknown_purchase_cannot_be_why", named_seats, _all(_line("b", invoke_ns=60, return_ns=90), _add(op="buy", invoke=50, returned=None, outcome="unknown", key="x", quantity=1, wanted=["x"]))),
    ("false seat-taken", "a_purchase_of_any_seat_cannot_be_why", named_seats, _all(_line("b", invoke_ns=60, return_ns=90), _add(op="buy", invoke=50, returned=None, outcome="unknown", key="x", quantity=1))),
    ("false seat-taken", "only_its_own_lost_purchase_can_be_why", named_seats, _add(op="buy", invoke=900, returned=980, outcome="seat_taken", key="c", attempt=2, quantity=1, wanted=["y"], taken=["y"])),
    ("false seat-taken", "all_were_free_afterwards", named_seats, _all(_line("f", wanted=["v", "w"]), *_shown_free("v"), *_shown_free("w"))),
    ("false sold-out", "a_section_with_just_enough", hall, _line("o", quantity=2, section="stalls")),
    ("false sold-out", "an_expired_hold_whose_seats_are_free", hall, _add(op="confirm", invoke=2350, returned=2800, outcome="refused", key="x", hold="h2", remaining=7, version=7)),
    ("false not-together", "there_were_neighbours", hall, _line("e", section="balcony")),
    ("false not-together", "the_last_of_a_row", one_row, _line("b", quantity=2)),
    ("false not-together", "in_the_whole_hall", hall, lambda run: run.line("e").pop("section")),
    ("false seat-taken", "nobody_asked_for_seats_by_name", hall, _line("q", outcome="seat_taken")),
    ("false sold-out", "nobody_asked_for_a_section", hall, _line("q", outcome="section_sold_out")),
    ("false not-together", "nobody_asked_for_neighbours", hall, lambda run: run.line("u").pop("together")),
    ("false not-together", "too_few_were_free", hall, _line("e", quantity=3)),
    ("not neighbours", "with_a_gap", hall, lambda run: [place.update(seats=b(1, 3)) for place in (run.line("b"), run.record(2), run.line("f"), run.record(4))]),
    ("not neighbours", "in_two_rows", hall, lambda run: [place.update(seats=[*a(4), *b(1)]) for place in (run.line("b"), run.record(2), run.line("f"), run.record(4))]),
    ("not the best", "the_second_best", hall, _sale("d", seats=a(4))),
    ("not the best", "another_row", hall, _sale("d", seats=b(3))),
    ("not the best", "neighbours_further_from_the_middle", hall, lambda run: [place.update(seats=a(3, 4)) for place in (run.line("l"), *(run.record(version) for version in (9, 10, 11)), run.line("m"))]),
    ("not the best", "neighbours_to_the_right_of_the_middle", hall, lambda run: [place.update(seats=b(2, 3)) for place in (run.line("b"), run.record(2), run.line("f"), run.record(4))]),
    ("not the best", "neighbours_in_a_later_section", hall, lambda run: [run.line("b").pop("section"), *(place.update(seats=up(1, 2)) for place in (run.line("b"), run.record(2), run.line("f"), run.record(4)))]),
    ("not the best", "outside_of_the_section", hall, _sale("n", seats=[*a(4), *up(1)])),
    ("not the best", "of_an_unknown_key", hall, _all(_lost_best, _records(p={"seats": b(3)}, s={"seats": a(4)}, t={"seats": a(4)}), _line("s", wanted=a(4), seats=a(4)))),
    ("wrong map", "a_free_seat_as_sold", hall, _read(0, map=map_of(2, 0, 0, 0, 0, 0, 0, 0, 0, 0))),
    ("wrong map", "a_held_seat_as_sold", hall, _read(1, map=map_of(2, 2, 2, 0, 2, 1, 0, 0, 0, 0))),
    ("wrong map", "a_sold_seat_as_held", hall, _read(2, map=map_of(2, 2, 2, 0, 1, 2, 0, 2, 2, 2))),
    ("wrong map", "of_an_earlier_version", hall, _read(3, map=map_of(2, 2, 2, 0, 2, 2, 0, 2, 2, 2))),
    ("wrong map", "of_another_size", hall, _read(0, map="AA==")),
    ("wrong map", "without_a_version", hall, lambda run: [run.read(3).pop("version"), run.read(3).pop("remaining"), run.read(3).update(map=map_of(0, 2, 2, 2, 2, 2, 0, 2, 2, 2))]),
    ("hold cut short", "it_expired_before_another_was_answered", hall, _expires_early),
    ("hold cut short", "a_read_of_the_version_at_which_it_expired", hall, _add(op="read", invoke=2010, returned=2050, remaining=7, version=7)),
    ("hold cut short", "its_confirmation_was_refused", held, lambda run: [run.line("c").update(outcome="refused", remaining=1, version=1), run.lines.remove(run.line("d"))]),
    ("hold cut short", "its_confirmation_was_sold_anew", audited, _line("e", seconds=1e-5)),
    ("hold cut short", "its_numbers_are_others", held, _line("c", tickets=[3, 4])),
    ("hold cut short", "its_place_was_sold", _held_in_the_hall, _sold_beside_a_hold),
]  # fmt: skip


def _with(make: Callable[[], Run], mutate: Mutate) -> Callable[[], Run]:
    def made() -> Run:
        run = make()
        mutate(run)
        return run

    return made


VALID: list[tuple[str, Callable[[], Run]]] = [
    ("seats", seats),
    ("a_hall", hall),
    ("seats_by_versions_alone", versioned_seats),
    ("seats_by_name_alone", named_seats),
    ("holds_that_last", held),
    ("neighbours_that_there_are_not", one_row),
    ("a_seat_of_a_purchase_whose_answer_was_lost", lost_seat),
    ("a_seat_of_a_purchase_of_any_seat", _with(named_seats, _all(_line("b", invoke_ns=60, return_ns=90, wanted=["x", "y"], taken=["y"]), _add(op="buy", invoke=50, returned=None, outcome="unknown", key="x", quantity=1)))),
    ("a_seat_refused_at_the_instant_of_its_purchase", _with(named_seats, _line("b", invoke_ns=20, return_ns=100))),
    ("a_seat_is_sold_again_after_its_cancellation_was_asked", _with(versioned_seats, _line("d", invoke_ns=600, return_ns=1200))),
    ("a_hold_that_expired_at_its_last_nanosecond", _with(hall, lambda run: [run.line("h").update(seconds=8e-7), run.line("j").update(return_ns=2400)])),
    ("the_seats_of_an_answer_in_another_order", _with(hall, _line("a", seats=a(3, 2)))),
    ("a_best_seat_whose_answer_was_lost", _with(hall, _lost_best)),
]  # fmt: skip

UNKNOWN: list[tuple[str, Callable[[], Run], str]] = [
    ("a_hall_that_is_none", _with(hall, lambda run: run.audits["show"][0].update(hall={"sections": []})), "it has no section"),
    ("a_hall_without_an_audit", _with(hall, lambda run: run.audits.clear()), "no audit shows the hall"),
    ("refusals_of_seats_without_a_version", _with(hall, lambda run: [run.line("c").pop("version")]), "refusals of seats show no version"),
    ("a_section_refused_without_a_version", _with(hall, lambda run: [run.line("o").pop("version")]), "that were not named show no version"),
    ("another_number_of_seats_than_asked_for", _with(hall, _line("a", quantity=3)), "line 1"),
    ("a_key_with_other_seats", _with(hall, _add(op="buy", invoke=4200, returned=None, outcome="unknown", key="a", attempt=2, quantity=2, wanted=a(1, 2))), "line 25"),
    ("a_release_that_is_taken", _with(hall, _line("t", outcome="seat_taken")), "line 22"),
]  # fmt: skip
