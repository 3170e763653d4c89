"""The reason: the two steps of a losing schedule that conflicted, who read or wrote what there, and what each believed.

It is found in the trace, by patterns: a write that rests on a read from before another one's write (a lost update),
looks at the clock before and after time moved, a request that is written again, a read of an older state than was
written before, a cart of which others see a half, an answer that came before the other one was asked. Where none fits
it says so: a decision that is wrong by itself, for example, has no second access that explains it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from loadtests.lab.checks.verdict import Verdict
from loadtests.lab.explore.schedules import buyer_names
from loadtests.lab.explore.trace import TraceStep

NO_PAIR = "No single pair of accesses explains this."
_OF_A_HOLD = ("confirm", "release", "hold")
_INVERSION = "inversion"


class Reason(msgspec.Struct, frozen=True):
    """Two steps that conflicted, by their places in the trace (from 0), and a sentence about each."""

    kind: str = ""
    """Empty where no pair was found."""
    steps: tuple[int, ...] = ()
    sentences: tuple[str, ...] = (NO_PAIR,)


def reason_of(steps: Sequence[TraceStep], verdict: Verdict | None = None) -> Reason:
    """The reason of a schedule that fails; ``verdict`` tells whose real time was not kept."""
    found = (
        *_half_carts(steps),
        *_two_clocks(steps, "view", "looked at the clock"),
        *_lost_updates(steps),
        *_retries(steps),
        *_stale_reads(steps),
        *_inversions(steps, verdict),
        *_two_clocks(steps, "invoke", "asked"),
    )
    return next(iter(found), Reason())


def _conflict(kind: str, places: tuple[int, int], did: tuple[str, str], beliefs: tuple[str, str]) -> Reason:
    """Two steps at these places: what was done in each, and what the buyer believed."""
    said = tuple(f"{each}, and believed {belief}." for each, belief in zip(did, beliefs, strict=True))
    return Reason(kind, places, said)


def _stale_reads(steps: Sequence[TraceStep]) -> Iterator[Reason]:
    """Somebody reads an older version than was written before."""
    for read, mine in _reads(steps):
        for write, other in _writes(steps[:read]):
            if mine.version is not None and mine.version < other.wrote.get(mine.event, 0):
                wrote = f"{other.buyer} wrote {_state(other, mine.event)} in step {write + 1}"
                looked = f"{mine.buyer} read {_state(mine, mine.event)} in step {read + 1}"
                beliefs = "that who reads later sees it", "that it was the newest"
                yield _conflict("stale read", (write, read), (wrote, looked), beliefs)


def _half_carts(steps: Sequence[TraceStep]) -> Iterator[Reason]:
    """Somebody comes between two writes of one cart."""
    for first, mine in enumerate(steps):
        second = next((place for place in range(first + 1, len(steps)) if steps[place].buyer == mine.buyer), first)
        if not mine.operation.startswith("cart") or mine.gate != "append" or steps[second].gate != "append":
            continue
        for between, other in enumerate(steps[first + 1 : second], first + 1):
            if other.gate in {"view", "append"} and other.event in mine.operation.split()[1].split(","):
                wrote = f"{mine.buyer} wrote a part of the cart in step {first + 1} and the rest in step {second + 1}"
                came = f"{other.buyer} came to event {other.event} in step {between + 1}"
                beliefs = "that nobody looks in between", "that the whole cart was there or nothing of it"
                yield _conflict("half a cart", (first, between), (wrote, came), beliefs)


def _lost_updates(steps: Sequence[TraceStep]) -> Iterator[Reason]:
    """Somebody writes on what they had read before another one wrote; what was overwritten comes first."""
    for last, step in sorted(_writes(steps), key=lambda found: not found[1].wrong):
        for read, seen in _reads_for(steps, last):
            for write, other in _writes(steps[:last]):
                if read < write and other.buyer != step.buyer and seen.event in other.wrote:
                    yield _lost_update(steps, read, write, last)


def _lost_update(steps: Sequence[TraceStep], read: int, write: int, last: int) -> Reason:
    mine, other = steps[read], steps[write]
    saw = f"{mine.buyer} read {_state(mine, mine.event)} in step {read + 1}"
    wrote = f"{other.buyer} had written {_state(other, mine.event)} in step {write + 1}, in between"
    if any(step.operation.startswith("retry") for step in (steps[last], other)):
        kind = "retry without its key"
        beliefs = "that nobody had used the key", "that it was the only try under this key"
    else:
        kind = "lost update"
        beliefs = "that nothing had changed", "that nobody else was deciding"
    return _conflict(kind, (read, write), (saw, wrote), (f"in step {last + 1} {beliefs[0]}", beliefs[1]))


def _retries(steps: Sequence[TraceStep]) -> Iterator[Reason]:
    """A request is sent again, what it wrote is there, and it is written again."""
    for last, mine in _writes(steps):
        for write, other in _writes(steps[:last]):
            is_again = any(step.operation.startswith("retry") for step in (mine, other)) and _key(mine) == _key(other)
            looks = [place for place, _ in _reads_for(steps, last) if place > write]
            if is_again and looks:
                wrote = f"{other.buyer} wrote {_state(other, other.event)} under the key in step {write + 1}"
                looked = f"{mine.buyer} read {_state(steps[looks[-1]], other.event)} in step {looks[-1] + 1}"
                beliefs = (
                    "that whoever sends the request again finds it",
                    f"in step {last + 1} that this was another request",
                )
                yield _conflict("retry without its key", (write, looks[-1]), (wrote, looked), beliefs)


def _key(step: TraceStep) -> str:
    """The buyer whose key the request has: who retries another buyer's request uses that one's key."""
    return step.operation.removeprefix("retry").strip() if step.operation.startswith("retry ") else step.buyer


def _two_clocks(steps: Sequence[TraceStep], gate: str, did: str) -> Iterator[Reason]:
    """Of two who write, one came to a gate about a hold before time moved, and the other one read after that."""
    for moved in (place for place, step in enumerate(steps) if step.gate == "time"):
        for last, mine in _writes(steps):
            early = [
                place
                for place, step in enumerate(steps[:moved])
                if (step.buyer, step.operation) == (mine.buyer, mine.operation)
            ]
            if last < moved or not early or steps[early[-1]].gate != gate or not mine.operation.startswith(_OF_A_HOLD):
                continue
            for write, other in _writes(steps):
                looks = [place for place, _ in _reads_for(steps, write) if place > moved]
                if other.buyer != mine.buyer and looks:
                    came = f"{mine.buyer} {did} in step {early[-1] + 1}, before time moved in step {moved + 1}"
                    looked = f"{other.buyer} looked at the clock in step {looks[-1] + 1}, after that"
                    beliefs = "that the hold still stood", "that the hold had ended"
                    yield _conflict("a hold decided by two clocks", (early[-1], looks[-1]), (came, looked), beliefs)


def _inversions(steps: Sequence[TraceStep], verdict: Verdict | None) -> Iterator[Reason]:
    """The order of the versions is not that of real time, as the checks found."""
    names = buyer_names(10)
    for witness in (witness for check in verdict.checks for witness in check.witness) if verdict else ():
        if witness.violation != _INVERSION or len(witness.operations) < 2:
            continue
        before, after = (names[operation.process % 10] for operation in (witness.operations[0], witness.operations[-1]))
        asked = [place for place, step in enumerate(steps) if step.buyer == after and step.gate == "invoke"]
        for ask in reversed(asked):
            told = [place for place in range(ask) if steps[place].buyer == before and " is told: " in steps[place].text]
            if told:
                did = f"{before} had an answer in step {told[-1] + 1}", f"{after} asked in step {ask + 1}"
                beliefs = "that who asks later comes later", f"the state from before {before}'s answer"
                yield _conflict("real-time order", (told[-1], ask), did, beliefs)


def _writes(steps: Sequence[TraceStep]) -> Iterator[tuple[int, TraceStep]]:
    return ((place, step) for place, step in enumerate(steps) if step.wrote)


def _reads(steps: Sequence[TraceStep]) -> Iterator[tuple[int, TraceStep]]:
    for place, step in enumerate(steps):
        if not step.wrote and (step.gate == "view" or step.version is not None):
            yield place, step


def _reads_for(steps: Sequence[TraceStep], write: int) -> list[tuple[int, TraceStep]]:
    """The reads on which a write rests: of the same buyer, since the buyer's write or request before, the last of each
    event."""
    found: dict[str, tuple[int, TraceStep]] = {}
    for place, step in enumerate(steps[:write]):
        if step.buyer != steps[write].buyer:
            continue
        if step.wrote or step.gate == "invoke":
            found.clear()
        if not step.wrote and (step.gate == "view" or step.version is not None):
            found[step.event] = place, step
    return list(found.values())


def _state(step: TraceStep, event: str) -> str:
    """What was read or written of an event, in words."""
    version = step.wrote.get(event, step.version)
    left = f" with {step.left} left" if step.left is not None and not step.wrote else ""
    words = [*([f"version {version}"] if version is not None else []), *([f"event {event}"] if event else [])]
    return (" of ".join(words) or "what was there") + left
