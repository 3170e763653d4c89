"""Which faults a round has and when: ``pause``, ``kill-worker@30%,starve@2s``. The text is kept in the record.

A moment is a share of the round's tickets that are sold (``30%``), or a time after the first of them (``2s``). Without
one a fault is injected when the sale is well under way.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

import msgspec

from loadtests.lab.durations import duration_ns
from loadtests.lab.faults import FAULTS

_SHARES = (10, 70)
"""Between which shares of the sale, in percent, a fault is injected at random: it needs time to happen and to heal."""


class Moment(msgspec.Struct, frozen=True):
    """After how many tickets, or after so many seconds since the first."""

    tickets: int
    seconds: float = 0.0


class Injection(msgspec.Struct, frozen=True):
    """A fault and its moment, as the user writes it; empty for its own."""

    name: str
    at: str = ""

    def __str__(self) -> str:
        return f"{self.name}@{self.at}" if self.at else self.name

    def moment(self, capacity: int, sold_first: int) -> Moment:
        """Where ``capacity`` tickets are for sale, and without a moment after ``sold_first`` of them."""
        if not self.at:
            return Moment(sold_first)
        if self.at.endswith("%"):
            return Moment(-(-capacity * _share(self.at) // 100))
        return Moment(1, duration_ns(self.at) / 1e9)


def read_moment(text: str) -> str:
    """A moment like ``30%`` or ``2s``, as it is written. Raises ``ValueError``, which says what is allowed."""
    if text.endswith("%"):
        _share(text)
    else:
        try:
            duration_ns(text)
        except ValueError:
            raise ValueError(f"{text!r} is no moment of a sale like 30% or 2s.") from None
    return text


def read_injections(text: str) -> list[Injection]:
    """The injections of a text like ``pause,starve@2s``. Raises ``ValueError``, which says what is allowed."""
    return [_injection(each.strip()) for each in text.split(",")] if text else []


def written(injections: Sequence[Injection]) -> str:
    """The text from which ``read_injections`` reads them."""
    return ",".join(map(str, injections))


def names_of(text: str) -> tuple[str, ...]:
    """The faults of a text, each once."""
    return tuple(dict.fromkeys(each.name for each in read_injections(text)))


def at_moment(injections: Sequence[Injection], at: str) -> list[Injection]:
    """The same, those without a moment of their own at this one."""
    return [each if each.at else Injection(each.name, at) for each in injections]


def at_random(count: int, seed: int, names: Sequence[str]) -> list[Injection]:
    """So many of some faults at moments that the seed decides, in the order of their moments."""
    return sorted(_random(count, random.Random(seed), names), key=lambda each: _share(each.at))


def _random(count: int, rng: random.Random, names: Sequence[str]) -> Iterator[Injection]:
    for _ in range(count):
        yield Injection(rng.choice(names), f"{rng.randint(*_SHARES)}%")


def _share(text: str) -> int:
    digits = text.removesuffix("%")
    if not digits.isdecimal() or not 0 < int(digits) < 100:
        raise ValueError(f"{text!r} is no share of a sale: say 1% to 99%.")
    return int(digits)


def _injection(text: str) -> Injection:
    name, with_moment, at = text.partition("@")
    if name not in FAULTS:
        raise ValueError(f"{name!r} is not one of {', '.join(FAULTS)}.")
    return Injection(name, read_moment(at) if with_moment else "")
