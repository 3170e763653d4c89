# ruff: noqa: C408, E501 - the tables have a history a line
"""Makes the recorded histories: ``python -m tests.loadtests.checks.make_histories``.

Every folder under ``histories/<verdict>/`` is a results folder; its ``about.json`` says the violation that must be named, or
the reason, and the capacity where no audit tells it. The invalid ones come from a valid run by one wrong
operation or one wrong record.
"""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.loadtests.checks.recorded import (
    Line,
    Run,
    alone,
    audited,
    carts,
    counted,
    lost_answers,
    lost_pairs,
    numbered,
    resent,
    two_events,
    two_hosts,
    unknown_cancellation,
    unmarked,
    unversioned,
    versioned,
)
from tests.loadtests.checks.seat_histories import INVALID as INVALID_SEATS
from tests.loadtests.checks.seat_histories import UNKNOWN as UNKNOWN_SEATS
from tests.loadtests.checks.seat_histories import VALID as VALID_SEATS

HISTORIES = Path(__file__).parents[1] / "histories"

Mutate = Callable[[Run], object]


def _update(*places: Callable[[Run], Line], **fields: Any) -> Mutate:
    return lambda run: [place(run).update(fields) for place in places]


def _sale(key: str, *attempts: int) -> tuple[Callable[[Run], Line], ...]:
    """A sale wherever it is told: its attempts and its record."""
    return (*(lambda run, attempt=attempt: run.line(key, attempt) for attempt in attempts or (1,)), lambda run: next(
        record for record in run.audits["show"][1:] if record.get("key") == key
    ))  # fmt: skip


def _line_of(key: str, attempt: int = 1) -> Callable[[Run], Line]:
    return lambda run: run.line(key, attempt)


def _record_of(version: int) -> Callable[[Run], Line]:
    return lambda run: run.record(version)


def _read(number: int) -> Callable[[Run], Line]:
    return lambda run: run.read(number)


def _header(run: Run) -> Line:
    return run.audits["show"][0]


def _drop_record(version: int, *, honest_header: bool) -> Mutate:
    def mutate(run: Run) -> None:
        run.audits["show"].remove(run.record(version))
        if honest_header:
            _header(run)["versions"] -= 1

    return mutate


def _exchange(one: int, other: int) -> Mutate:
    """Two records change places."""

    def mutate(run: Run) -> None:
        audit = run.audits["show"]
        audit[one], audit[other] = {**audit[other], "version": one}, {**audit[one], "version": other}

    return mutate


def _a_hold_is_overtaken_late(run: Run) -> None:
    """Two unknown holds; the one that is due later expires, three records after the other was made."""
    for key, hold, ticket, due in (("x", "h6", 17, 20), ("y", "h7", 18, 30)):
        run.add(op="hold", invoke=5700, returned=None, outcome="unknown", key=key, quantity=1)
        expires_at = f"2026-11-23T08:00:{due}Z"
        run.append(kind="held", key=key, hold=hold, quantity=1, tickets=[ticket], expires_at=expires_at)
    run.append(kind="sold", key="r", order="o7", quantity=1, tickets=[19])
    run.append(kind="expired", hold="h7", quantity=1, tickets=[18])


def _a_read_misses_one(run: Run) -> None:
    """Two had been told that they bought; the only read, asked later, counts one."""
    run.lines = [run.line("a"), run.line("b"), run.read(0)]
    run.line("a")["return_ns"], run.line("b")["return_ns"] = 250, 280


def _two_are_counted_too_early(run: Run) -> None:
    """A read counts two, and the second sale was asked only after it had returned."""
    run.lines = [run.line("a"), run.line("b"), run.read(1)]
    run.read(0).update(invoke_ns=150, return_ns=300)
    run.line("b").update(invoke_ns=350)


def _a_read_of_nothing_sold(run: Run) -> None:
    """The first sale returns at the instant at which a read is asked that does not count it."""
    run.read(0).update(invoke_ns=400, remaining=3)


def _add(**line: Any) -> Mutate:
    return lambda run: run.add(**line)


def _replace_last(run: Run, event: str, record: Line) -> None:
    """Another record at an event's end, and the operation that had made the one there is forgotten."""
    last = run.audits[event].pop()
    run.lines = [line for line in run.lines if line["key"] != last["key"]]
    run.audits[event].append({"version": last["version"], **record})


