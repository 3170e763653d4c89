"""Array functions for lists of seats, one list for each row."""

from __future__ import annotations

import numpy as np

from loadtests.lab.history.arrays import Bools, Ints, Ragged, same_rows


def same_seats(a: Ragged, b: Ragged) -> Bools:
    """Row by row, whether two lists have the same seats, in any order."""
    same = same_rows(a, b)
    if not same.all():
        rows = np.flatnonzero(~same)
        same[rows] = same_rows(_in_order(a.take(rows)), _in_order(b.take(rows)))
    return same


def contained(a: Ragged, b: Ragged) -> Bools:
    """For each seat in the rows of ``a``, whether it is in the same row of ``b``."""
    bound = int(max(a.flat.max(initial=0), b.flat.max(initial=0))) + 1
    found: Bools = np.isin(a.rows() * bound + a.flat, b.rows() * bound + b.flat)
    return found


def repeated(lists: Ragged) -> Ints:
    """The rows in which a seat stands twice."""
    ordered, rows = _in_order(lists).flat, lists.rows()
    return np.unique(rows[1:][(ordered[1:] == ordered[:-1]) & (rows[1:] == rows[:-1])])


def have_any(lists: Ragged, flagged: Bools) -> Bools:
    """Row by row, whether it has a flagged seat; ``flagged`` is parallel to ``lists.flat``."""
    found = np.zeros(len(lists.lengths), np.bool_)
    found[lists.rows()[flagged]] = True
    return found


def _in_order(lists: Ragged) -> Ragged:
    return Ragged(lists.offsets, lists.flat[np.lexsort((lists.flat, lists.rows()))])
