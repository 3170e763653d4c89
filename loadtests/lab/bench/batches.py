"""Which purchases were decided together, seen from the answers.

Purchases of one transaction have the same worker, the same ``hold`` and ``store`` times (three decimals of a
millisecond, both) and consecutive versions. Two transactions that follow each other in one worker and took the same
time to the microsecond, twice, are taken for one; that is rare, and makes a mean batch too large by as little.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple


class _Answer(NamedTuple):
    version: int
    worker: bytes
    times: bytes
    """``hold;dur=0.123, store;dur=0.456`` as the service wrote it."""


class Batches:
    """Collects answers while they come, quickly, and sorts them out afterwards."""

    def __init__(self) -> None:
        self._seen: list[_Answer] = []

    def add(self, answer: bytes) -> None:
        """Take one whole HTTP answer; one without the service's headers and a version is passed over."""
        times, worker, version = answer.find(b"hold;dur="), answer.find(b"Worker: "), answer.rfind(b'"version":')
        if times < 0 or worker < 0 or version < 0:
            return
        self._seen.append(
            _Answer(
                int(answer[version + 10 : answer.index(b"}", version)].split(b",")[0]),
                answer[worker + 8 : answer.index(b"\r", worker)],
                answer[times : answer.index(b"\r", times)],
            )
        )

    def sizes(self) -> dict[int, int]:
        """How many transactions decided so many purchases."""
        return dict(sorted(Counter(len(batch) for batch in self._transactions()).items()))

    def held_ms(self) -> float | None:
        """How long a transaction held the guard, on average; None where no answer said so."""
        held = [float(batch[0].times.split(b",")[0][len(b"hold;dur=") :]) for batch in self._transactions()]
        return sum(held) / len(held) if held else None

    def _transactions(self) -> Iterator[list[_Answer]]:
        ordered = sorted(self._seen)
        if not ordered:
            return
        batch = ordered[:1]
        for before, after in pairwise(ordered):
            if after.version == before.version + 1 and after[1:] == before[1:]:
                batch.append(after)
            else:
                yield batch
                batch = [after]
        yield batch