def _answered_carts() -> Run:
    """Two carts at once, each answered."""
    run = carts()
    run.lines = [line for line in run.lines if line["key"] in ("a", "b") and line["outcome"] == "ok"]
    for line in run.lines[2:]:
        line.update(invoke_ns=300, attempt=1, replayed=False)
    return run


def _append(record: Line, **line: Any) -> Mutate:
    """A record at the end, and the unknown operation that may have caused it."""

    def mutate(run: Run) -> None:
        if line:
            run.add(**{"invoke": 5700, "returned": None, "outcome": "unknown", **line})
        run.append(**record)

    return mutate


def _drop_line(key: str, attempt: int = 1) -> Mutate:
    return lambda run: run.lines.remove(run.line(key, attempt))


def _without_audit(make: Callable[[], Run]) -> Callable[[], Run]:
    def without() -> Run:
        run = make()
        return Run(run.lines, {}, run.audits["show"][0]["capacity"])

    return without


def _with(make: Callable[[], Run], mutate: Mutate) -> Callable[[], Run]:
    def made() -> Run:
        run = make()
        mutate(run)
        return run

    return made


def _audit_of_another_event(run: Run) -> None:
    run.audits["show"][0]["event"] = "matinee"


def _keep(*keys: str) -> Callable[[], Run]:
    def make() -> Run:
        run = versioned()
        run.lines = [line for line in run.lines if line.get("key") in keys]
        return run

    return make


