"""Records of other tools, made into histories: ``lastseat import``.

A format is one function that reads a file into rows, each a mapping from a field's name (``a.b`` for a field within a
field) to its value. What the fields mean is said by a map (``mapping``), which is the same for every format.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from loadtests.lab.imports import csv_rows, jepsen

Row = dict[str, Any]

FORMATS: dict[str, Callable[[Path], Iterator[tuple[int, Row]]]] = {
    "csv": csv_rows.read,
    "jepsen": jepsen.read,
}
"""Each gives the rows of a file with their line numbers. Errors: ``ImportFailed``, which names the line."""
