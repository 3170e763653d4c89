"""Pruning: of all schedules that differ only in steps that do not depend on each other, one is executed.

The search has *sleep sets* (Godefroid, Partial-Order Methods for the Verification of Concurrent Systems, LNCS 1032,
1996). Where it has begun with step ``a``, it begins with ``b`` too, but ``a`` *sleeps* then: it is not chosen before
a step that depends on it, for what begins with ``b`` and then ``a`` is the same as ``a`` and then ``b``. So of all
equivalent schedules one is executed to its end. Where all that could go on is asleep, an execution is *cut*: there is
an equivalent one. What a step touched is known once it was made; before, it counts as touching all that it may touch.

Sleep sets are not sound under a bound on preemptions, since the equivalent schedule may need more of them. So there is
no such bound: few preemptions come first, and only the number of executions has one.

What was executed tells of the schedules that were not (``Known``). A schedule is known by its *events*: an event is a
step and the events before it on which it depends, so equivalent schedules have the same events (one Mazurkiewicz
trace). Who could go on after some events could do so after each order of them. So all schedules can be counted, and the
one that fails first without pruning can be found, without executing them.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from loadtests.lab.explore.dependence import Touched, depend
from loadtests.lab.explore.schedules import Chooser, Standing, Token, explore, is_failure

Events = frozenset[int]
Loses = Callable[[Chooser], bool]
"""Executes one schedule with a chooser; whether it failed."""
_MOST_FOLLOWED = 100_000


class Touches(Protocol):
    """Tells what steps touch."""

    def touched(self, token: Token, standing: Standing, blocked: Sequence[Standing]) -> Touched:
        """What a step may touch, from what it is about and from those who wait meanwhile."""

    def did(self, token: Token, standing: Standing, blocked: Sequence[Standing], now: Standing | None) -> Touched:
        """What a step touched that was made, from what the buyer's next step is about; None if there is none."""


class Asleep(Exception):
    """Every schedule that goes on from here has an equivalent one that is executed."""


@dataclass(slots=True)
class _Node:
    """A place in a schedule: what each enabled token may touch, and which of them sleep."""

    touched: Mapping[Token, Touched]
    sleep: Mapping[Token, Touched]
    standings: Mapping[Token, Standing]
    blocked: Sequence[Standing]
    did: Touched = frozenset()
    """What the chosen one touched."""


class SleepingChooser(Chooser):
    """Follows a prefix, and then keeps the turn, but for what sleeps. Raises ``Asleep`` where all sleep."""

    def __init__(self, touches: Touches, prefix: Sequence[Token], sleep: Mapping[Token, Touched]) -> None:
        """``sleep``: before the last token of the prefix."""
        super().__init__(prefix, self._first_awake)
        self._touches = touches
        self._sleep = sleep
        self.nodes: list[_Node] = []

    def choose(
        self, enabled: Sequence[Token], standings: Mapping[Token, Standing] = {}, blocked: Sequence[Standing] = ()
    ) -> Token:
        self.look_back(standings, blocked)
        touched = {token: self._touches.touched(token, standings[token], blocked) for token in enabled}
        self.nodes.append(_Node(touched, self._sleep, standings, blocked))
        return super().choose(enabled, standings, blocked)

    def look_back(self, standings: Mapping[Token, Standing] = {}, blocked: Sequence[Standing] = ()) -> None:
        """Learn what the last step did, from what its buyer can do now; whatever depends on it is awake then."""
        if not self.nodes:
            return
        node, chosen = self.nodes[-1], self.choices.decisions[-1].chosen
        now = standings.get(chosen) or next((each for each in blocked if each.buyer == chosen), None)
        node.did = self._touches.did(chosen, node.standings[chosen], node.blocked, now)
        if len(self.nodes) >= len(self.prefix):
            self._sleep = independent(self._sleep, node.did)

    def _first_awake(self, enabled: Sequence[Token]) -> Token:
        awake = [token for token in enabled if token not in self._sleep]
        if not awake:
            raise Asleep
        return self._turn if self._turn in awake else awake[0]


