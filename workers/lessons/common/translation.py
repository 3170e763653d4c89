"""The Simplified Chinese of a lesson's tables and figures, and the words that all lessons' pages share.

A lesson's own texts are in the file ``zh.toml`` beside it, the shared words in ``en.toml`` and ``zh.toml`` here.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

LANGUAGES = ("en", "zh")
Translate = Callable[[str], str]

_HAN = "\u4e00-\u9fff"


def unchanged(text: str) -> str:
    """The translation into English."""
    return text


@cache
def shared_words(language: str) -> Mapping[str, str]:
    """The words around every lesson, on its page and in the terminal, by their names; language: ``en`` or ``zh``."""
    return tomllib.loads((Path(__file__).parent / f"{language}.toml").read_text(encoding="utf-8"))


def translator(texts: Mapping[str, str]) -> Translate:
    """Translates texts of a lesson's tables and figures into Chinese. A text without a translation stays as it is."""
    chinese = {**{shared_words("en")[name]: shared_words("zh")[name] for name in ("yes", "no")}, **texts}

    def translate(text: str) -> str:
        entry = entry_of(text, chinese)
        if entry is None:
            return text
        if entry == text or "{}" in entry:
            return _full_width(chinese[entry].format(*re.findall(r"\d+", text)))
        return chinese[entry] + text.removeprefix(entry).replace("  ", " ")

    return translate


def entry_of(text: str, chinese: Mapping[str, str]) -> str | None:
    """The entry that translates a text: the text itself, the text with ``{}`` for each number, or its first words.

    ``visitor`` translates ``visitor 12``.
    """
    candidates = (text, re.sub(r"\d+", "{}", text), text.rpartition(" ")[0].strip())
    return next((each for each in candidates if each in chinese), None)


def _full_width(text: str) -> str:
    """Makes punctuation beside Chinese characters as wide as they are; translations may use either width."""
    return re.sub(f"(?<=[{_HAN}])[,:;?!()]|[,:;?!()](?=[{_HAN}])", lambda mark: chr(ord(mark[0]) + 0xFEE0), text)
