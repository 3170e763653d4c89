"""JSON Lines into NumPy columns, in chunks: what histories and audits are read with.

A million operations as Python objects take gigabytes and seconds of allocation. So a file is decoded a few
megabytes at a time, each chunk is turned into columns at once, and its objects are dropped: strings become
integers (``Names``), lists of ticket numbers become one flat array with offsets (``Ragged``), an absent number
becomes ``ABSENT``.

Every error names the line, counted from 1.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from itertools import chain, repeat
from operator import attrgetter
from pathlib import Path
from typing import Annotated, Any, BinaryIO, TypeVar, cast

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

ABSENT = -(2**62)
"""Stands for a number that is not in the file; smaller than every number that may be."""

NEVER = 2**63 - 1
"""The return of an operation that never returned: later than every time in a file."""

LARGEST = 2**60
"""Numbers beyond it are refused, so that positions such as 2·version + 1 cannot overflow."""

Number = Annotated[int, Meta(ge=-LARGEST, le=LARGEST)]
Count = Annotated[int, Meta(ge=0, le=LARGEST)]
Quantity = Annotated[int, Meta(ge=1, le=10**9)]
Time = Annotated[int, Meta(ge=0, le=2**63 - 2)]

Source = Path | bytes
"""A file, plain or gzip, or its content."""

_CHUNK_BYTES = 4 << 20

Row = TypeVar("Row", bound=msgspec.Struct)


class HistoryError(ValueError):
    """A history or an audit that cannot be judged; the message names the file and, where there is one, the line."""


class Names:
    """Strings as integers: a string's id is the row it was first met in; None is -1.

    Ids have gaps but stay below the number of rows, so an array of that length can be indexed by them.
    """

    def __init__(self) -> None:
        self._ids: dict[str | None, int] = {None: -1}
        self._strings: dict[int, str | None] = {}

    def intern(self, strings: Iterable[str | None], first_row: int, count: int) -> Ints:
        """The ids of ``count`` strings, those of the rows from ``first_row`` on."""
        rows = range(first_row, first_row + count)
        return np.fromiter(map(self._ids.setdefault, strings, rows), np.int64, count)

    @property
    def bound(self) -> int:
        """Greater than every id."""
        return max(self._ids.values()) + 1

    def translation(self, other: Names) -> Ints:
        """An array that, indexed by an id of ``other``, gives the id of the same string here, or -1."""
        theirs = np.fromiter(other._ids.values(), np.int64, len(other._ids))
        ours = np.fromiter(map(self._ids.get, other._ids, repeat(-1)), np.int64, len(other._ids))
        table = np.full(theirs.max() + 2, -1)  # the last one answers index -1
        table[theirs] = ours
        return table

    def string(self, number: int) -> str | None:
        """The string of an id, None for -1."""
        if len(self._strings) != len(self._ids):
            self._strings = {number: string for string, number in self._ids.items()}
        return self._strings.get(int(number))


@dataclass(frozen=True)
class Ragged:
    """One list of integers per row: row i holds ``flat[offsets[i]:offsets[i + 1]]``."""

    offsets: Ints
    flat: Ints

    @classmethod
    def of(cls, lists: Sequence[Sequence[int]]) -> Ragged:
        """From a list of lists."""
        return cls.from_chunks([(np.fromiter(map(len, lists), np.int64, len(lists)), _flatten(lists))])

    @classmethod
    def from_chunks(cls, chunks: Sequence[tuple[Ints, Ints]]) -> Ragged:
        """From pairs of lengths and flat values."""
        lengths = _join([lengths for lengths, _ in chunks])
        offsets = np.zeros(len(lengths) + 1, np.int64)
        np.cumsum(lengths, out=offsets[1:])
        return cls(offsets, _join([flat for _, flat in chunks]))

    @property
    def lengths(self) -> Ints:
        """How many values each row has."""
        return np.diff(self.offsets)

    def rows(self) -> Ints:
        """The row of each flat value."""
        return np.repeat(np.arange(len(self.offsets) - 1), self.lengths)

    def row(self, index: int) -> list[int]:
        """The values of one row."""
        return cast("list[int]", self.flat[self.offsets[index] : self.offsets[index + 1]].tolist())

    def first(self) -> Ints:
        """The first value of each row, ABSENT for an empty one."""
        out = np.full(len(self.offsets) - 1, ABSENT)
        filled = self.lengths > 0
        out[filled] = self.flat[self.offsets[:-1][filled]]
        return out

    def take(self, index: Ints) -> Ragged:
        """The rows at ``index``, in that order."""
        lengths = self.lengths[index]
        offsets = np.zeros(len(index) + 1, np.int64)
        np.cumsum(lengths, out=offsets[1:])
        within = np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths)
        return Ragged(offsets, self.flat[np.repeat(self.offsets[index], lengths) + within])


def same_rows(a: Ragged, b: Ragged) -> Bools:
    """Row by row, whether two ragged arrays of as many rows hold the same values in the same order."""
    equal: Bools = a.lengths == b.lengths
    rows = np.flatnonzero(equal)
    a, b = a.take(rows), b.take(rows)
    equal[rows[a.rows()[a.flat != b.flat]]] = False
    return equal


def pick(values: NDArray[Any], index: Ints, missing: int) -> NDArray[Any]:
    """``values[index]``, and ``missing`` where the index is negative or beyond the end."""
    out = np.full(len(index), missing, values.dtype)
    there = (index >= 0) & (index < len(values))
    out[there] = values[index[there]]
    return out


class Table(dict[str, list[Any]]):
    """Columns under construction: chunks by column name, joined when all rows are read."""

    def add(self, name: str, chunk: object) -> None:
        """One more chunk of a column."""
        self.setdefault(name, []).append(chunk)

    def ints(self, name: str) -> Ints:
        """A whole column of integers."""
        return _join(self.get(name, []))

    def codes(self, name: str) -> NDArray[np.int8]:
        """A whole column of codes."""
        return _join(self.get(name, [])).astype(np.int8, copy=False)

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


def codes(rows: Sequence[object], field: str, code: Mapping[Any, int]) -> NDArray[np.int8]:
    """A column of small integers, one for each of a few values."""
    return np.fromiter(map(code.__getitem__, map(attrgetter(field), rows)), np.int8, len(rows))


def lists(rows: Sequence[object], field: str) -> tuple[Ints, Ints]:
    """A column of lists as lengths and flat values; None is an empty list."""
    column = [values or () for values in map(attrgetter(field), rows)]
    return np.fromiter(map(len, column), np.int64, len(column)), _flatten(column)


def read_rows(source: Source, row_type: type[Row], *, first_row: int = 0) -> Iterator[tuple[Ints, list[Row]]]:
    """The rows of a JSON Lines file in chunks, each with its line numbers; those before ``first_row`` are left out.

    Raises HistoryError naming the line that is no JSON, lacks a field, or breaks off at the end of the file.
    """
    decoder = msgspec.json.Decoder(row_type)
    for first_line, block in read_blocks(source):
        if first_row:
            yield _decode_each(source, _numbered(first_line, block)[first_row:], decoder)
            first_row = 0
            continue
        try:
            rows = decoder.decode_lines(block)
        except (msgspec.DecodeError, UnicodeDecodeError):
            _decode_each(source, _numbered(first_line, block), decoder)
            raise
        lines = first_line + np.arange(block.count(b"\n") + (not block.endswith(b"\n")))
        if len(lines) != len(rows):  # there are blank lines
            lines = np.array([line for line, _ in _numbered(first_line, block)], np.int64)
        yield lines, rows


def read_first_row(source: Source, row_type: type[Row]) -> Row:
    """The first row of a file. Raises HistoryError where there is none, or where it is not as it must be."""
    for first_line, block in read_blocks(source):
        for line in _numbered(first_line, block):
            return _decode_each(source, [line], msgspec.json.Decoder(row_type))[1][0]
    raise HistoryError(f"{name_of(source)} is empty")


def read_blocks(source: Source) -> Iterator[tuple[int, bytes]]:
    """A file, plain or gzip, in blocks of whole lines, each with the number of its first line."""
    line, rest = 1, b""
    try:
        with _open(source) as file:
            while chunk := file.read(_CHUNK_BYTES):
                cut = chunk.rfind(b"\n") + 1
                if cut:
                    block = rest + chunk[:cut]
                    yield line, block
                    line += block.count(b"\n")
                    rest = chunk[cut:]
                else:
                    rest += chunk
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise HistoryError(f"{name_of(source)}: the gzip file breaks off after line {line - 1}: {error}") from error
    if rest.strip():
        yield line, rest


def name_of(source: Source) -> str:
    """What messages call a source."""
    return source.name if isinstance(source, Path) else "line by line"


def _open(source: Source) -> BinaryIO:
    file: BinaryIO = source.open("rb") if isinstance(source, Path) else BytesIO(source)
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
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            what = "the line breaks off in the middle" if "truncated" in str(error) else str(error)
            raise HistoryError(f"{name_of(source)}, line {number}: {what}") from error
    return np.array([number for number, _ in lines], np.int64), rows


def _flatten(column: Sequence[Sequence[int]]) -> Ints:
    return np.fromiter(chain.from_iterable(column), np.int64)


def _join(chunks: Sequence[Ints]) -> Ints:
    return np.concatenate(chunks) if chunks else np.zeros(0, np.int64)
