"""``lastseat lesson``: lists the lessons, runs one, or all."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from loadtests.lab.commands.places import WRITTEN_FILE, WRITTEN_FOLDER
from workers.lessons import LESSONS, load
from workers.lessons.common.lesson import Lesson, LessonResult, TimeLimit, run_lesson
from workers.lessons.common.pages import refresh_docs, write_pages
from workers.lessons.common.processes import ChildFailed
from workers.lessons.common.terminal import show, titled_table
from workers.lessons.common.translation import LANGUAGES, shared_words


class LessonGroup(click.Group):
    """A subcommand for each lesson of the registry, with its parameters as options."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*LESSONS, "all"]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name == "all":
            return _all_lessons
        return _command(load(cmd_name)) if cmd_name in LESSONS else None


@click.group(cls=LessonGroup, invoke_without_command=True)
@click.pass_context
def lesson(ctx: click.Context) -> None:
    """The lessons: what is said about concurrency, run and measured here.

    \b
    Examples:
      lastseat lesson                       the list
      lastseat lesson gil                   one, in the terminal
      lastseat lesson semaphore --places 3  with other numbers
      lastseat lesson mutex --html m.html   as a page for the class, its answers in m-answers.html
      lastseat lesson mutex --lang zh       in Chinese, here and on the page
      lastseat lesson all --json            all of them, for scripts
    """
    if ctx.invoked_subcommand is None:
        table = titled_table("The lessons", "lastseat lesson …", "claims")
        for name in LESSONS:
            table.add_row(f"[bold]{name}[/]", load(name).claim)
        Console().print(table)


def _command(chosen: Lesson) -> click.Command:
    def run(as_json: bool, html: Path | None, docs: Path | None, lang: str, **given: Any) -> int:
        told = chosen.told_in(lang)
        findings = _run(told, given)
        _write(told, findings, html, docs)
        if as_json:
            click.echo(json.dumps(_summary(told, findings)))
        else:
            show(Console(), told, findings)
        return 0 if findings.holds else 1

    options = [
        click.Option(
            [f"--{each.name.replace('_', '-')}", each.name],
            default=str(each.default),
            show_default=True,
            help=f"{each.help} [{each.allowed}]",
        )
        for each in chosen.parameters
    ]
    return click.Command(
        chosen.name,
        callback=run,
        params=[*options, *_output_options(several=False)],
        help=f"{chosen.title}.\n\n{chosen.claim}",
        epilog="Exits 0 if the claim held, 1 if it did not.",
    )


def _output_options(*, several: bool) -> list[click.Parameter]:
    """The options of one lesson, or of several together."""
    target = WRITTEN_FOLDER if several else WRITTEN_FILE
    docs = click.Path(path_type=Path, exists=True, file_okay=False)
    each = "a page for each lesson into this folder" if several else "the lesson as a page"
    page_help = f"Write {each}: story, code, this run's figures, questions; and beside it the answers (…-answers.html)."
    return [
        click.Option(["--json", "as_json"], is_flag=True, help="The result as JSON on standard output."),
        click.Option(["--html"], type=target, help=page_help),
        click.Option(
            ["--lang"],
            type=click.Choice(LANGUAGES),
            default="en",
            show_default=True,
            help="English or Chinese (简体中文).",
        ),
        click.Option(
            ["--docs"], type=docs, help="Refresh the measured part of the pages in this folder, docs/lessons."
        ),
    ]


def _run_all(as_json: bool, html: Path | None, docs: Path | None, lang: str) -> int:
    summaries = []
    words = shared_words(lang)
    table = titled_table(words["course"], words["lesson"], words["claim"], words["held_or_not"])
    for name in LESSONS:
        chosen = load(name).told_in(lang)
        try:
            findings = _run(chosen, {})
        except click.ClickException as error:
            # A lesson that could not be carried out does not stop the others; its claim did not hold.
            summaries.append({"name": name, "claim": chosen.claim, "holds": False, "measured": {}, "error": str(error)})
            table.add_row(name, chosen.claim, f"[red]{words['no'].upper()}: {error}[/]")
            continue
        if html is not None:
            html.mkdir(parents=True, exist_ok=True)
        _write(chosen, findings, html and html / f"{name}.html", docs)
        summaries.append(_summary(chosen, findings))
        table.add_row(
            name, chosen.claim, f"[green]{words['yes']}[/]" if findings.holds else f"[red]{words['no'].upper()}[/]"
        )
    if as_json:
        click.echo(json.dumps(summaries))
    else:
        Console().print(table)
    return 0 if all(summary["holds"] for summary in summaries) else 1


_all_lessons = click.Command(
    "all",
    callback=_run_all,
    params=_output_options(several=True),
    help="All lessons, one after the other, with their defaults.",
)


def _run(chosen: Lesson, given: Mapping[str, Any]) -> LessonResult:
    try:
        chosen.settings(given)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    try:
        with Console(stderr=True).status(f"{chosen.name} …") as status:
            return run_lesson(chosen, given, lambda step: status.update(f"{chosen.name}: {step}"))
    except (TimeLimit, ChildFailed, ValueError) as error:
        raise click.ClickException(str(error)) from None


def _write(chosen: Lesson, findings: LessonResult, html: Path | None, docs: Path | None) -> None:
    written = [] if docs is None else refresh_docs(docs, chosen, findings)
    if html is not None:
        written += write_pages(html, chosen, findings)
    for path in written:
        click.echo(f"wrote {path}", err=True)


def _summary(chosen: Lesson, findings: LessonResult) -> dict[str, Any]:
    return {"name": chosen.name, "claim": chosen.claim, "holds": findings.holds, "measured": findings.measured}


if __name__ == "__main__":
    sys.exit(lesson())
