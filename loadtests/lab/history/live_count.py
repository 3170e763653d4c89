"""Follows a round while it runs: how many tickets its buyers hold an answer for, read from the growing history."""

from __future__ import annotations

from pathlib import Path

import msgspec


class _PurchaseLine(msgspec.Struct):
    op: str
    outcome: str
    quantity: int = 1
    invoke_ns: int = 0


class LiveCount:
    """The tickets acknowledged so far in the round that writes into ``folder``. Reads only what is new.

    ``since_ns``: those alone that were asked for after this moment of the history's clock.
    """

    def __init__(self, folder: Path, since_ns: int = 0) -> None:
        self._folder = folder
        self._since_ns = since_ns
        self._decoder = msgspec.json.Decoder(_PurchaseLine)
        self._shard: Path | None = None
        self._offset = 0
        self._tickets = 0

    def read(self) -> int:
        """The count now; cancellations are ignored. 0 between two rounds."""
        shard = next(iter(self._folder.glob("parts-*/*.jsonl")), None)
        if shard != self._shard:
            self._shard, self._offset, self._tickets = shard, 0, 0
        if shard is not None:
            self._read_on(shard)
        return self._tickets

    def _read_on(self, shard: Path) -> None:
        try:
            with shard.open("rb") as lines:
                lines.seek(self._offset)
                fresh = lines.read()
        except FileNotFoundError:  # the round has just ended
            return
        whole = fresh[: fresh.rfind(b"\n") + 1]
        self._offset += len(whole)
        self._tickets += sum(
            line.quantity
            for line in self._decoder.decode_lines(whole)
            if line.op in {"buy", "confirm"} and line.outcome == "ok" and line.invoke_ns >= self._since_ns
        )
