"""Rows of a CSV file: the first line names the fields. Commas, semicolons or tabs; plain or gzip."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from loadtests.lab.imports.errors import ImportFailed
from loadtests.lab.untrusted import open_file, unpacked

_DELIMITERS = ",;\t|"


def read(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows with their line numbers; an empty field is left out. Errors: ``ImportFailed``."""
    try:
        with open_text(path) as text:
            first = text.readline()
            if not first.strip():
                raise ImportFailed(f"{path.name} is empty: its first line has to name the fields")
            delimiter = max(_DELIMITERS, key=first.count)
            names = next(csv.reader([first], delimiter=delimiter))
            for row in (rows := csv.reader(text, delimiter=delimiter, strict=True)):
                line = rows.line_num + 1
                if row and len(row) != len(names):
                    raise ImportFailed(
                        f"{path.name}, line {line}: it has {len(row)} fields, and the first {len(names)}"
                    )
                if row:
                    yield line, {name: value for name, value in zip(names, row, strict=True) if value != ""}
    except csv.Error as error:
        raise ImportFailed(f"{path.name}: it is no CSV: {error}") from None


def open_text(path: Path) -> IO[str]:
    """The text of a file, plain or gzip. Errors: ``ImportFailed`` where it cannot be opened."""
    try:
        content = unpacked(open_file(path))
    except OSError as error:
        raise ImportFailed(f"{path} cannot be read: {error.strerror or error}") from None
    return io.TextIOWrapper(content, encoding="utf-8-sig", newline="")
