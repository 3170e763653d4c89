"""The kit for every drawing of the lab and of the lessons: shapes, texts, colours for light and dark, documents.

Every drawing carries its style, so that it can be saved and shown alone. The style applies only to drawings (class
``ls``). Text stays text: it can be searched, copied and read aloud.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from loadtests.lab.untrusted import printable

STYLE = """
.ls{--ink:#1b222c;--soft:#586473;--line:#dde1e6;--grid:#e9ecef;--wrong:#c0322a;--right:#0f6f64;--grey:#e1e5ea;
--pale:#fbe9e6;--one:#1f5fa8;--two:#a35a00;--three:#7a3fa0;--four:#0f6f64;--five:#586473;--band:#f3e3b3;
--inside:#fff}
@media (prefers-color-scheme:dark){.ls{--ink:#e9edf3;--soft:#a0abba;--line:#2e3743;--grid:#28313c;--wrong:#ff8273;
--right:#4fd0bd;--grey:#303945;--pale:#3a2324;--one:#8dbcf5;--two:#f0b05a;--three:#cfa3ee;--four:#4fd0bd;--five:#a0abba;
--band:#4a4020;--inside:#1a2028}}
.ls text{font:13px system-ui,-apple-system,'Segoe UI',Roboto,sans-serif;fill:var(--ink)}
.ls .soft{fill:var(--soft);font-size:12px}.ls .strong{font-weight:650}.ls .alarm{fill:var(--wrong);font-weight:650}
.ls .fine{fill:var(--right);font-weight:650}.ls .title{font-size:17px;font-weight:650}
.ls .axis{stroke:var(--line);fill:none}.ls .grid{stroke:var(--grid);fill:none}
.ls .act{fill:var(--wrong)}.ls .other{fill:var(--grey)}.ls .open{stroke:var(--wrong);stroke-dasharray:4 4;fill:none}
.ls .together{fill:var(--pale)}.ls .open.faint{stroke:var(--line)}
.ls .edge{stroke:var(--wrong);stroke-dasharray:2 4;fill:none;opacity:.8}
.ls .end{stroke:var(--ink);stroke-width:2;fill:none}.ls .cut{stroke:var(--soft);stroke-dasharray:1 5;fill:none}
.ls .entry{fill:none;stroke:var(--line)}.ls .entry.wrong{stroke:var(--wrong);stroke-width:2;fill:var(--pale)}
.ls .entry.here{stroke:var(--ink);stroke-width:2}
.ls .inside{fill:var(--inside);font-size:12px}
.ls .capacity{stroke:var(--ink);stroke-dasharray:5 4;fill:none}.ls .over{fill:var(--wrong);opacity:.06}
.ls .fault{fill:var(--band);opacity:.65}.ls .curve{fill:none;stroke-width:1.9;stroke-linejoin:round}
.ls .bar{fill:var(--one)}.ls [tabindex]:focus{outline:none}.ls [tabindex]:focus-visible .focus{stroke:var(--one)}
.ls .focus{fill:none;stroke:none;stroke-width:3}
"""

COLOURS = ("one", "two", "three", "four", "five")


def document(
    body: Iterable[str], width: float, height: float, *, title: str, about: str, name: str, style: str = STYLE
) -> str:
    """A complete SVG with a title and a description for screen readers.

    ``name`` begins the ids of the two, which must be unique in a page. Another ``style`` replaces the colours.
    """
    return (
        f'<svg class="ls" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {number(width)} {number(height)}" '
        f'width="{number(width)}" height="{number(height)}" role="group" '
        f'aria-labelledby="{name}-title" aria-describedby="{name}-about">\n'
        f'<title id="{name}-title">{escaped(title)}</title>\n<desc id="{name}-about">{escaped(about)}</desc>\n'
        f"<style>{style}</style>\n" + "\n".join(body) + "\n</svg>\n"
    )


def escaped(words: str) -> str:
    """Words that may be placed between tags and in attributes: control characters, which XML forbids, are escaped."""
    return escape(printable(words))


def text(words: str, x: float, y: float, kind: str = "", anchor: str = "start") -> str:
    """A line of text; its baseline is at ``y``."""
    side = "" if anchor == "start" else f' text-anchor="{anchor}"'
    return f'<text{_kind(kind)}{side} x="{number(x)}" y="{number(y)}">{escape(printable(words), quote=False)}</text>'


def box(x: float, y: float, width: float, height: float, kind: str, radius: float = 0) -> str:  # noqa: PLR0917
    round_ = f' rx="{number(radius)}"' if radius else ""
    size = f'width="{number(max(0, width))}" height="{number(max(0, height))}"'
    return f'<rect{_kind(kind)} x="{number(x)}" y="{number(y)}" {size}{round_}/>'


def shaded(place: tuple[float, float, float, float], colour: str, opacity: float, radius: float = 0) -> str:
    """A box in a colour of the style, more or less strong; ``place`` is x, y, width and height."""
    x, y, width, height = map(number, place)
    style = f"fill:var(--{colour});fill-opacity:{opacity:.2f}"
    return f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="{number(radius)}" style="{style}"/>'


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<path{_kind(kind)} d="M{number(x1)} {number(y1)}L{number(x2)} {number(y2)}"/>'


def curve(points: Iterable[tuple[float, float]], colour: str) -> str:
    """Straight lines from point to point."""
    return _path("M" + "L".join(f"{number(x)} {number(y)}" for x, y in points), colour, 1)


def stairs(points: Iterable[tuple[float, float]], colour: str, opacity: float = 1) -> str:
    """Steps from point to point: a value is valid until the next one."""
    (x, y), *rest = points
    steps = "".join(f"H{number(x)}V{number(y)}" for x, y in rest)
    return _path(f"M{number(x)} {number(y)}{steps}", colour, opacity)


def dot(x: float, y: float, colour: str) -> str:
    return f'<circle cx="{number(x)}" cy="{number(y)}" r="3.5" style="fill:var(--{colour})"/>'


def width_of(words: str, size: float = 13) -> float:
    """The estimated width of a line of text, rather too much than too little, since fonts differ."""
    return len(words) * size * 0.56


def number(value: float) -> str:
    """A coordinate with at most one decimal."""
    return f"{value:.1f}".rstrip("0").rstrip(".") if "." in f"{value:.1f}" else f"{value:.0f}"


def _path(path: str, colour: str, opacity: float) -> str:
    return f'<path class="curve" style="stroke:var(--{colour})" opacity="{opacity:g}" d="{path}"/>'


def _kind(kind: str) -> str:
    return f' class="{kind}"' if kind else ""
