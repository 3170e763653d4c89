"""``lastseat exercise``: lists the exercises, starts one, checks one."""

from __future__ import annotations

import time
from pathlib import Path

import click
from rich.console import Console

from loadtests.lab.commands.places import WRITTEN_FILE
from workers.exercises import EXERCISES
from workers.exercises.common import words
from workers.exercises.common.grading import EXPLORE_S, grade
from workers.lessons.common.terminal import titled_table
from workers.lessons.common.translation import LANGUAGES

_lang = click.option(
    "--lang", type=click.Choice(LANGUAGES), default="en", show_default=True, help="English or Chinese (简体中文)."
)


@click.group(invoke_without_command=True)
@click.pass_context
@_lang
def exercise(ctx: click.Context, lang: str) -> None:
    """The exercises: small programs that lose in some order of their steps, and that grade your mending of them.

    \b
    Examples:
      lastseat exercise                                    the list
      lastseat exercise start check_then_act               writes check_then_act/check_then_act.py
      lastseat exercise check check_then_act               tries the orders; exits 0 if none loses
    """
    if ctx.invoked_subcommand is None:
        told = words.shared(lang)
        table = titled_table(told["list"], told["exercise"], told["title"], told["lesson"])
        table.columns[0].no_wrap = True  # it is what one types
        for name in EXERCISES:
            each = words.texts(name, lang)
            table.add_row(f"[bold]{name}[/]", each["title"], each["lesson"])
        Console().print(table)


@exercise.command()
@click.argument("name", type=click.Choice(EXERCISES), metavar="NAME")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), required=False)
@_lang
def start(name: str, folder: Path | None, lang: str) -> None:
    """Write the program of exercise NAME into FOLDER (else into a new folder of that name).

    The task stands at its top. A program that is there already is kept.

    \b
    Examples:
      lastseat exercise start check_then_act
      lastseat exercise start two_locks_two_orders homework --lang zh
    """
    folder = folder or Path(name)
    path = folder / f"{name}.py"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(words.program(name, str(folder), lang))
    except FileExistsError:
        raise click.UsageError(f"{path} is there already. Nothing was written. Give another folder.") from None
    except OSError as error:
        raise click.UsageError(f"{path} cannot be written: {error.strerror or error}.") from None
    click.echo(words.shared(lang)["written"].format(path=path, folder=folder))


@exercise.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="The result as JSON on standard output.")
@click.option("--junit", type=WRITTEN_FILE, help="Write the result into this file, as JUnit's XML.")
@click.option(
    "--limit",
    "limit_s",
    type=click.FloatRange(1, 600),
    default=EXPLORE_S,
    show_default=True,
    help="For how many seconds orders are tried; more on a slow machine.",
)
@_lang
def check(folder: Path, as_json: bool, junit: Path | None, limit_s: float, lang: str) -> int:
    """Grade the program in FOLDER: try the orders of its actors' steps, for half a minute at most.

    Exits 0 if it passes and 1 if it does not: with the order that loses, in the program's own lines.

    \b
    Examples:
      lastseat exercise check check_then_act
      lastseat exercise check check_then_act --junit result.xml  for a classroom's autograder
      lastseat exercise check check_then_act --json --limit 60   on a slow machine
    """
    began = time.monotonic()
    graded = grade(folder, limit_s)
    if graded.finding and graded.finding.name == "check_failed":
        raise click.ClickException(words.sentence(graded, lang))
    if junit:
        junit.write_bytes(words.as_junit(graded, time.monotonic() - began, lang))
    click.echo(words.as_json(graded, lang) if as_json else words.as_text(graded, lang))
    return 1 if graded.finding else 0
