"""A picture says the same without colour: in the terminal by its characters, on a page by its hatching."""

from __future__ import annotations

import io
import itertools
import re
from xml.etree import ElementTree

import pytest
from rich.console import Console

from workers.lessons.common.figures import BarChart, Figure, Span, Timeline
from workers.lessons.common.lesson import Lesson, LessonResult
from workers.lessons.common.svg import svg
from workers.lessons.common.terminal import show

STYLES = {"plain": "finds none", "faint": "looks round", "wait": "waits", "good": "sells", "bad": "sells it again"}
LINES = Timeline(
    "A sale", {label: [Span(0, 1, style=style)] for style, label in STYLES.items()}, {**STYLES}
)  # a lane for each style
BARS = BarChart("A chart", "pieces", {f"series {number}": [("a", 1.0)] for number in range(7)})
_RULE = re.compile(r"([^{}]+)\{([^{}]*)\}")


def said(figure: Figure, width: int = 60) -> list[str]:
    """The lines of the terminal without any colour."""
    lesson = Lesson("sale", "A sale", "It sells.", "No.", "Yes.", "Here.", run=lambda _settings, _progress: found)
    found = LessonResult(holds=True, measured={}, figures=[figure])
    written = io.StringIO()
    show(Console(file=written, width=width, color_system=None), lesson, found)
    return written.getvalue().splitlines()


def test_in_the_terminal_every_style_has_a_character_of_its_own_and_the_legend_names_it() -> None:
    lines = said(LINES)
    legend = " ".join(line for line in lines if line.startswith("  ") and "  0" not in line[:40])
    signs = {}
    for label in STYLES.values():
        [lane] = [line for line in lines if line.strip().startswith(f"{label}  ") and line.strip()[-1] * 20 in line]
        signs[label] = lane.strip()[-1]
        assert f"{signs[label]} {label}" in legend
    assert len(set(signs.values())) == len(STYLES)
    assert (signs["sells"], signs["finds none"], signs["sells it again"]) == ("█", "▒", "▓")


@pytest.mark.parametrize("width", [40, 60, 120])
def test_a_sign_of_the_legend_is_never_torn_from_its_word(width: int) -> None:
    lines = said(LINES, width)
    for sign, label in (("█", "sells"), ("▒", "finds none"), ("▓", "sells it again")):
        assert any(f"  {sign} {label}" in line for line in lines), label


def looks(figure: Figure) -> dict[str, str]:
    """What each coloured rectangle of the figure looks like where no colour can be told: the lines of its hatching."""
    root = ElementTree.fromstring(svg(figure))
    space = "{http://www.w3.org/2000/svg}"
    hatchings = {each.get("id"): each[1].get("d", "") for each in root.iter(f"{space}pattern")}
    rules = {
        selector.strip(): body
        for selectors, body in _RULE.findall(next(root.iter(f"{space}style")).text or "")
        for selector in selectors.split(",")
    }
    found = {}
    for group in root.iter(f"{space}g"):
        for box in group.iter(f"{space}rect"):
            kind, series = box.get("class", ""), group.get("class", "")
            fill = rules.get(f".{series} .{kind}") or rules.get(f"rect.{kind}") or rules[f".{kind}"]
            hatched = re.search(r"url\(#([\w-]+)\)", fill)
            found[f"{series} {kind}"] = hatchings[hatched[1]] if hatched else ""
    return found


@pytest.mark.parametrize("figure", [LINES, BARS], ids=["timeline", "bars"])
def test_on_a_page_no_two_styles_and_no_two_series_look_alike_without_colour(figure: Figure) -> None:
    found = looks(figure)
    assert len(found) == len(STYLES if figure is LINES else BARS.series)
    for (one, mine), (other, theirs) in itertools.combinations(found.items(), 2):
        assert mine != theirs, f"{one} and {other}"
