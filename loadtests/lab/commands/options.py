"""Options that several verbs have. Settings of an experiment have their names, ranges and help from its one table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from loadtests.lab.experiment.knobs import BY_NAME, KNOBS

Command = TypeVar("Command", bound=Callable[..., Any])


def setting(
    name: str, says: str = "", *, default: Any = None, kind: click.ParamType[Any] | None = None, note: str = ""
) -> Callable[[Command], Command]:
    """An option for a setting, as the table has it but for what is given here.

    ``note`` stands behind the help, for a default that depends on others.
    """
    knob = BY_NAME[name]
    return click.option(
        knob.option,
        name,
        type=kind or knob.kind,
        default=default,
        show_default=default is not None,
        help=(says or knob.says) + (f"  [default: {note}]" if note else ""),
    )


def only(
    name: str, variable: str, says: str, *, kind: click.ParamType[Any] | None = None, note: str = ""
) -> Callable[[Command], Command]:
    """An option that may be given several times, and restricts a setting to the values given."""
    knob = BY_NAME[name]
    says = f"Only {says}; repeatable." + (f"  [default: {note}]" if note else "")
    return click.option(knob.option, variable, multiple=True, type=kind or knob.kind, help=says)


def all_settings(command: Command) -> Command:
    """An option for each setting, in the order of the table."""
    for knob in reversed(KNOBS):
        of_files = f"{', '.join(knob.only)}: " if knob.only else ""
        note = "" if knob.default is None else str(knob.default)
        command = setting(knob.name, of_files + knob.says, note=note)(command)
    return command


def results(says: str = "Where results go.") -> Callable[[Command], Command]:
    return click.option("--results", default="results", show_default=True, type=click.Path(file_okay=False), help=says)


def write(says: str) -> Callable[[Command], Command]:
    """A Markdown page in which a section is replaced."""
    page = click.Path(path_type=Path, dir_okay=False, exists=True, writable=True)
    return click.option("--write", "page", type=page, help=says)


as_json = click.option(
    "--json", "as_json", is_flag=True, help="JSON alone on standard output; progress on standard error."
)