def independent(steps: Mapping[Token, Touched], of: Touched) -> dict[Token, Touched]:
    """Those of the steps that do not depend on another one."""
    return {token: touched for token, touched in steps.items() if not depend(touched, of)}


class _Branch(NamedTuple):
    """A prefix that is not executed yet: its last token is another one than was chosen there."""

    cost: int
    number: int
    prefix: Sequence[Token]
    sleep: Mapping[Token, Touched]
    """Before the last token."""
    events: Events
    """Before the last token."""


def explore_pruned(loses: Loses, touches: Touches, *, most: int) -> Known:
    """Execute one schedule of each kind, few preemptions first, at most ``most``. Returns what is known then."""
    known, numbers = Known(), itertools.count()
    branches = [_Branch(0, next(numbers), [], {}, frozenset())]
    while branches and known.executed + known.cut < most:
        branch = known.refined(heapq.heappop(branches))
        if known.is_asleep(branch):
            continue
        chooser = SleepingChooser(touches, branch.prefix, branch.sleep)
        failed = None
        with contextlib.suppress(Asleep):
            failed = loses(chooser)
            chooser.look_back()
        path = known.add(chooser, failed)
        for other in _others(chooser, len(branch.prefix), path, numbers):
            heapq.heappush(branches, other)
    known.whole = not branches
    return known


def _others(chooser: SleepingChooser, fixed: int, path: Sequence[Events], numbers: Iterator[int]) -> Iterator[_Branch]:
    """The branches of a schedule after its first ``fixed`` decisions."""
    decisions = chooser.choices.decisions
    chosen = [decision.chosen for decision in decisions]
    for place in range(fixed, len(decisions)):
        decision, node = decisions[place], chooser.nodes[place]
        cost = sum(each.preempts or is_failure(each.chosen) for each in decisions[:place])
        before = {**node.sleep, decision.chosen: node.did}
        for other in decision.enabled:
            if other not in before:
                added = is_failure(other) or (decision.turn is not None and other != decision.turn)
                yield _Branch(cost + added, next(numbers), [*chosen[:place], other], {**before}, path[place])
                before[other] = node.touched[other]


