"""The report of a benchmark: one page that opens without a network, and the same for the documentation."""

from __future__ import annotations

from pathlib import Path

from loadtests.lab.bench.plots import growth_plot, ratios_plot, scaling_plot
from loadtests.lab.bench.results import Results
from loadtests.lab.bench.tables import grids, in_order
from loadtests.lab.bench.words import machine_in_words, notes
from loadtests.lab.report import markdown
from loadtests.lab.report.pages import template

BEGIN, END = "<!-- results: written by `lastseat bench --write` -->", "<!-- end of results -->"

Drawing = tuple[str, str, str]
"""Its id, its title, its SVG."""


def drawings(results: Results) -> list[Drawing]:
    """The plots of whatever was measured."""
    measured = in_order(results)
    found = []
    for clients in dict.fromkeys(each.clients for each in measured):
        name = f"bench-{clients}-clients"
        plot = ratios_plot([each for each in measured if each.clients == clients], name)
        found.append((name, f"{clients:,} client{'s' * (clients != 1)}", plot))
    if len(results.growth) > 1:
        found.append(("bench-growth", "After many orders", growth_plot(results.growth, "bench-growth")))
    for number, each in enumerate(results.scaling):
        name = "bench-workers" + (f"-{number}" if number else "")
        found.append((name, f"{each.store} + {each.guard} by number of workers", scaling_plot(each, name)))
    return found


def write_page(path: Path, results: Results, *, when: str, command: str) -> None:
    """Write the report of what was measured."""
    page = template("bench.html").render(
        drawings=drawings(results),
        grids=grids(results),
        notes=notes(results),
        machine=machine_in_words(results),
        when=when,
        command=command,
    )
    path.write_text(page, encoding="utf-8")


def has_section(path: Path) -> bool:
    """Whether a Markdown page has the two markers, in this order."""
    return markdown.has_section(path, BEGIN, END)


def write_section(path: Path, results: Results, *, when: str, command: str) -> None:
    """Replace what stands between the two markers of a Markdown page; the plots go into ``pictures`` beside it, under
    the page's name: another page's stay what they are."""
    pictures = path.parent / "pictures"
    pictures.mkdir(exist_ok=True)
    parts = [f"`{command}`, {when}. {machine_in_words(results)}"]
    for name, title, drawing in drawings(results):
        picture = f"{path.stem}-{name.removeprefix('bench-')}.svg"
        (pictures / picture).write_text(drawing, encoding="utf-8")
        parts.append(f"![{title}](pictures/{picture})")
    parts += [grid.markdown() for grid in grids(results)]
    parts += [note.removeprefix("! ") for note in notes(results)]
    section = "\n\n".join(part.strip() for part in parts)
    markdown.replace_section(path, BEGIN, END, section)
