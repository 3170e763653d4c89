"""Fault ``latency``: every answer to a purchase takes longer to arrive, as over a long or a busy line."""

from __future__ import annotations

import asyncio
from typing import ClassVar

from loadtests.lab.faults.network.relayed import RelayedFault

LATER_S = 0.2


class Latency(RelayedFault):
    name: ClassVar[str] = "latency"
    says: ClassVar[str] = f"Answers to purchases arrive {LATER_S * 1e3:g} ms later."
    counted: ClassVar[str] = f"answers came {LATER_S * 1e3:g} ms later"

    async def treat(self, piece: bytes) -> tuple[bytes, bool]:
        await asyncio.sleep(LATER_S)
        return piece, False
