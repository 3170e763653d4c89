"""Dependence: what each step of a schedule touches in the service, and so which steps can change places.

Two steps *depend* on each other if one of them changes something that the other one touches. If they do not, and stand
side by side, both orders lead to the same state and the same answers: only one of them has to be tried (Mazurkiewicz,
1977). A step goes from the gate at which a buyer stands to the next gate at which buyers are held, so it may touch all
that lies between, on every way that a request can take. What counts is what it *may* touch. A dependence too many costs
schedules; one too few could hide a fault. Where in doubt there is one.

Why it is enough:

- The caches of a process are not in it. Filling one from what nobody changes in between gives the same in either order,
  and whoever changes that depends on both.
- Nor are the lock around one append, which is taken and given back within a step, and a process's admission, which has
  room for all buyers of an exploration: its counter is the same in either order.
- Nor is a process's line: between two steps only those stand in it who wait for the guard, and they depend on that.
  Where one process of the host decides for the others, nothing is known.
- Whoever gives something back wakes those who wait for it, so the step touches what they will touch as well.
- An execution ends with the last answer, so whatever may come after an answer (time, a failure) depends on it.
- The sweeper is off; its decision, ``sweep``, and a switch of the guard touch everything.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

import msgspec

from loadtests.lab.explore.schedules import COMBINER, PAUSED, REFUSED, TIME, Standing, Token, is_failure
from service.catalogue import GUARDS

Touched = frozenset[tuple[str, str]]
"""What a step touches: things, and how: ``LOOK``, ``CHANGE``, …"""
LOOK, CHANGE, INVOKE, ANSWER = "look", "change", "invoke", "answer"

_DOCUMENT, _LOCK, _CONTROL, _CLOCK, _REAL_TIME, _FAILURE = (
    "document",
    "lock",
    "control",
    "clock",
    "real time",
    "failure",
)
_ANYTHING = "anything"
"""Every step looks at it, so what changes it depends on every step."""

# What lies between a gate and the next one. The document is all that is kept of the events: documents, segments, marks,
# rows. It is one for all events, since a cart is written to several; before the guard is there it is looked at for what
# the event was made as. The guard is given back after `release`, and a guard of an engine commits there; but whether it
# is held until then is what is explored, so every step in it counts as giving it back.
_PARTS: dict[str, dict[str, str]] = {
    "invoke": {_REAL_TIME: INVOKE, _CONTROL: LOOK, _DOCUMENT: LOOK},
    "acquire": {_CONTROL: LOOK, _LOCK: CHANGE, _DOCUMENT: LOOK},
    "view": {_DOCUMENT: LOOK, _LOCK: CHANGE},
    "append": {_DOCUMENT: CHANGE, _LOCK: CHANGE},
    "release": {_LOCK: CHANGE},
    "durable": {_DOCUMENT: LOOK, _CONTROL: LOOK},
    "answer": {_REAL_TIME: ANSWER},
}
# The gates that can come next; a step goes on to one that is held, or to the answer. A cart acquires and reads an event
# after another. Who finds that somebody else wrote begins again. A read has no gates, nor has what is refused early.
_NEXT = {
    "invoke": ("acquire", "answer"),
    "acquire": ("acquire", "view", "append"),
    "view": ("view", "append", "release"),
    "append": ("append", "view", "release"),
    "release": ("durable",),
    "durable": ("answer",),
}
_CAN_WAIT_AT = ("acquire", "append")
_TOUCH_ANYTHING = ("sweep", "switch")


@lru_cache(maxsize=1 << 16)
def depend(one: Touched, other: Touched) -> bool:
    """Whether two steps depend on each other: they touch one thing, and not in a way in which the order is the same.

    Two looks can change places, so can two answers, and two invocations. An answer and an invocation cannot: the checks
    know which operations had an answer before another one was asked (real time).
    """
    mine = dict(one)
    return any(thing in mine and (how == CHANGE or how != mine[thing]) for thing, how in other)


class Dependence(msgspec.Struct, frozen=True, kw_only=True):
    """Says what each step of a case touches, which decides whether two steps depend on each other."""

    gates: tuple[str, ...]
    """The gates at which buyers are held."""
    guard: str = ""
    """Empty if it changes: then what any guard touches is touched."""
    one_process: bool = False
    """Whether all buyers are in one process (gthread, gevent). Under sync each is alone in one, whichever it is."""
    gives_up: bool = False
    """Whether a buyer who waits gives up after some seconds: that may happen in any step meanwhile."""

    def touched(self, token: Token, standing: Standing, blocked: Sequence[Standing] = ()) -> Touched:
        """What a step may touch; ``blocked`` are those who wait for somebody when it is made."""
        return self.did(token, standing, blocked, None)

    def did(self, token: Token, standing: Standing, blocked: Sequence[Standing], now: Standing | None) -> Touched:
        """What a step touched that was made: no more than lies before the gate at which its buyer stands ``now``, or
        before the place at which they wait. None: there may have been an answer.

        A step wakes only those who had to wait because of something that it touches. So what it touches does not
        change while only steps are made that do not depend on it."""
        mine = _merged(self._own(token, standing, now if token == standing.buyer else None))
        if self._is_anything(token, standing, blocked):
            return _merged([*mine, (_ANYTHING, CHANGE)])
        woken = [each for each in blocked if depend(mine, _merged(self._path(each.buyer, [_waits_at(each)])))]
        return _merged([*mine, *(each for waiting in woken for each in self._path(waiting.buyer, _CAN_WAIT_AT))])

    def _own(self, token: Token, standing: Standing, now: Standing | None) -> Iterator[tuple[str, str]]:
        yield _ANYTHING, LOOK
        if is_failure(token):
            yield _FAILURE, CHANGE  # there is one in an execution
        if not standing.buyer:
            # A lease can end while somebody stands before their read or write.
            yield from ((_CLOCK, CHANGE),) if token == TIME else ((_LOCK, CHANGE), (_DOCUMENT, CHANGE))
            yield _REAL_TIME, CHANGE
        elif token.islower():
            yield from self._killed(standing)
        else:
            yield from self._path(standing.buyer, [standing.gate], now)
        if token.startswith(REFUSED):
            yield from ((_DOCUMENT, CHANGE), (_CONTROL, CHANGE), (_REAL_TIME, ANSWER))

    def _is_anything(self, token: Token, standing: Standing, blocked: Sequence[Standing]) -> bool:
        operations = [each.operation for each in (standing, *blocked)]
        return (
            token == COMBINER
            or token.startswith(PAUSED)
            or (self.gives_up and bool(blocked))
            or any(operation.startswith(_TOUCH_ANYTHING) for operation in operations)
        )

    def _killed(self, standing: Standing) -> Iterator[tuple[str, str]]:
        """The process ends, with all that it held, and an engine takes back what was not committed."""
        yield from self._of(standing.buyer, CHANGE)
        yield from ((_LOCK, CHANGE), (_DOCUMENT, CHANGE), (_REAL_TIME, ANSWER))

    def _path(self, buyer: str, gates: Sequence[str], now: Standing | None = None) -> Iterator[tuple[str, str]]:
        """What lies between these gates and the next ones at which buyers are held; or, where it is known where the
        buyer stands now, on the ways that lead there."""
        yield from self._of(buyer, LOOK)
        yield _CLOCK, LOOK
        for gate in self._reached(gates):
            if now is None or now.gate == "invoke" or self._leads_to(gate, now.gate):
                yield from self._part(gate, buyer)

    def _reached(self, gates: Sequence[str]) -> set[str]:
        reached, new = set(gates), list(gates)
        while new:
            following = {after for after in _NEXT.get(new.pop(), ()) if after not in self.gates} - reached
            reached |= following
            new += following
        return reached

    def _leads_to(self, gate: str, now: str) -> bool:
        on = self._reached([gate])
        return any(now in _NEXT.get(each, ()) for each in on) if now in _PARTS else bool(on & {*_CAN_WAIT_AT})

    def _part(self, gate: str, buyer: str) -> Iterator[tuple[str, str]]:
        guard = GUARDS.get(self.guard)
        for thing, how in _PARTS[gate].items():
            if thing == _LOCK and guard is not None and not guard.is_waited_for:
                continue
            of_process = thing == _LOCK and guard is not None and guard.scope == "threads"
            yield thing + self._process(buyer) if of_process else thing, how
        if gate == "release" and (guard is None or guard.commits_when_given_back):
            yield _DOCUMENT, CHANGE

    def _of(self, buyer: str, how: str) -> Iterator[tuple[str, str]]:
        yield f"buyer {buyer}", CHANGE
        yield "process" + self._process(buyer), how

    def _process(self, buyer: str) -> str:
        return " of all" if self.one_process else f" of {buyer}"


def _merged(touched: Iterable[tuple[str, str]]) -> Touched:
    """Each thing once: a thing that is touched in two ways counts as changed."""
    found: dict[str, str] = {}
    for thing, how in touched:
        found[thing] = how if found.get(thing, how) == how else CHANGE
    return frozenset(found.items())


def _waits_at(standing: Standing) -> str:
    return standing.gate if standing.gate in _PARTS else "acquire"
