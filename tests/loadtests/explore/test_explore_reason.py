"""The reason of a losing schedule: the right pair of accesses is named, and none where there is none."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from rich.console import Console

from loadtests.lab.checks.verdict import CheckResult, Verdict, Witness, WitnessOperation
from loadtests.lab.explore.drawing import draw, table
from loadtests.lab.explore.reason import NO_PAIR, Reason, reason_of
from loadtests.lab.explore.trace import TraceStep


def asks(buyer: str, operation: str = "buy") -> TraceStep:
    return TraceStep(buyer, "invoke", f"{buyer} asks.", operation=operation)


def reads(buyer: str, version: int, operation: str = "buy", *, event: str = "", left: int = 1) -> TraceStep:
    return TraceStep(buyer, "view", f"{buyer} reads.", version, left, operation=operation, event=event)


def writes(
    buyer: str, operation: str = "buy", *, wrong: bool = False, told: bool = False, **versions: int
) -> TraceStep:
    """``a=1`` is version 1 of event a, ``only=1`` that of the only one."""
    wrote = {event.replace("only", ""): version for event, version in versions.items()}
    text = f"{buyer} writes.{f' {buyer} is told: sold.' if told else ''}"
    first = next(iter(versions.values()))
    return TraceStep(
        buyer, "append", text, first, wrote=wrote, wrong=wrong, operation=operation, event=next(iter(wrote))
    )


TIME = TraceStep("", "time", "Time moves on.")


@pytest.mark.parametrize(
    ("kind", "steps", "pair"),
    [
        ("lost update", [reads("A", 0), reads("B", 0), writes("B", only=1), writes("A", only=1, wrong=True)], (0, 2)),
        ("lost update", [reads("B", 1), reads("A", 1), writes("A", only=3), writes("B", only=2)], (0, 2)),
        (
            "lost update",
            [
                reads("A", 0, "cart a,b", event="a"),
                reads("A", 4, "cart a,b", event="b"),
                reads("B", 4, "buy b", event="b"),
                writes("B", "buy b", b=5),
                writes("A", "cart a,b", a=1, b=5, wrong=True),
            ],
            (1, 3),
        ),
        (
            "retry without its key",
            [reads("A", 0), reads("B", 0, "retry A"), writes("B", "retry A", only=1), writes("A", only=2)],
            (0, 2),
        ),
        (
            "retry without its key",
            [
                reads("A", 0),
                writes("A", only=1),
                asks("A", "retry"),
                reads("A", 1, "retry"),
                writes("A", "retry", only=2),
            ],
            (1, 3),
        ),
        (
            "a hold decided by two clocks",
            [reads("A", 1, "confirm"), TIME, reads("B", 1), writes("B", only=3), writes("A", "confirm", only=4)],
            (0, 2),
        ),
        (
            "a hold decided by two clocks",
            [
                asks("A", "confirm"),
                TIME,
                reads("A", 1, "confirm"),
                writes("A", "confirm", only=2),
                reads("B", 2),
                writes("B", only=3),
            ],
            (0, 4),
        ),
        (
            "lost update",
            [
                asks("A", "confirm"),
                TIME,
                reads("A", 1, "confirm"),
                reads("B", 1),
                writes("B", only=3),
                writes("A", "confirm", only=2),
            ],
            (2, 4),
        ),
        ("stale read", [writes("A", only=2), asks("B", "read"), reads("B", 1, "read")], (0, 2)),
        (
            "half a cart",
            [
                writes("A", "cart a,b", a=1),
                reads("B", 0, "buy b", event="b"),
                writes("A", "cart a,b", b=1),
                writes("B", "buy b", b=1, wrong=True),
            ],
            (0, 1),
        ),
    ],
)  # fmt: skip
def test_the_two_accesses_that_conflicted_are_named(
    kind: str, steps: Sequence[TraceStep], pair: tuple[int, int]
) -> None:
    reason = reason_of(steps)
    assert (reason.kind, reason.steps) == (kind, pair)
    assert len(reason.sentences) == 2
    for sentence, place in zip(reason.sentences, pair, strict=True):
        assert sentence.startswith(steps[place].buyer)
        assert f"step {place + 1}" in sentence
        assert "believed" in sentence


def test_who_reads_after_the_other_wrote_has_overwritten_nothing() -> None:
    reason = reason_of([reads("A", 0), writes("A", only=1), reads("B", 1), writes("B", only=2)])
    assert reason == Reason()
    assert reason.sentences == (NO_PAIR,)


def test_what_was_read_for_another_request_is_no_reason() -> None:
    steps = [reads("A", 0, "read"), reads("B", 0), writes("B", only=1), asks("A"), reads("A", 1), writes("A", only=2)]
    assert reason_of(steps).kind == ""


def test_an_order_against_real_time_names_the_answer_and_the_question_after_it() -> None:
    steps = [asks("A"), writes("A", only=2, told=True), asks("B"), writes("B", only=1, told=True)]
    operations = [WitnessOperation("buy", line, "x1", process, 0) for line, process in ((1, 0), (2, 1))]
    check = CheckResult("order", "invalid", 1, [Witness("inversion", "", operations)])
    verdict = Verdict("invalid", "A", 2, 0.0, [check], "")
    assert reason_of(steps).kind == ""
    assert (reason_of(steps, verdict).kind, reason_of(steps, verdict).steps) == ("real-time order", (1, 2))


def test_the_drawing_and_the_table_join_the_two_steps_and_the_drawing_says_why() -> None:
    steps = [reads("A", 0), reads("B", 0), writes("B", only=1), writes("A", only=1, wrong=True)]
    reason = reason_of(steps)
    drawn = draw(steps, 2, "title", reason=reason)
    assert drawn.count('class="pair"') == 1
    assert all(sentence in drawn for sentence in reason.sentences)
    assert 'class="pair"' not in draw(steps, 2, "title")
    console = Console(record=True, width=120)
    console.print(table(steps, 2, reason))
    lines = console.export_text().splitlines()[1:]
    assert ["".join(mark for mark in line if mark in "┐┘") for line in lines] == ["┐", "", "┘", ""]
    assert "┐" not in draw(steps, 2, "title", reason=Reason())


def test_a_drawing_says_that_no_pair_was_found() -> None:
    drawn = draw([reads("A", 0)], 2, "title", reason=Reason())
    assert NO_PAIR in drawn
    assert 'class="pair"' not in drawn
