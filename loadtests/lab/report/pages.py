"""The pages' templates, and the files that they carry within."""

from __future__ import annotations

import re
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup, escape

from loadtests.lab.untrusted import printable


def _shown(value: object) -> object:
    """Text of the page as it is read, whoever wrote it: nothing turns the direction of writing around."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return "\n".join(map(printable, value.split("\n")))
    return value


_jinja = Environment(
    loader=PackageLoader("loadtests.lab", "report"),
    autoescape=True,
    finalize=_shown,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_jinja.filters["thousands"] = lambda value: "–" if value is None else f"{value:,.0f}"
_jinja.filters["ms"] = lambda value: f"{value:,.3g}" if value < 100 else f"{value:,.0f}"
_jinja.filters["drawn"] = Markup
_jinja.filters["codes"] = lambda text: Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def template(name: str) -> Template:
    """A template of this folder; what it is given is escaped, but for Markup."""
    return _jinja.get_template(name)


def own(name: str) -> Markup:
    """A file of this folder, to stand within a page."""
    return Markup((files("loadtests.lab.report") / name).read_text(encoding="utf-8"))
