"""How long it takes after a fault until service is as before, on histories that are made up."""

from __future__ import annotations

import json
from collections.abc import Iterable

import pytest

from loadtests.lab.experiment.recovery import Recovery, recoveries
from loadtests.lab.faults.happened import Happened
from loadtests.lab.history.operations import Operations, read_operations


def sold_at(*times_ms: float, event: str = "show") -> list[dict[str, object]]:
    """A purchase answered at each time, sent a millisecond before."""
    return [
        {"process": 1, "op": "buy", "event": event, "outcome": "ok", "quantity": 1, "key": f"{event}-{at}"}
        | {"order": f"{event}-{at}", "version": number, "invoke_ns": int((at - 1) * 1e6), "return_ns": int(at * 1e6)}
        for number, at in enumerate(times_ms, 1)
    ]


def history(*lines: dict[str, object]) -> Operations:
    return read_operations(b"\n".join(json.dumps(line).encode() for line in lines))


def fault(begin_ms: float, end_ms: float) -> Happened:
    return Happened("pause", int(begin_ms * 1e6), int(end_ms * 1e6))


def every(step: int, begin: int, end: int) -> Iterable[int]:
    return range(begin, end, step)


def test_a_sale_that_stops_in_a_fault_and_begins_slowly_after_it() -> None:
    # a sale in 10 ms until 2 s; none until 3.1 s; one in 100 ms until 4 s; then as before
    times = [*every(10, 10, 2001), *every(100, 3100, 4000), *every(10, 4000, 6000)]
    [found] = recoveries(history(*sold_at(*times)), [fault(2000, 3000)])
    assert (found.name, found.stood_still_s, found.first_sale_s) == ("pause", 1.1, 0.1)
    assert found.as_before_s == pytest.approx(1.0, abs=0.11)
    assert found.overtaken_max == 0
    assert "longest time without a sale 1.10 s, first sale after it 0.10 s" in found.words


def test_a_sale_that_does_not_notice_the_fault() -> None:
    [found] = recoveries(history(*sold_at(*every(10, 10, 4000))), [fault(2000, 3000)])
    assert (found.stood_still_s, found.first_sale_s, found.as_before_s) == (0.01, 0.01, 0.01)


def test_a_rate_that_never_comes_back_and_a_sale_that_is_over_are_not_seen() -> None:
    times = [*every(10, 10, 2001), *every(100, 3100, 6000)]
    [slow] = recoveries(history(*sold_at(*times)), [fault(2000, 3000)])
    assert (slow.first_sale_s, slow.as_before_s) == (0.1, None)
    [over] = recoveries(history(*sold_at(*every(10, 10, 2001))), [fault(2000, 3000)])
    assert over == Recovery("pause", None, None, None, None)
    assert "not seen" in over.words


def test_a_fault_soon_after_the_beginning_has_no_rate_before_it() -> None:
    [found] = recoveries(history(*sold_at(*every(10, 10, 4000))), [fault(100, 1000)])
    assert (found.first_sale_s, found.as_before_s) == (0.01, None)


def test_a_fault_is_of_the_round_in_which_it_was() -> None:
    first, second = sold_at(*every(10, 10, 3000), event="a"), sold_at(*every(10, 5000, 9000), event="b")
    carts = sold_at(*every(10, 5005, 9000), event="b-second")
    found = recoveries(history(*first, *second, *carts), [fault(2900, 3500), fault(6000, 7000)])
    assert found[0].first_sale_s is None
    assert found[1].first_sale_s is not None


def test_who_is_overtaken_afterwards_is_counted() -> None:
    lines = sold_at(*every(10, 10, 4000))
    late = lines[-5]
    late["invoke_ns"] = int(3001 * 1e6)
    [found] = recoveries(history(*lines), [fault(2000, 3000)])
    assert found.overtaken_max is not None
    assert found.overtaken_max > 50
    [before] = recoveries(history(*lines), [fault(2000, 3002)])
    assert before.overtaken_max == 0