INVALID: list[tuple[str, str, Callable[[], Run], Mutate]] = [
    ("oversold", "a_sale_beyond_the_last", audited, _add(op="buy", invoke=5600, returned=5800, key="x", quantity=4, order="o9", tickets=[17, 18, 19, 20], remaining=-1, version=20, replayed=False)),
    ("oversold", "a_smaller_hall", audited, _update(_header, capacity=2)),
    ("oversold", "by_numbers", numbered, _add(op="buy", invoke=1900, returned=2100, key="x", quantity=2, order="o9", tickets=[5, 6])),
    ("oversold", "by_counts", counted, lambda run: [run.add(op="buy", invoke=10 * n, returned=10**4, key=f"x{n}", quantity=1) for n in range(2)]),
    ("double-booked", "two_orders", audited, _update(*_sale("s", 1, 2), tickets=[12])),
    ("double-booked", "a_hold_and_another_order", audited, _update(_line_of("b"), tickets=[4])),
    ("double-booked", "two_holds", audited, _update(*_sale("v"), tickets=[15])),
    ("double apply", "two_fresh_answers", audited, _update(_line_of("s", 2), replayed=False)),
    ("double apply", "a_key_twice_in_the_audit", audited, _append(dict(kind="sold", key="s", order="o9", quantity=1, tickets=[17]))),
    ("double apply", "an_unknown_key_twice", audited, _append(dict(kind="sold", key="j", order="o9", quantity=1, tickets=[17]))),
    ("answer differs", "a_replay_with_other_numbers", audited, _update(_line_of("s", 2), tickets=[15])),
    ("answer differs", "a_replay_with_another_order", audited, _update(_line_of("s", 2), order="o9")),
    ("answer differs", "a_replay_with_another_version", audited, _update(_line_of("s", 2), version=13)),
    ("answer differs", "a_replay_with_another_order_and_no_audit", versioned, _add(op="buy", invoke=1250, returned=1300, key="e", attempt=2, quantity=1, order="o9", tickets=[5], remaining=1, version=4, replayed=True)),
    ("answer differs", "a_record_of_more_than_an_unknown_key_asked", audited, _append(dict(kind="sold", key="r", order="o9", quantity=2, tickets=[17, 18]))),
    ("answer differs", "a_record_of_another_quantity", audited, _update(_record_of(19), quantity=2)),
    ("answer differs", "a_record_with_another_order", audited, _update(_record_of(14), order="o9")),
    ("answer differs", "an_answer_with_another_hold", audited, _update(_line_of("v"), hold="h9")),
    ("answer differs", "fewer_numbers_than_asked", audited, _update(*_sale("d"), tickets=[4])),
    ("answer differs", "a_record_of_another_kind", audited, _update(_record_of(13), kind="confirmed", order="o9")),
    ("replay without a commit", "the_first_attempt_surely_failed", audited, _update(_line_of("j"), outcome="fail", return_ns=2200)),
    ("replay without a commit", "there_was_no_first_attempt", audited, _drop_line("s")),
    ("torn audit", "more_in_the_header", audited, _update(_header, versions=20)),
    ("torn audit", "a_record_is_missing", audited, _drop_record(18, honest_header=False)),
    ("torn audit", "a_gap_in_the_versions", audited, _drop_record(18, honest_header=True)),
    ("torn audit", "a_version_twice", audited, _update(_record_of(19), version=18)),
    ("phantom", "a_key_that_nobody_sent", audited, _append(dict(kind="sold", key="nobody", order="o9", quantity=1, tickets=[17]))),
    ("phantom", "a_key_that_was_sold_out", audited, _append(dict(kind="sold", key="w", order="o9", quantity=3, tickets=[17, 18, 19]))),
    ("phantom", "a_key_that_surely_failed", audited, _append(dict(kind="sold", key="l", order="o9", quantity=1, tickets=[17]))),
    ("phantom", "a_cancellation_that_was_refused", audited, _append(dict(kind="cancelled", key="h", order="o3", quantity=2, tickets=[4, 5]))),
    ("phantom", "a_version_of_nobody", versioned, _update(_read(1), version=6)),
    ("phantom", "a_number_of_nobody", numbered, _drop_line("c")),
    ("lost sale", "the_last_record", audited, lambda run: [run.add(op="buy", invoke=5600, returned=5800, key="x", quantity=1, order="o9", tickets=[17], remaining=2, version=20, replayed=False)]),
    ("lost sale", "overwritten_by_another", audited, _update(_record_of(2), key="r")),
    ("lost sale", "a_cancellation", audited, _update(_record_of(15), key="never")),
    ("misplaced", "one_too_early", audited, _update(_line_of("k"), version=8)),
    ("misplaced", "one_too_late", audited, _update(_line_of("k"), version=10)),
    ("misplaced", "records_swapped", audited, lambda run: [run.record(v).update(key=key, hold=hold, tickets=tickets) for v, key, hold, tickets in ((16, "v", "h5", [16]), (17, "u", "h4", [15]))]),
    ("misplaced", "one_version_for_two", versioned, _update(_line_of("b"), version=1)),
    ("misplaced", "version_0", versioned, _update(_line_of("a"), version=0)),
    ("refused after commit", "a_cancellation", audited, _add(op="cancel", invoke=2900, returned=3000, outcome="refused", key="c", attempt=2, order="o1", remaining=0, version=10)),
    ("refused after commit", "a_lost_answer", audited, _add(op="buy", invoke=3000, returned=3200, outcome="sold_out", key="j", attempt=3, quantity=1, remaining=0, version=10)),
    ("refused after commit", "a_counter", counted, _add(op="buy", invoke=900, returned=1200, outcome="sold_out", key="a", attempt=2, quantity=1)),
    ("beyond the audit", "a_read", audited, _update(_read(2), version=20)),
    ("beyond the audit", "a_refusal", audited, _update(_line_of("w"), version=25)),
    ("over-recorded", "one_too_many", audited, _append(dict(kind="sold", key="x", order="o9", quantity=4, tickets=[17, 18, 19, 20]), op="buy", key="x", quantity=4)),
    ("over-recorded", "hidden_by_a_cancellation", audited, _update(_header, capacity=5)),
    ("over-recorded", "a_number_beyond_the_capacity", numbered, _update(_line_of("e"), tickets=[6, 7])),
    ("double cancel", "of_a_cancelled_order", audited, _append(dict(kind="cancelled", key="x", order="o1", quantity=2, tickets=[1, 2]), op="cancel", key="x", order="o1")),
    ("double cancel", "a_confirmed_hold_is_released", audited, _append(dict(kind="released", key="x", hold="h1", quantity=2, tickets=[4, 5]), op="release", key="x", hold="h1")),
    ("double cancel", "a_released_hold_is_confirmed", audited, _append(dict(kind="confirmed", key="x", hold="h3", order="o9", quantity=1, tickets=[13]), op="confirm", key="x", hold="h3")),
    ("double cancel", "a_hold_is_released_before_it_is_made", audited, _exchange(12, 13)),
    ("double cancel", "a_confirmed_hold_expires", audited, _append(dict(kind="expired", hold="h1", quantity=2, tickets=[4, 5]))),
    ("duplicate", "a_number_twice", audited, _append(dict(kind="sold", key="x", order="o9", quantity=1, tickets=[16]), op="buy", key="x", quantity=1)),
    ("duplicate", "an_order_twice", audited, _append(dict(kind="sold", key="x", order="o3", quantity=1, tickets=[17]), op="buy", key="x", quantity=1)),
    ("duplicate", "a_hold_twice", audited, _append(dict(kind="held", key="x", hold="h1", quantity=1, tickets=[17], expires_at="2026-11-23T08:00:09Z"), op="hold", key="x", quantity=1)),
    ("duplicate", "blocks_overlap", numbered, _update(_line_of("b"), tickets=[2], remaining=4)),
    ("gap", "a_number_is_left_out", audited, _append(dict(kind="sold", key="x", order="o9", quantity=1, tickets=[18]), op="buy", key="x", quantity=1)),
    ("gap", "numbers_out_of_order", audited, _update(*_sale("d"), _line_of("g"), _record_of(6), tickets=[5, 4])),
    ("gap", "a_late_sale_with_the_old_numbers", audited, lambda run: [place(run).update(tickets=[8, 10, 11]) for place in (*_sale("i"), _record_of(15))]),
    ("false late sale", "the_hold_was_released", audited, _append(dict(kind="sold", key="x", hold="h3", order="o9", quantity=1, tickets=[17]), op="confirm", key="x", hold="h3")),
    ("false late sale", "the_hold_was_sold_late_before", audited, _append(dict(kind="sold", key="x", hold="h2", order="o9", quantity=3, tickets=[17, 18, 19]), op="confirm", key="x", hold="h2")),
    ("false late sale", "of_another_quantity", audited, _append(dict(kind="sold", key="x", order="o9", quantity=2, tickets=[17, 18]), op="confirm", key="x", hold="h4")),
    ("false expiry", "a_later_one_first", audited, _update(_record_of(16), expires_at="2026-11-23T08:00:07Z")),
    ("false expiry", "long_after_it_was_made", audited, _a_hold_is_overtaken_late),
    ("false expiry", "by_a_microsecond", audited, _update(_record_of(16), expires_at="2026-11-23T08:00:06.500001Z")),
    ("false expiry", "a_tie_goes_by_version", audited, lambda run: [run.record(16).update(expires_at=run.record(17)["expires_at"]), run.record(18).update(hold="h5", tickets=[16]), run.record(19).update(hold="h4", tickets=[15])]),
    ("wrong read", "a_stale_count", audited, _update(_read(1), remaining=0)),
    ("wrong read", "in_the_answer_to_a_sale", audited, _update(_line_of("b"), remaining=4)),
    ("wrong read", "in_a_refusal", audited, _update(_line_of("m"), remaining=1)),
    ("wrong read", "by_versions_alone", versioned, _update(_read(1), remaining=3)),
    ("wrong read", "out_of_all_bounds", unversioned, _update(_read(1), remaining=4)),
    ("wrong read", "beyond_the_capacity", counted, _update(_read(0), remaining=4)),
    ("torn read", "inside_a_sale", numbered, _update(_read(1), remaining=5)),
    ("torn read", "inside_a_slot", numbered, lambda run: [run.line("c").update(quantity=2), run.line("e").update(tickets=[6], quantity=1), run.read(1).update(remaining=2)]),
    ("false sold-out", "there_was_one", audited, _update(_line_of("w"), quantity=1)),
    ("false sold-out", "in_a_hold", audited, _update(_line_of("m"), quantity=1, version=9, remaining=1)),
    ("false sold-out", "an_expired_hold_with_places", audited, _add(op="confirm", invoke=5600, returned=5800, outcome="refused", key="x", hold="h4", remaining=3, version=19)),
    ("false sold-out", "within_all_bounds", unversioned, _add(op="buy", invoke=10, returned=90, outcome="sold_out", key="x", quantity=1)),
    ("false sold-out", "only_its_own_lost_purchase_can_be_why", alone, _add(op="buy", invoke=200, returned=300, outcome="sold_out", key="a", attempt=2, quantity=1)),
    ("false sold-out", "by_numbers", numbered, _update(_line_of("d"), quantity=2)),
    ("false sold-out", "a_counter_that_shows_some", counted, _update(_line_of("d"), remaining=1)),
    ("false refusal", "an_open_order", audited, _update(_line_of("h"), order="o2")),
    ("false refusal", "an_open_hold", audited, _add(op="release", invoke=1300, returned=1500, outcome="refused", key="x", hold="h1", remaining=0, version=5)),
    ("false refusal", "an_open_hold_is_not_confirmed", audited, _add(op="confirm", invoke=5000, returned=5400, outcome="refused", key="x", hold="h4", remaining=1, version=17)),
    ("inversion", "a_read_of_the_past", audited, _update(_read(1), invoke_ns=5600, return_ns=5700)),
    ("inversion", "a_read_of_the_future", audited, _update(_read(2), invoke_ns=4300, return_ns=4600)),
    ("inversion", "two_sales", audited, _update(_line_of("b"), invoke_ns=1100, return_ns=1150)),
    ("inversion", "by_one_nanosecond", audited, _update(_read(1), invoke_ns=3650, return_ns=3699)),
    ("inversion", "acknowledged_before_it_was_asked", audited, _update(_line_of("j", 2), invoke_ns=2000, return_ns=2099)),
    ("inversion", "a_refusal_of_the_future", audited, _update(_line_of("f"), invoke_ns=700, return_ns=999)),
    ("inversion", "by_versions_alone", versioned, _update(_read(1), invoke_ns=100, return_ns=200)),
    ("inversion", "by_numbers", numbered, _update(_read(1), invoke_ns=1700, return_ns=1750)),
    ("inversion", "a_slot_too_late", numbered, _update(_line_of("c"), invoke_ns=1700)),
    ("inversion", "a_bare_refusal_too_early", numbered, _update(_line_of("f"), invoke_ns=1000, return_ns=1200)),
    ("inversion", "counts_that_fall", counted, _update(_read(2), remaining=2)),
    ("half a cart", "an_unknown_one_in_the_first_event", carts, _append(dict(kind="sold", key="d", order="o4", cart="c4", quantity=1, tickets=[5]))),
    ("half a cart", "an_unknown_one_in_the_last_event", carts, lambda run: _replace_last(run, "matinee", dict(kind="sold", key="d", order="m5", cart="c4", quantity=1, tickets=[5]))),
    ("half a cart", "two_carts_of_one_key", carts, lambda run: run.audits["matinee"][2].update(cart="c9")),
    ("half a cart", "a_record_that_names_none", carts, lambda run: run.audits["matinee"][3].pop("cart")),
    ("half a cart", "by_the_answers_alone", _without_audit(_answered_carts), lambda run: run.lines[3].update(outcome="fail")),
    ("uncounted sale", "sold_before_it_was_asked", counted, _update(_line_of("c"), invoke_ns=1050)),
    ("uncounted sale", "two_counted_and_one_asked", counted, _two_are_counted_too_early),
    ("uncounted sale", "a_read_that_misses_one", counted, _a_read_misses_one),
    ("uncounted sale", "acknowledged_and_never_counted", counted, _add(op="buy", invoke=100, returned=200, key="x", quantity=1)),
    ("uncounted sale", "more_needed_than_there_are", counted, lambda run: [run.line("d").update(outcome="ok"), run.line("d").update(invoke_ns=1010)]),
]  # fmt: skip


