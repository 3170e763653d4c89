"""``lastseat lesson``: lists the lessons, runs one, or all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from workers.lessons import LESSONS, load
from workers.lessons.children import ChildFailed
from workers.lessons.form import Findings, Lesson, Parameter, TimeLimit, carry_out
from workers.lessons.pages import page, refresh_docs
from workers.lessons.terminal import show


class LessonGroup(click.Group):
    """A subcommand for each lesson of the registry, with its parameters as options."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*LESSONS, "all"]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name == "all":
            return every_lesson
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
      lastseat lesson mutex --html m.html   as a page with the plot
      lastseat lesson all --json            all of them, for scripts
    """
    if ctx.invoked_subcommand is None:
        table = Table(title="The lessons", title_justify="left", title_style="bold")
        table.add_column("lastseat lesson …", style="bold")
        table.add_column("claims")
        for name in LESSONS:
            table.add_row(name, load(name).claim)
        Console().print(table)


def _command(chosen: Lesson) -> click.Command:
    def run(as_json: bool, html: Path | None, docs: Path | None, **given: Any) -> int:
        findings = _try(chosen, given)
        if docs is not None:
            for path in refresh_docs(docs, chosen, findings):
                click.echo(f"wrote {path}", err=True)
        if html is not None:
            html.write_text(page(chosen, findings), encoding="utf-8")
            click.echo(f"wrote {html}", err=True)
        if as_json:
            click.echo(json.dumps(_summary(chosen, findings)))
        else:
            show(Console(), chosen, findings)
        return 0 if findings.holds else 1

    options = [
        click.Option([f"--{each.name.replace('_', '-')}", each.name], **_option(each)) for each in chosen.parameters
    ]
    return click.Command(
        chosen.name,
        callback=run,
        params=[*options, *_shared_options()],
        help=f"{chosen.title}.\n\n{chosen.claim}",
        epilog="Exits 0 if the claim held, 1 if it did not.",
    )


def _option(parameter: Parameter) -> dict[str, Any]:
    about = f"{parameter.says} [{', '.join(parameter.choices) or f'{parameter.low:g} to {parameter.high:g}'}]"
    return {"default": str(parameter.default), "show_default": True, "help": about}


def _shared_options() -> list[click.Option]:
    return [
        click.Option(["--json", "as_json"], is_flag=True, help="The result as JSON on standard output."),
        click.Option(["--html"], type=click.Path(path_type=Path, dir_okay=False), help="Write a page with the plots."),
        click.Option(
            ["--docs"],
            type=click.Path(path_type=Path, exists=True, file_okay=False),
            help="Refresh the measured part of the lesson's pages in this folder (docs/lessons).",
        ),
    ]


@click.command("all")
@click.option("--json", "as_json", is_flag=True, help="The results as a JSON list on standard output.")
@click.option(
    "--html", type=click.Path(path_type=Path, file_okay=False), help="Write a page for each into this folder."
)
@click.option(
    "--docs",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Refresh the measured parts of the pages in this folder (docs/lessons).",
)
def every_lesson(as_json: bool, html: Path | None, docs: Path | None) -> int:
    """All lessons, one after the other, with their defaults."""
    summaries = []
    table = Table(title="The lessons", title_justify="left", title_style="bold")
    for column in ("lesson", "claim", "held"):
        table.add_column(column)
    for name in LESSONS:
        chosen = load(name)
        try:
            findings = _try(chosen, {})
        except click.ClickException as error:
            # One that broke does not keep the others from running; it did not hold.
            summaries.append({"name": name, "claim": chosen.claim, "holds": False, "measured": {}, "error": str(error)})
            table.add_row(name, chosen.claim, f"[red]NO: {error}[/]")
            continue
        if html is not None:
            html.mkdir(parents=True, exist_ok=True)
            (html / f"{name}.html").write_text(page(chosen, findings), encoding="utf-8")
        if docs is not None:
            refresh_docs(docs, chosen, findings)
        summaries.append(_summary(chosen, findings))
        table.add_row(name, chosen.claim, "[green]yes[/]" if findings.holds else "[red]NO[/]")
    if as_json:
        click.echo(json.dumps(summaries))
    else:
        Console().print(table)
    return 0 if all(summary["holds"] for summary in summaries) else 1


def _try(chosen: Lesson, given: Mapping[str, Any]) -> Findings:
    console = Console(stderr=True)
    try:
        chosen.settings(given)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    try:
        with console.status(f"{chosen.name} …") as status:
            return carry_out(chosen, given, lambda words: status.update(f"{chosen.name}: {words}"))
    except (TimeLimit, ChildFailed, ValueError) as error:
        raise click.ClickException(str(error)) from None


def _summary(chosen: Lesson, findings: Findings) -> dict[str, Any]:
    return {"name": chosen.name, "claim": chosen.claim, "holds": findings.holds, "measured": findings.measured}


if __name__ == "__main__":
    from loadtests.lab.cli import main

    main(lesson)
