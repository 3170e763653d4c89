"""What was injected into a run and when: ``faults.json`` of its results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

FAULTS_FILE = "faults.json"


class Happened(msgspec.Struct, frozen=True):
    """What was injected: from when to when, in nanoseconds of the history's clock, and in words."""

    name: str
    begin_ns: int
    end_ns: int
    text: str = ""
    in_effect_ns: tuple[int, int] | None = None
    """From when to when it was surely in effect: after its injection, before the start of healing."""


def keep(folder: Path, happened: Sequence[Happened]) -> None:
    (folder / FAULTS_FILE).write_bytes(msgspec.json.format(msgspec.json.encode(happened)) + b"\n")


def read(folder: Path) -> list[Happened]:
    """The faults of a results folder; empty where none was written down."""
    try:
        return msgspec.json.decode((folder / FAULTS_FILE).read_bytes(), type=list[Happened])
    except FileNotFoundError:
        return []
