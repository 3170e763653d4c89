"""Fault ``reset``: connections are reset in the middle of an answer; the buyer has the first half of it."""

from __future__ import annotations

from typing import ClassVar

from loadtests.lab.faults.network.relayed import RelayedFault


class Reset(RelayedFault):
    name: ClassVar[str] = "reset"
    says: ClassVar[str] = "Connections are reset in the middle of an answer to a purchase."
    counted: ClassVar[str] = "answers were cut in the middle"

    async def treat(self, piece: bytes) -> tuple[bytes, bool]:
        return piece[: len(piece) // 2], True
