"""JSON Lines into NumPy columns, in chunks: what histories and audits are read with.

A million operations as Python objects take gigabytes and seconds of allocation. So a file is decoded a little at a
time, each chunk is turned into columns at once (``arrays``), and its objects are dropped.

Every error names the line, counted from 1.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from operator import attrgetter
from pathlib import Path
from typing import Annotated, Any, BinaryIO, TypeVar, cast

import msgspec
import numpy as np
from msgspec import Meta

from loadtests.lab.history.arrays import ABSENT, Bools, Codes, Ints, Ragged, flatten, joined
from loadtests.lab.untrusted import NOT_JSON, open_file

LARGEST = 2**60
"""Numbers beyond it are refused, so that positions such as 2·version + 1 cannot overflow."""

MOST_TICKETS = 10**9

Number = Annotated[int, Meta(ge=-LARGEST, le=LARGEST)]
Count = Annotated[int, Meta(ge=0, le=LARGEST)]
Quantity = Annotated[int, Meta(ge=1, le=MOST_TICKETS)]
Time = Annotated[int, Meta(ge=0, le=2**63 - 2)]

Source = Path | bytes
"""A file, plain or gzip, or its content."""

_CHUNK_BYTES = 256 << 10  # a chunk's objects stay in the processor's cache
_MOST_OF_A_LINE = 16 << 20

Row = TypeVar("Row", bound=msgspec.Struct)


class HistoryError(ValueError):
    """A history or an audit that cannot be judged; the message names the file and, where there is one, the line."""


class Table(dict[str, list[Any]]):
    """Columns under construction: chunks by column name, joined when all rows are read."""

    def add(self, name: str, chunk: object) -> None:
        """One more chunk of a column."""
        self.setdefault(name, []).append(chunk)

    def ints(self, name: str) -> Ints:
        """A whole column of integers."""
        return joined(self.get(name, []))

    def codes(self, name: str) -> Codes:
        """A whole column of codes."""
        return joined(self.get(name, [])).astype(np.int8, copy=False)

    def ragged(self, name: str) -> Ragged:
        """A whole column of lists."""
        return Ragged.from_chunks(self.get(name, []))


def strings(rows: Sequence[object], field: str) -> Iterator[str | None]:
    """A column of strings."""
    return map(attrgetter(field), rows)


def ints(rows: Sequence[object], field: str) -> Ints:
    """A column of integers; None becomes ABSENT."""
    column: list[int | None] = list(map(attrgetter(field), rows))
    if None in column:
        column = [ABSENT if value is None else value for value in column]
    return np.fromiter(cast("list[int]", column), np.int64, len(column))


def codes(rows: Sequence[object], field: str, code: Mapping[Any, int]) -> Codes:
    """A column of small integers, one for each of a few values."""
    return np.fromiter(map(code.__getitem__, map(attrgetter(field), rows)), np.int8, len(rows))


def lists(rows: Sequence[object], field: str) -> tuple[Ints, Ints]:
    """A column of lists as lengths and flat values; None is an empty list."""
    column = [values or () for values in map(attrgetter(field), rows)]
    return np.fromiter(map(len, column), np.int64, len(column)), flatten(column)


def read_rows(source: Source, row_type: type[Row], *, first_row: int = 0) -> Iterator[tuple[Ints, list[Row]]]:
    """The rows of a JSON Lines file in chunks, each with its line numbers; those before ``first_row`` are left out.

    Raises HistoryError naming the line that is no JSON, lacks a field, or breaks off at the end of the file.
    """
    decoder = msgspec.json.Decoder(row_type)
    for first_line, count, block in read_blocks(source):
        if first_row:
            yield _decode_each(source, _numbered(first_line, block)[first_row:], decoder)
            first_row = 0
            continue
        try:
            rows = decoder.decode_lines(block)
        except NOT_JSON:
            rows = []
        if count == len(rows):
            yield first_line + np.arange(count), rows
        else:  # there are blank lines, or one that is no row
            yield _decode_each(source, _numbered(first_line, block), decoder)


def read_first_row(source: Source, row_type: type[Row]) -> Row:
    """The first row of a file. Raises HistoryError where there is none, or where it is not as it must be."""
    for first_line, _, block in read_blocks(source):
        for line in _numbered(first_line, block):
            return _decode_each(source, [line], msgspec.json.Decoder(row_type))[1][0]
    raise HistoryError(f"{name_of(source)} is empty")


def read_blocks(source: Source) -> Iterator[tuple[int, int, bytes]]:
    """A file, plain or gzip, in blocks of whole lines, each with its first line's number and how many they are."""
    line, rest = 1, b""
    try:
        with _open(source) as file:
            while chunk := file.read(_CHUNK_BYTES):
                cut = chunk.rfind(b"\n") + 1
                if cut:
                    block = rest + chunk[:cut]
                    count = block.count(b"\n")
                    yield line, count, block
                    line += count
                    rest = chunk[cut:]
                else:
                    rest += chunk
                if len(rest) > _MOST_OF_A_LINE:
                    raise HistoryError(f"{name_of(source)}, line {line}: it has more than {_MOST_OF_A_LINE:,} bytes")
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise HistoryError(
            f"{name_of(source)}: the gzip file cannot be read on after line {line - 1}: {error}"
        ) from error
    except OSError as error:
        raise HistoryError(f"{name_of(source)} cannot be read: {error.strerror or error}") from error
    if rest.strip():
        yield line, 1, rest


def name_of(source: Source) -> str:
    """What messages call a source."""
    return source.name if isinstance(source, Path) else "input"


def refuse(bad: Bools, line: Ints, name: str, why: str, other_line: Ints | None = None) -> None:
    """Raise HistoryError for the first line that is bad."""
    if not bad.any():
        return
    rows = np.flatnonzero(bad)
    row = rows[np.argmin(line[rows])]
    also = f" (the other is line {other_line[row]})" if other_line is not None else ""
    raise HistoryError(f"{name}, line {line[row]}: {why}{also}")


def _open(source: Source) -> BinaryIO:
    file: BinaryIO = open_file(source) if isinstance(source, Path) else BytesIO(source)
    gzipped = file.read(2) == b"\x1f\x8b"
    file.seek(0)
    return cast("BinaryIO", gzip.GzipFile(fileobj=file)) if gzipped else file


def _numbered(first_line: int, block: bytes) -> list[tuple[int, bytes]]:
    return [(number, text) for number, text in enumerate(block.split(b"\n"), first_line) if text.strip()]


def _decode_each(
    source: Source, lines: list[tuple[int, bytes]], decoder: msgspec.json.Decoder[Row]
) -> tuple[Ints, list[Row]]:
    rows = []
    for number, text in lines:
        try:
            rows.append(decoder.decode(text))
        except NOT_JSON as error:
            what = "the line breaks off in the middle" if "truncated" in str(error) else str(error)
            raise HistoryError(f"{name_of(source)}, line {number}: {what}") from error
    return np.array([number for number, _ in lines], np.int64), rows