@dataclass(slots=True)
class Known:
    """What executed schedules tell of all schedules."""

    executed: int = 0
    cut: int = 0
    """Executions that were cut."""
    whole: bool = False
    """Whether one schedule of every kind was executed."""
    _numbers: dict[tuple[Token, Touched, Events], int] = field(default_factory=dict)
    _did: list[Touched] = field(default_factory=list)
    """By the event's number: what it touched."""
    _causes: list[Events] = field(default_factory=list)
    """By the event's number: the events before it on which it depends."""
    _of_token: dict[Token, list[int]] = field(default_factory=dict)
    """The events by the token."""
    _found: dict[tuple[Events, Token], int] = field(default_factory=dict)
    """The event of a token by the events before it."""
    _following: dict[int, Mapping[Token, Touched]] = field(default_factory=dict)
    """By the event's number: who could go on right after it, and not in the same way before it."""
    _enabled: dict[Events, Mapping[Token, Touched]] = field(default_factory=dict)
    """By the events so far: who could go on, in the order in which they were asked for."""
    _failed: dict[Events, bool] = field(default_factory=dict)
    """By all events of a schedule."""

    def add(self, chooser: SleepingChooser, failed: bool | None) -> list[Events]:
        """Learn from an execution; ``failed`` is None if it was cut. Returns the events before each decision."""
        path: list[Events] = [frozenset()]
        afterwards = [*(node.touched for node in chooser.nodes[1:]), {}]
        for decision, node, after in zip(chooser.choices.decisions, chooser.nodes, afterwards, strict=False):
            event = self._made(path[-1], decision.chosen, node.did)
            self._enabled[path[-1]] = node.touched
            path.append(path[-1] | {event})
            asleep = independent(node.touched, node.did)
            following = {token: after[token] for token in after if token not in asleep}
            if len(following) <= len(self._following.get(event, following)):
                self._following[event] = following
        if failed is None:
            self.cut += 1
            self._enabled[path[-1]] = chooser.nodes[-1].touched
        else:
            self.executed += 1
            self._failed[path[-1]] = failed
        return path

    def _made(self, before: Events, token: Token, did: Touched) -> int:
        causes = frozenset(event for event in before if depend(self._did[event], did))
        number = self._numbers.setdefault((token, did, causes), len(self._did))
        if number == len(self._did):
            self._did.append(did)
            self._causes.append(causes)
            self._of_token.setdefault(token, []).append(number)
        self._found[before, token] = number
        return number

    def _event(self, before: Events, token: Token) -> int:
        """The event of a token after others, in whichever order it was made: its causes are among them, and it depends
        on no other one of them. Raises ``KeyError`` if there is none."""
        if (before, token) not in self._found:
            for event in self._of_token.get(token, ()):
                causes, did = self._causes[event], self._did[event]
                if (
                    event not in before
                    and causes <= before
                    and not any(depend(self._did[each], did) for each in before - causes)
                ):
                    self._found[before, token] = event
                    break
        return self._found[before, token]

    def refined(self, branch: _Branch) -> _Branch:
        """The branch with what those that sleep did, where it is known meanwhile, instead of what they may do."""
        sleep = dict(branch.sleep)
        for token in sleep:
            with contextlib.suppress(KeyError):
                sleep[token] = self._did[self._event(branch.events, token)]
        return branch._replace(sleep=sleep)

    def is_asleep(self, branch: _Branch) -> bool:
        """Whether it is known already, without executing it, that all executions of a branch are cut."""
        return bool(branch.prefix) and self._all_asleep(branch.events, branch.prefix[-1], branch.sleep)

    def _all_asleep(self, events: Events, token: Token, sleep: Mapping[Token, Touched]) -> bool:
        """Whether they are after a token more, with what sleeps before it. If all other steps do not depend on it, then
        they are what could be made before, and what it alone makes possible."""
        enabled = self._enabled[events]
        try:
            event = self._event(events, token)
        except KeyError:
            return False
        following = self._following[event]
        if ((enabled.keys() - independent(enabled, self._did[event])) | following.keys()) != {token}:
            return False
        sleep = independent(sleep, self._did[event])
        events |= {event}
        after = {
            each: following.get(each, touched)
            for each, touched in enabled.items()
            if each in following or each != token
        }
        self._enabled[events] = after
        for each, touched in after.items():
            if each not in sleep:
                if not self._all_asleep(events, each, sleep):
                    return False
                sleep = {**sleep, each: touched}
        return bool(after)

    def others(self) -> int | None:
        """The number of schedules that were not executed, as each is equivalent to one that was; None if unknown."""
        counted: dict[Events, int] = dict.fromkeys(self._failed, 1)

        def count(events: Events) -> int:
            if events not in counted:
                counted[events] = sum(count(after) for after in self._all_after(events))
            return counted[events]

        try:
            return count(frozenset()) - self.executed if self.whole else None
        except KeyError:
            return None

    def _all_after(self, events: Events) -> Iterator[Events]:
        for token in self._enabled[events]:
            yield events | {self._event(events, token)}

    def first(self, loses: Loses, *, most: int) -> None:
        """Execute the schedule that fails first in a search without pruning. On the way there what is not known is
        executed too, at most ``most`` schedules."""
        left = most

        def goes_on(chooser: Chooser) -> bool:
            nonlocal left
            with contextlib.suppress(KeyError):
                if not self._follow(chooser):
                    return True
            left -= 1
            chosen = [decision.chosen for decision in chooser.choices.decisions]
            again = Chooser([*chosen, *chooser.prefix[len(chosen) :]])
            failed = loses(again)
            chooser.choices = again.choices
            return not failed and left > 0

        for _ in explore(goes_on, most=_MOST_FOLLOWED):
            pass

    def _follow(self, chooser: Chooser) -> bool:
        """Let a chooser choose as in an execution; whether that failed. Raises ``KeyError`` where it is not known."""
        events: Events = frozenset()
        while events not in self._failed:
            events |= {self._event(events, chooser.choose(list(self._enabled[events])))}
        return self._failed[events]
