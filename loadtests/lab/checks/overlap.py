"""Whether anything was tested: a history in which no two operations overlapped shows no race."""

from __future__ import annotations

import numpy as np

from loadtests.lab.checks.case import Case
from loadtests.lab.checks.findings import Findings
from loadtests.lab.checks.ordering.placement import Placement
from loadtests.lab.history.arrays import Ints
from loadtests.lab.history.history import UNKNOWN

NOTHING_OVERLAPPED = "no two mutations or refusals of different keys overlapped: nothing was tested"


def check(case: Case, placement: Placement) -> Findings:
    """Undecided unless two mutations or refusals, completed or unknown, of different keys overlapped."""
    findings = Findings()
    h = case.history
    if not (h.outcome != UNKNOWN).any():
        findings.undecided.append("nothing was answered: nothing was tested")
        return findings
    rows = np.flatnonzero(case.group >= 0)
    for host in np.unique(h.host[rows]):
        here = rows[h.host[rows] == host]
        # As they were recorded: what only the widened times share may have been far apart.
        (invoke, returned), key = h.recorded(here), case.group[here]
        attempts = np.bincount(key)
        pairs, most_within = overlapping_pairs(invoke, returned), int((attempts * (attempts - 1) // 2).sum())
        if pairs > most_within or pairs > _pairs_within(key, invoke, returned):
            return findings
    findings.undecided.append(NOTHING_OVERLAPPED)
    return findings


def overlapping_pairs(invoke: Ints, returned: Ints) -> int:
    """Number of pairs of intervals that share an instant: of those invoked before, all that had not returned."""
    ended = np.searchsorted(np.sort(returned), np.sort(invoke))
    return int((np.arange(len(invoke)) - ended).sum())


def _pairs_within(key: Ints, invoke: Ints, returned: Ints) -> int:
    """Overlapping pairs of one key: the same count with every key's times moved to a stretch of its own."""
    times = np.unique(np.concatenate((invoke, returned)), return_inverse=True)[1]
    stretch = key * (len(times) + 1)
    return overlapping_pairs(times[: len(key)] + stretch, times[len(key) :] + stretch)
