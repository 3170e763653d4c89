"""The templates of all pages, and the files that pages contain.

``document.html`` is the frame of every page, ``report.html`` that of the reports; ``parts.html`` has the tables, plots
and drawings that they share. A package with pages of its own keeps their templates beside its code and gives its folder
to ``template``; they may extend the templates of this folder and call ``own``.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup, escape

from loadtests.lab.report.text import thousands
from loadtests.lab.untrusted import printable

_HERE = Path(__file__).parent


def template(name: str, folder: Path = _HERE) -> Template:
    """A template of a folder, or of this one. All that it is given is escaped, except for Markup."""
    return _environment(folder).get_template(name)


def own(name: str) -> Markup:
    """A file of this folder, to be placed within a page."""
    return Markup((_HERE / name).read_text(encoding="utf-8"))


@cache
def _environment(folder: Path) -> Environment:
    found = Environment(
        loader=FileSystemLoader([folder, _HERE]),
        autoescape=True,
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.globals["own"] = own
    found.filters["thousands"] = thousands
    found.filters["ms"] = lambda value: f"{value:,.3g}" if value < 100 else f"{value:,.0f}"
    found.filters["drawn"] = Markup
    found.filters["codes"] = lambda text: Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))
    return found


def _shown(value: object) -> object:
    """Text without characters that would change the direction of writing in the page."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return "\n".join(map(printable, value.split("\n")))
    return value
