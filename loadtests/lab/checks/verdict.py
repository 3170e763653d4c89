"""What a judgement consists of: verdicts, check results, witnesses, and how they compose.

Checks compose as in Jepsen: the worst verdict wins, invalid over unknown over valid. *Valid* means that no
violation was found in this history; it never means that the service was proved correct.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

Validity = Literal["valid", "invalid", "unknown"]

EXIT_STATUS: dict[str, int] = {"valid": 0, "invalid": 1, "unknown": 2}

_BADNESS: dict[str, int] = {"valid": 0, "unknown": 1, "invalid": 2}


def worst(verdicts: Iterable[Validity]) -> Validity:
    """The worst of some verdicts; ``valid`` if there are none."""
    return max(verdicts, key=_BADNESS.__getitem__, default="valid")


class WitnessOperation(msgspec.Struct, omit_defaults=True):
    """One operation of a witness: a mutation by its key, a read by its process and invocation; the line finds both."""

    op: str
    line: int
    event: str
    process: int
    invoke_ns: int
    return_ns: int | None = None
    key: str | None = None
    attempt: int = 1
    outcome: str = "ok"
    version: int | None = None


class Witness(msgspec.Struct, omit_defaults=True):
    """The smallest proof of one violation: its name, the sentence that explains it, and who took part.

    ``operations`` are lines of the history, ``records`` are positions in the audit (1 is its first record), ``seats``
    are the ids of the seats that it is about.
    """

    violation: str
    text: str
    operations: list[WitnessOperation] = []
    records: list[int] = []
    seats: list[str] = []


class CheckResult(msgspec.Struct):
    """The result of one check: the number of violations, and the first and the worst of each kind."""

    name: str
    verdict: Validity
    count: int = 0
    witness: list[Witness] = []
    why: str = ""
    violations: dict[str, int] = {}


class EventCounts(msgspec.Struct):
    """An event in numbers, from the buyers' answers.

    ``lost`` is None without an audit, ``capacity`` where neither an audit nor the caller named it. ``seats_sold`` is
    how many different seats somebody has, None where no answer names seats.
    """

    capacity: int | None
    acknowledged: int
    oversold: int
    double_booked: int
    lost: int | None = None
    tier: str = "A"
    seats_sold_twice: int = 0
    seats_sold: int | None = None

    @property
    def is_wrong(self) -> bool:
        """Whether there was an oversell, a double booking, a seat sold twice or a lost order."""
        return bool(self.oversold or self.lost or self.double_booked or self.seats_sold_twice)


class Verdict(msgspec.Struct):
    """The judgement of a whole history. ``seconds`` is what reading and judging took."""

    verdict: Validity
    tier: str
    operations: int
    seconds: float
    checks: list[CheckResult]
    why: str
    events: dict[str, EventCounts] = {}

    @property
    def acknowledged(self) -> int:
        """Tickets answered as sold and not cancelled, over all events."""
        return sum(counts.acknowledged for counts in self.events.values())

    @property
    def oversold(self) -> int:
        """Tickets acknowledged beyond the capacity, over all events."""
        return sum(counts.oversold for counts in self.events.values())

    @property
    def lost(self) -> int | None:
        """Acknowledged orders that the audits do not have, over all events; None where no event has an audit."""
        known = [counts.lost for counts in self.events.values() if counts.lost is not None]
        return sum(known) if known else None

    @property
    def double_booked(self) -> int:
        """Ticket numbers acknowledged to two orders, over all events."""
        return sum(counts.double_booked for counts in self.events.values())

    @property
    def seats_sold(self) -> int | None:
        """Different seats that somebody has, over all events; None where no answer names seats."""
        known = [counts.seats_sold for counts in self.events.values() if counts.seats_sold is not None]
        return sum(known) if known else None

    @property
    def seats_sold_twice(self) -> int:
        """Seats acknowledged to two buyers at once, over all events."""
        return sum(counts.seats_sold_twice for counts in self.events.values())