VALID: list[tuple[str, Callable[[], Run]]] = [
    ("audited", audited),
    ("versions_alone", versioned),
    ("numbers_alone", numbered),
    ("a_bare_counter", counted),
    ("two_events", two_events),
    ("carts", carts),
    ("carts_without_audits", _without_audit(_answered_carts)),
    ("two_hosts", two_hosts),
    ("lost_answers", lost_answers),
    ("lost_answers_of_two_tickets", lost_pairs),
    ("replays_unmarked", unmarked),
    ("a_resent_delete", resent),
    ("a_return_at_the_instant_of_an_invocation", _with(audited, _update(_read(1), invoke_ns=3650, return_ns=3700))),
    ("a_sale_invoked_as_the_count_returned", _with(counted, _update(_line_of("c"), invoke_ns=1000))),
    ("a_sale_returned_as_a_read_was_asked", _with(counted, _a_read_of_nothing_sold)),
    ("refused_just_before_it_was_made", _with(audited, _add(op="cancel", invoke=4150, returned=4250, outcome="refused", key="x", order="o6", remaining=1, version=13))),
    ("a_hold_sold_late_is_not_sold_again", _with(audited, _add(op="confirm", invoke=5600, returned=5800, outcome="refused", key="x", hold="h2", remaining=3, version=19))),
    ("sold_again_after_a_cancellation_that_nobody_was_told", unknown_cancellation),
]  # fmt: skip

