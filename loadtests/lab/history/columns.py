"""JSON Lines into NumPy columns, in chunks: what histories and audits are read with.

A million operations as Python objects take gigabytes and seconds of allocation. So a file is decoded a little at a
time, each chunk is turned into columns at once (``arrays``), and its objects are dropped.

Every error names the line, counted from 1.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from io import BytesIO
from itertools import chain
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, BinaryIO, Literal, NamedTuple, TypeVar, Union, cast, get_args, get_origin

import msgspec
import numpy as np
from msgspec import NODEFAULT, Meta

from loadtests.lab.history.arrays import ABSENT, Bools, Codes, Floats, Ints, Ragged, StringIds, WordLists, compact
from loadtests.lab.untrusted import NOT_JSON, open_file, unpacked

LARGEST = 2**60
"""Numbers beyond it are refused, so that positions such as 2·version + 1 cannot overflow."""

MOST_TICKETS = 10**9

Number = Annotated[int, Meta(ge=-LARGEST, le=LARGEST)]
Count = Annotated[int, Meta(ge=0, le=LARGEST)]
Quantity = Annotated[int, Meta(ge=1, le=MOST_TICKETS)]
Time = Annotated[int, Meta(ge=0, le=2**63 - 2)]

Source = Path | bytes
"""A file, plain or gzip, or its content."""

_CHUNK_BYTES = 120 << 10  # a chunk's objects stay in the processor's cache, and malloc maps no new memory for it
_MOST_OF_A_LINE = 16 << 20

Row = TypeVar("Row", bound=msgspec.Struct)


class HistoryError(ValueError):
    """A history or an audit that cannot be judged; the message names the file and, where there is one, the line."""


def read_table(
    source: Source, row_type: type[msgspec.Struct], *, first_row: int = 0
) -> tuple[dict[str, Any], dict[str, StringIds]]:
    """A JSON Lines file as columns: ``line``, and one for each field of ``row_type``, by the field's type.

    A missing number or time (in microseconds) is ABSENT, a missing float NaN. A ``Literal`` becomes its place among the
    choices, a truth value 1, 0, or -1 for missing; tuples of numbers are ``Ragged``, tuples of strings ``WordLists``.
    Strings become ids of the ``StringIds`` that are returned by field. A field that no line has costs next to nothing.
    Raises HistoryError as ``read_rows`` does.
    """
    fields = {field.name: field for field in msgspec.structs.fields(row_type)}
    kinds = {name: _without_none(field.type) for name, field in fields.items()}
    names = {name: StringIds() for name, kind in kinds.items() if kind is str}
    lists = {name: _Lists({}, bytearray()) for name, kind in kinds.items() if get_origin(kind) is tuple}
    makers = {name: _maker_of(kind, lists.get(name)) for name, kind in kinds.items() if kind is not str}
    buffers = {name: bytearray() for name in ("line", *kinds)}
    count = 0
    for lines, rows in read_rows(source, row_type, first_row=first_row):
        if not rows:
            continue
        buffers["line"] += lines.tobytes()
        cells = list(chain.from_iterable(map(msgspec.structs.astuple, rows)))
        for place, (name, field) in enumerate(fields.items()):
            values = cells[place :: len(fields)]
            if values[0] is field.default and not buffers[name] and values.count(field.default) == len(values):
                continue  # nobody has had it so far
            if count and not buffers[name]:
                buffers[name] += _missing(field.default, makers.get(name), count).tobytes()
            column = makers[name](values) if name in makers else names[name].intern(values, count)
            buffers[name] += column.tobytes()
        count += len(rows)
    columns: dict[str, Any] = {}
    columns["line"] = compact(np.frombuffer(buffers.pop("line"), np.int64))
    for name, buffer in buffers.items():
        missing = _missing(fields[name].default, makers.get(name), count)
        column = np.frombuffer(buffer, missing.dtype) if buffer else missing
        if name in names:
            try:
                column = names[name].settle(column)
            except ValueError as error:
                raise HistoryError(f"{name_of(source)}: {error}") from error
        columns[name] = lists[name].column(compact(column), kinds[name]) if name in lists else compact(column)
    return columns, names


class _Lists(NamedTuple):
    """The lists of a field as they are collected: the words met, each with its id, and all lists one after another."""

    ids: dict[str, int]
    flat: bytearray

    def column(self, lengths: Ints, kind: Any) -> Ragged | WordLists:
        """The finished column; a list that is not there has the length -1 among ``lengths``."""
        flat = np.frombuffer(self.flat, np.int64)
        if len(flat):
            ragged = Ragged.of_lengths(np.maximum(lengths, 0), flat)
        else:
            ragged = Ragged(np.broadcast_to(np.int64(0), len(lengths) + 1), flat)
        return WordLists(tuple(self.ids), ragged, lengths >= 0) if get_args(kind)[0] is str else ragged


def _missing(default: Any, maker: _Maker | None, count: int) -> Any:
    """The column of so many rows that lack a field."""
    absent = np.full(1, -1) if maker is None else maker([] if default is NODEFAULT else [default])
    return np.broadcast_to(absent, count) if count and len(absent) else absent[:0]


_Maker = Callable[[list[Any]], Any]


def _without_none(kind: Any) -> Any:
    """``int`` of ``Annotated[int, …] | None``; a ``Literal`` and a tuple as they are."""
    if get_origin(kind) in {Union, UnionType}:
        [kind] = [each for each in get_args(kind) if each is not NoneType]
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


def _maker_of(kind: Any, lists: _Lists | None) -> _Maker:
    if get_origin(kind) is Literal:
        return partial(_codes, {value: code for code, value in enumerate(get_args(kind))})
    if lists is not None:
        return partial(_word_lengths, lists) if get_args(kind)[0] is str else partial(_lengths, lists.flat)
    by_type: dict[Any, _Maker] = {
        int: _ints,
        float: _floats,
        bool: partial(_codes, {None: -1, False: 0, True: 1}),
        datetime: _moments,
    }
    return by_type[kind]


def _ints(values: list[int | None]) -> Ints:
    try:
        return np.fromiter(cast("list[int]", values), np.int64, len(values))
    except TypeError:  # there is a None: to look for it first would take longer
        return np.fromiter([ABSENT if value is None else value for value in values], np.int64, len(values))


def _floats(values: list[float | None]) -> Floats:
    return np.fromiter([np.nan if value is None else value for value in values], np.float64, len(values))


def _codes(code: Mapping[Any, int], values: list[Any]) -> Codes:
    return np.fromiter(map(code.__getitem__, values), np.int8, len(values))


def _lengths(flat: bytearray, values: list[tuple[int, ...] | None]) -> Ints:
    """The lengths of some lists, 0 for None; their numbers are appended to ``flat``."""
    try:
        lengths = np.fromiter(map(len, cast("list[tuple[int, ...]]", values)), np.int64, len(values))
    except TypeError:  # as above
        return _lengths(flat, [value or () for value in values])
    flat += np.fromiter(chain.from_iterable(cast("list[tuple[int, ...]]", values)), np.int64).tobytes()
    return lengths


def _word_lengths(lists: _Lists, values: list[tuple[str, ...] | None]) -> Ints:
    """The lengths of some lists of words, -1 for None; the ids of their words are appended to the others."""
    ids = lists.ids
    words = chain.from_iterable(value for value in values if value)
    lists.flat.extend(np.fromiter((ids.setdefault(word, len(ids)) for word in words), np.int64).tobytes())
    return np.fromiter([-1 if value is None else len(value) for value in values], np.int64, len(values))


def _moments(values: list[datetime | None]) -> Ints:
    microseconds = [ABSENT if value is None else _microseconds(value) for value in values]
    return np.fromiter(microseconds, np.int64, len(values))


def _microseconds(moment: datetime) -> int:
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (aware - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


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
    """The first row of a file. Raises HistoryError where there is none or it is wrong."""
    for first_line, _, block in read_blocks(source):
        for line in _numbered(first_line, block):
            return _decode_each(source, [line], msgspec.json.Decoder(row_type))[1][0]
    raise HistoryError(f"{name_of(source)} is empty")


def read_blocks(source: Source) -> Iterator[tuple[int, int, bytes]]:
    """A file, plain or gzip, in blocks of whole lines, each with its first line's number and its number of lines."""
    line, rest = 1, b""
    try:
        with _open(source) as file:
            while chunk := file.read(_CHUNK_BYTES):
                cut = chunk.rfind(b"\n") + 1
                if cut:
                    block = b"".join((rest, memoryview(chunk)[:cut]))
                    count = int(
                        np.count_nonzero(np.frombuffer(block, np.uint8) == ord("\n"))
                    )  # faster than bytes.count
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
    """The name of a source in messages."""
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
    return unpacked(open_file(source) if isinstance(source, Path) else BytesIO(source))


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
