"""The seats of a case as integers: of the hall by their indices, and beyond those such as the hall does not have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from loadtests.lab.checks.case.mutations import Mutations
from loadtests.lab.history.arrays import NEVER, Bools, Ints, Ragged, WordLists, lookup, one_of, pick
from loadtests.lab.history.audit import Audit
from loadtests.lab.history.history import BUY, CANCEL, CONFIRM, HOLD, OK, RELEASE, History
from loadtests.lab.protocol.halls import Hall


@dataclass(frozen=True)
class Seats:
    """What one event's history says of seats. Row i of ``given``, ``wanted`` and ``taken`` is of operation i.

    ``names`` has the ids, and ``ours`` says how many of the first are the hall's; without a hall it is all of them.
    ``told`` says which rows told their seats, ``asked`` which asked for seats by name, ``named`` which refusals say
    what is taken. ``low`` and ``high`` are the scope of each row that asked for the best: from the first index of its
    section to the one behind its last, or the whole hall's; ``astray`` marks those whose section the hall does not
    have. ``of_mutation`` are the seats of each mutation: as answered, else as wanted, else of the hold or the order
    that it names.
    """

    hall: Hall | None
    names: tuple[str, ...]
    ours: int
    given: Ragged
    wanted: Ragged
    taken: Ragged
    told: Bools
    asked: Bools
    named: Bools
    together: Bools
    low: Ints
    high: Ints
    astray: Bools
    of_mutation: Ragged
    recorded: Ragged | None
    """The seats of the audit's records."""
    tried: Ints
    """By seat, when the earliest purchase of it that failed was invoked; NEVER without one."""

    def text(self, seats: list[int]) -> str:
        """Some seats for a sentence."""
        shown = [self.names[seat] for seat in seats[:_SHOWN]]
        return ", ".join(shown) + (f" and {len(seats) - _SHOWN} more" if len(seats) > _SHOWN else "")


_SHOWN = 6


def seats_of(
    h: History, group: Ints, mutations: Mutations, *, audit: Audit | None, hall: Hall | None, failed: History | None
) -> Seats | None:
    """The seats of one event's history and audit; None where neither says anything of seats.

    ``failed`` are the event's operations that surely had no effect, where the history says anything of seats.
    """
    told_by_audit = audit is not None and bool(audit.seats.told.any())
    if hall is None and not told_by_audit and not _says_something(h):
        return None
    ids: dict[str, int] = dict(hall.index) if hall is not None else {}
    columns = h.seating
    nothing = WordLists((), Ragged(np.zeros(len(h) + 1, np.int64), np.zeros(0, np.int64)), np.zeros(len(h), np.bool_))
    given, wanted, taken = (nothing,) * 3 if columns is None else (columns.given, columns.wanted, columns.taken)
    listed = [_as_ids(each, ids) for each in (given, wanted, taken)]
    recorded = None if audit is None else _as_ids(audit.seats, ids)
    by_failed = None if failed is None or failed.seating is None else _as_ids(failed.seating.wanted, ids)
    tried = np.full(len(ids), NEVER)
    if failed is not None and by_failed is not None:
        np.minimum.at(tried, by_failed.flat, failed.invoke_ns[by_failed.rows()])
    low, high, astray = _scopes(h, hall)
    told = given.told & (h.outcome == OK)
    return Seats(
        hall=hall,
        names=tuple(ids),
        ours=len(ids) if hall is None else len(hall),
        given=listed[0],
        wanted=listed[1],
        taken=listed[2],
        told=told,
        asked=wanted.told,
        named=taken.told,
        together=np.zeros(len(h), np.bool_) if columns is None else columns.together,
        low=low,
        high=high,
        astray=astray,
        of_mutation=_of_mutations(h, group, mutations, (listed[0], told), (listed[1], wanted.told)),
        recorded=recorded,
        tried=tried,
    )


def _says_something(h: History) -> bool:
    columns = h.seating
    if columns is None:
        return False
    named = any(bool(each.told.any()) for each in (columns.given, columns.wanted, columns.taken))
    return named or bool((columns.together | (columns.section >= 0) | (columns.map >= 0)).any())


def _as_ids(lists: WordLists, ids: dict[str, int]) -> Ragged:
    """The lists with the ids of this case; words that are new get the next ones."""
    met, place = np.unique(lists.lists.flat, return_inverse=True)
    translated = np.array([ids.setdefault(lists.words[word], len(ids)) for word in met.tolist()], np.int64)
    return Ragged(lists.lists.offsets, translated[place])


def _scopes(h: History, hall: Hall | None) -> tuple[Ints, Ints, Bools]:
    """Where each row looks for the best seats, and whether its section is none of the hall's."""
    low, high, astray = np.zeros(len(h), np.int64), np.zeros(len(h), np.int64), np.zeros(len(h), np.bool_)
    if hall is None:
        return low, high, astray
    high[:] = len(hall)
    if h.seating is not None:
        known: Mapping[str | None, int] = {name: number for number, name in enumerate(hall.section_names)}
        for section in np.unique(h.seating.section[h.seating.section >= 0]).tolist():
            rows = h.seating.section == section
            number = known.get(h.seating.sections.string(section))
            if number is None:
                astray[rows], high[rows] = True, 0
            else:
                low[rows], high[rows] = hall.section_starts[number], hall.section_starts[number + 1]
    return low, high, astray


def _of_mutations(
    h: History, group: Ints, m: Mutations, given: tuple[Ragged, Bools], wanted: tuple[Ragged, Bools]
) -> Ragged:
    """As ``Seats.of_mutation``. The rows of both lists are put under each other, so that one index finds either."""
    telling = np.flatnonzero(given[1] & (group >= 0))[::-1]
    telling = telling[np.argsort(-h.return_ns[telling], kind="stable")]
    source = np.full(len(m), -1)
    source[group[telling]] = telling  # the last assignment, that of the earliest answer, stays
    asked = one_of(m.op, BUY, HOLD) & (source < 0) & pick(wanted[1], m.row, 0)
    source = np.where(asked, len(h) + m.row, source)
    holds = np.flatnonzero((m.op == HOLD) & (source >= 0))
    by_hold = lookup(m.hold[holds], source[holds], m.hold, -1)
    source = np.where((source < 0) & one_of(m.op, CONFIRM, RELEASE), by_hold, source)
    orders = np.flatnonzero(one_of(m.op, BUY, CONFIRM) & (source >= 0))
    by_order = lookup(m.order[orders], source[orders], m.order, -1)
    source = np.where(m.op == CANCEL, by_order, source)
    offsets = np.concatenate((given[0].offsets, given[0].offsets[-1] + wanted[0].offsets[1:], [0]))
    offsets[-1] = offsets[-2]  # an empty row behind all, which answers index -1
    both = Ragged(offsets, np.concatenate((given[0].flat, wanted[0].flat)))
    return both.take(np.where(source < 0, 2 * len(h), source))
