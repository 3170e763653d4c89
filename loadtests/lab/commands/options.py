"""Options that several verbs have. Settings of an experiment have their names, ranges and help from its one table."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

import click

from loadtests.lab.commands.places import Written
from loadtests.lab.durations import duration_ns
from loadtests.lab.experiment.knobs import BY_NAME, KNOBS
from loadtests.lab.experiment.run_options import SettingsError, experiment_of, read_settings
from loadtests.lab.experiment.runner import Experiment
from loadtests.lab.target.file import TargetError, read_target
from loadtests.lab.target.server import NotThisMachine, refuse_other_machines
from loadtests.lab.target.tables import Target

Command = TypeVar("Command", bound=Callable[..., Any])
Value = TypeVar("Value")


class Parsed(click.ParamType[Value], Generic[Value]):
    """The type of an option whose text a function reads; its ``ValueError`` says what is allowed."""

    def __init__(self, name: str, read: Callable[[str], Value]) -> None:
        self.name = name
        self._read = read

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Value:
        try:
            return self._read(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


DURATION = Parsed("duration", duration_ns)
"""Nanoseconds, from a text like ``1ms``, ``30s`` or ``2m``."""


def read_budget(text: str) -> float:
    """The seconds of a time like ``90s``, ``10m`` or ``2h``; ``none`` is without end. Raises ``ValueError``."""
    if text == "none":
        return math.inf
    with contextlib.suppress(ValueError):
        if seconds := duration_ns(text) / 1e9:
            return seconds
    raise ValueError(f"{text!r} is no time like 90s, 10m or 2h; `none` is without end.")


def option(
    name: str, kind: click.ParamType[Any], says: str, default: Any = None, *, note: str = "", **more: Any
) -> Callable[[Command], Command]:
    """An option that shows its default. Its variable's name may stand behind its own: ``--write page``.

    ``note`` stands in the default's place where that depends on other options.
    """
    says += f"  [default: {note}]" if note else ""
    return click.option(*name.split(), type=kind, default=default, show_default=default is not None, help=says, **more)


def together(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Several options as one decorator; ``--help`` shows them in this order."""

    def decorate(command: Command) -> Command:
        for each in reversed(options):
            command = each(command)
        return command

    return decorate


def typed() -> dict[str, str]:
    """The options of the running command that the user typed: of each variable the option, as ``--buyers``."""
    context = click.get_current_context()
    return {
        name: parameter.opts[0]
        for parameter in context.command.params
        if (name := parameter.name) and context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
    }


def setting(
    name: str, says: str = "", *, default: Any = None, kind: click.ParamType[Any] | None = None, note: str = ""
) -> Callable[[Command], Command]:
    """An option for a setting, as the table has it but for what is given here."""
    knob = BY_NAME[name]
    return option(f"{knob.option} {name}", kind or knob.kind, says or knob.says, default, note=note)


def only(
    name: str, variable: str, says: str, *, kind: click.ParamType[Any] | None = None, note: str = ""
) -> Callable[[Command], Command]:
    """An option that may be given several times, and restricts a setting to the values given."""
    knob = BY_NAME[name]
    return option(f"{knob.option} {variable}", kind or knob.kind, f"Only {says}; repeatable.", note=note, multiple=True)


def all_settings(*, without: Collection[str] = ()) -> Callable[[Command], Command]:
    """An option for each setting, in the order of the table, but for those that a verb decides itself."""

    def decorate(command: Command) -> Command:
        for knob in reversed(KNOBS):
            of_files = f"{', '.join(knob.only)}: " if knob.only else ""
            note = "" if knob.default is None else str(knob.default)
            if knob.name not in without:
                command = setting(knob.name, of_files + knob.says, note=note)(command)
        return command

    return decorate


def experiment_asked_for(file: Path | None, settings: Mapping[str, Any], *, is_own_host: bool) -> Experiment:
    """The experiment that a file and the options over it ask for. Raises ``UsageError``, also for another machine."""
    try:
        given = {name: value for name, value in settings.items() if value is not None}
        experiment = experiment_of(read_settings(file) if file else {}, given)
    except SettingsError as error:
        raise click.UsageError(str(error)) from error
    if experiment.target is not None and not is_own_host:
        refuse_host(experiment.target.url)
    return experiment


def target_asked_for(file: Path, *, is_own_host: bool) -> Target:
    """The target that a file describes. Raises ``UsageError``, also for another machine."""
    try:
        target = read_target(file)
    except TargetError as error:
        raise click.UsageError(str(error)) from error
    if not is_own_host:
        refuse_host(target.url)
    return target


def refuse_host(url: str) -> None:
    """Raise ``UsageError`` for another machine; without an address the service is started on this one."""
    try:
        if url:
            refuse_other_machines(url)
    except NotThisMachine as error:
        raise click.UsageError(str(error)) from error


def results(says: str = "Where results go.") -> Callable[[Command], Command]:
    return option("--results", Written(file_okay=False), says, "results")


def write(says: str) -> Callable[[Command], Command]:
    """A Markdown page in which a section is replaced."""
    page = click.Path(path_type=Path, dir_okay=False, exists=True, writable=True)
    return option("--write page", page, says)


def budget(says: str) -> Callable[[Command], Command]:
    """The time within which a measurement ends."""
    return option("--budget", Parsed("time", read_budget), says, "10m")


fresh = click.option("--fresh", is_flag=True, help="Begin a new results folder.")

as_json = click.option(
    "--json", "as_json", is_flag=True, help="JSON alone on standard output; progress on standard error."
)
