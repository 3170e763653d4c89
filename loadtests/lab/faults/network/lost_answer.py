"""Fault ``lost-answer``: the service has decided, and the buyer never hears what.

The connection is reset when the answer begins to arrive, so what was decided is durable by then. The buyer cannot know
whether the seat is theirs, and asks again under the same key: a service without keys sells them a second one.
"""

from __future__ import annotations

from typing import ClassVar

from loadtests.lab.faults.network.relayed import RelayedFault


class LostAnswer(RelayedFault):
    name: ClassVar[str] = "lost-answer"
    says: ClassVar[str] = "Answers to purchases are lost after the service has decided; the buyers ask again."
    counted: ClassVar[str] = "answers were lost"

    async def treat(self, piece: bytes) -> tuple[bytes, bool]:
        return b"", True