UNKNOWN: list[tuple[str, Callable[[], Run], str]] = [
    ("empty", lambda: Run([], capacity=1), "the history is empty"),
    ("nothing_overlapped", _with(_keep("a", "b"), _update(_line_of("b"), invoke_ns=501)), "overlapped"),
    ("nothing_was_answered", _keep("f"), "nothing was answered"),
    ("the_audit_is_missing", _without_audit(audited), "the audit is missing"),
    ("the_audit_is_of_another_event", _with(audited, _audit_of_another_event), "of the event matinee"),
    ("no_capacity", lambda: Run(versioned().lines), "the capacity is unknown"),
    ("unknown_purchases_of_mixed_quantities", _with(numbered, lambda run: [run.add(op="buy", invoke=500, returned=None, outcome="unknown", key="x", quantity=2)]), "the audit is missing"),
    ("cancellations_without_versions", unversioned, "versions are missing"),
    ("a_line_without_a_field", _with(versioned, lambda run: [run.lines[3].pop("process")]), "line 4"),
    ("a_purchase_without_a_quantity", _with(versioned, lambda run: [run.lines[3].pop("quantity")]), "line 4"),
    ("a_return_before_its_invocation", _with(versioned, _update(_line_of("d"), return_ns=799)), "line 5"),
    ("a_key_with_two_payloads", _with(audited, _update(_line_of("s", 2), quantity=2)), "line 23"),
    ("an_attempt_twice", _with(audited, _update(_line_of("s", 2), attempt=1)), "line 23"),
    ("a_process_in_two_operations", _with(versioned, _update(_line_of("b"), process=100)), "line 3"),
    ("a_time_beyond_63_bits", _with(versioned, _update(_line_of("b"), return_ns=2**63)), "line 3"),
    ("an_answer_that_never_returned", _with(versioned, _update(_line_of("b"), return_ns=None)), "line 3"),
    ("an_operation_of_no_kind", _with(versioned, _update(_line_of("b"), op="reserve")), "line 3"),
    ("a_record_without_a_key", _with(audited, lambda run: [run.record(2).pop("key")]), "line 3"),
]  # fmt: skip

