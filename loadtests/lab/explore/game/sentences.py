"""The sentences of the steps in Chinese. The explorer speaks English; ``sentences.toml`` has patterns."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from loadtests.lab.explore.game.levels import HERE
from loadtests.lab.explore.game.moves import ScheduleEnd


def chinese_of(steps: Iterable[Mapping[str, Any]], results: Iterable[ScheduleEnd]) -> dict[str, str]:
    """The sentences of steps and results as the page has them, each with its Chinese."""
    texts = {str(step["text"]) for step in steps}
    texts |= {text for result in results for text in (result.stuck, *result.reason)}
    return {text: _in_chinese(text) for text in sorted(texts)}


@cache
def _in_chinese(text: str) -> str:
    """The text with each sentence in Chinese that is known there; what is not known stays English."""
    for pattern, said in _patterns():
        text = pattern.sub(said, text)
    return text


@cache
def _patterns() -> list[tuple[re.Pattern[str], str]]:
    entries = tomllib.loads((HERE / "sentences.toml").read_text(encoding="utf-8"))["sentence"]
    return [(re.compile(each["found"]), each["said"]) for each in entries]
