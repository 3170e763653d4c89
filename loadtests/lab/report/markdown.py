"""What a command writes into Markdown pages: tables, and sections, which stand between two marker lines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table."""
    return [_row(columns), "|---" * len(columns) + "|", *map(_row, rows)]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def has_section(path: Path, begin: str, end: str) -> bool:
    """Does a page have the two markers, in this order?"""
    _, _, rest = path.read_text(encoding="utf-8").partition(begin)
    return end in rest


def replace_section(path: Path, begin: str, end: str, content: str) -> None:
    """Replace the text between the markers. Raises ``ValueError`` if they are missing; then nothing is written."""
    before, found, rest = path.read_text(encoding="utf-8").partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"{path} has no place for it: it needs the lines {begin} and {end}")
    path.write_text(f"{before}{begin}\n\n{content.strip()}\n\n{end}{after}", encoding="utf-8")
