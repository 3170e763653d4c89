"""The Simplified Chinese of a lesson's tables and figures: the file ``zh.toml`` beside the lesson."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from workers.lessons.common.lesson import Lesson

Translate = Callable[[str], str]

_HAN = "\u4e00-\u9fff"
_COMMON_CHINESE = {"yes": "是", "no": "否"}


def unchanged(text: str) -> str:
    """The translation into English."""
    return text


def translator(lesson: Lesson) -> Translate:
    """Translates texts of a lesson's tables and figures into Chinese. A text without a translation stays as it is."""
    chinese = {**_COMMON_CHINESE, **lesson.chinese()}

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