BROKEN: list[tuple[str, Callable[[str], str], str, str]] = [
    ("a_truncated_last_line", lambda text: text[:-40], "history.jsonl", "line 28"),
    ("a_line_that_is_no_json", lambda text: text.replace('{"process": 104', "process: 104"), "history.jsonl", "line 5"),
    ("an_audit_that_breaks_off", lambda text: text[:-20], "audit.jsonl", "line 20"),
    ("an_empty_audit", lambda _: "", "audit.jsonl", "audit.jsonl is empty"),
]


def make_all(root: Path) -> None:
    """Write every recorded history, except the contract's own example, which is kept as it stands there."""
    for violation, name, make, mutate in INVALID + INVALID_SEATS:
        run = make()
        mutate(run)
        folder = root / "invalid" / f"{violation.replace(' ', '_')}.{name}"
        _write(folder, run, {"violation": violation})
    for name, make in VALID + VALID_SEATS:
        _write(root / "valid" / name, make(), {})
    for name, make, why in UNKNOWN + UNKNOWN_SEATS:
        _write(root / "unknown" / name, make(), {"why": why})
    for name, break_off, file, why in BROKEN:
        folder = root / "unknown" / name
        _write(folder, audited(), {"why": why})
        (folder / file).write_text(break_off((folder / file).read_text()))


def _write(folder: Path, run: Run, about: Line) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    run = copy.deepcopy(run)
    _write_lines(folder / "history.jsonl", run.lines)
    for event, lines in run.audits.items():
        _write_lines(folder / ("audit.jsonl" if len(run.audits) == 1 else f"audit-{event}.jsonl"), lines)
    if run.capacity is not None:
        experiment = {"workload": {"capacity": run.capacity}}
        (folder / "experiment.json").write_text(json.dumps(experiment) + "\n")
    if about:
        (folder / "about.json").write_text(json.dumps(about) + "\n")


def _write_lines(path: Path, lines: list[Line]) -> None:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


if __name__ == "__main__":
    make_all(HISTORIES)
