"""What comes from outside: a service's answers, files that somebody brought. It may be anything at all.

Such text is read without trust (``NOT_JSON`` is every way in which it fails), files are opened only if they are files,
and what is shown of either on a terminal is shown as characters, never obeyed.
"""

from __future__ import annotations

import gzip
import os
import stat
import unicodedata
from pathlib import Path
from typing import BinaryIO, TypeVar, cast

import msgspec

NOT_JSON = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that are no JSON, not of the wanted shape, no UTF-8, or nested without an end."""

_MOST_BYTES = 64 << 20

Content = TypeVar("Content")


def open_file(path: Path) -> BinaryIO:
    """Open a file for reading. Raises ``OSError`` also for what is no file: a pipe would keep its reader waiting."""
    number = os.open(path, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NONBLOCK", 0))
    try:
        if not stat.S_ISREG(os.fstat(number).st_mode):
            raise OSError("it is no regular file")
        return os.fdopen(number, "rb")
    except BaseException:
        os.close(number)
        raise


def unpacked(file: BinaryIO) -> BinaryIO:
    """What a file holds, plain or gzip."""
    gzipped = file.read(2) == b"\x1f\x8b"
    file.seek(0)
    return cast("BinaryIO", gzip.GzipFile(fileobj=file)) if gzipped else file


def read_file(path: Path, most_bytes: int = _MOST_BYTES) -> bytes:
    """The content of a small file. Raises ``OSError``, also where it is no file or larger than that."""
    with open_file(path) as file:
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise OSError(f"it has more than {most_bytes:,} bytes")
    return content


def read_json(path: Path, kind: type[Content]) -> Content | None:
    """A small file of JSON; None where there is none, or nothing of this kind in it."""
    try:
        return msgspec.json.decode(read_file(path), type=kind)
    except (OSError, *NOT_JSON):
        return None


def printable(text: str) -> str:
    """The text in one line: all that a terminal would obey, or that changes the direction of writing, as an escape.

    Letters of every script stay, and so do spaces of every width.
    """
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() or unicodedata.category(each) == "Zs" else _escaped(each) for each in text
    )


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
