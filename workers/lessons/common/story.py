"""The story of a lesson as HTML: what people wrote in its page in ``docs/lessons``, without what was measured there."""

from __future__ import annotations

import re

from markdown_it import MarkdownIt
from markupsafe import Markup

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
# The title and the claim, which the lesson has too; and the heading of what was measured.
_HEAD = re.compile(r"\A# .*\n+((> ?.*\n)+)?")
_LAST_HEADING = re.compile(r"\n## [^\n]*\s*\Z")


def story(markdown: str) -> tuple[Markup, Markup]:
    """The part before the measured one, and the part after it. Links are left out: a page stands alone."""
    before, _, rest = markdown.partition(BEGIN)
    before = _LAST_HEADING.sub("\n", _HEAD.sub("", before))
    return _html(before), _html(rest.partition(END)[2])


def _html(markdown: str) -> Markup:
    reader = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = reader.parse(markdown)
    for token in tokens:
        token.children = token.children and [
            each for each in token.children if each.type not in ("link_open", "link_close")
        ]
    return Markup(reader.renderer.render(tokens, reader.options, {}))
