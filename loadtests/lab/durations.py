"""Durations as people write them: ``1ms``, ``30s``, ``2.5m``."""

from __future__ import annotations

import re
from decimal import Decimal

UNITS_NS = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3_600 * 10**9}
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ns|us|ms|s|m|h)")


def duration_ns(text: str) -> int:
    """Nanoseconds of a text like ``1ms``, ``2.5s``, ``0``. Raises ValueError with what is allowed."""
    if text == "0":
        return 0
    found = _DURATION.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is no duration like 1ms, 500us, 2.5s or 1m")
    return int(Decimal(found[1]) * UNITS_NS[found[2]])
