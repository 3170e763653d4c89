"""The command ``lastseat``: a group of verbs, each loaded only when it is used.

A verb is one line in ``VERBS``: its name, the import string of a Click command, and the line that ``--help``
shows. Loading lazily keeps ``lastseat --help`` instant, and keeps one verb's imports (locust patches the
standard library with gevent as soon as it is imported) out of every other.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

import click

from loadtests.lab.exit_status import (
    EXIT_INTERRUPTED,
    EXIT_LAB_FAILED,
    EXIT_USAGE,
    ended_by,
    outputs,
    say_what_is_kept,
    write_what_fits,
)

# name: (import string of the Click command, the line that --help shows)
VERBS: dict[str, tuple[str, str]] = {
    "demo": ("loadtests.lab.commands.demo:demo", "The proof: guard off and on, under each worker class."),
    "run": (
        "loadtests.lab.commands.run:run",
        "One experiment, of this office or any other service, judged and reported.",
    ),
    "serve": ("workers.serve:serve", "The ticket office under gunicorn, by worker model."),
    "lock": ("loadtests.lab.commands.lock:lock", "Switch the guard of a running office on or off."),
    "explore": ("loadtests.lab.commands.explore:explore", "Every order in which two purchases can interleave."),
    "compare": (
        "loadtests.lab.commands.compare:compare",
        "The matrix: guards × stores × worker models × processes × delays, right or wrong beside fast.",
    ),
    "bench": (
        "loadtests.lab.commands.bench:bench",
        "Sold tickets a second against the ceilings and the peers, in pairs.",
    ),
    "lesson": ("workers.lessons.command:lesson", "The lessons: what is said about concurrency, measured."),
    "journal": ("service.commands.journal:journal", "Verify, show and repair the journals of the store `journal`."),
    "store": ("service.commands.store:store", "Set up PostgreSQL, Valkey or Redis for the office."),
    "check": ("loadtests.lab.commands.check:check", "Judge a recorded history again."),
    "where": ("loadtests.lab.commands.where:where", "Where the locust files and the examples are."),
}


class LazyGroup(click.Group):
    """A Click group whose commands are import strings until somebody asks for one."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        module_name, _, attribute = VERBS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module_name), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in VERBS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="lastseat", message="lastseat %(version)s")
def lastseat() -> None:
    """Sells the last seat once, and shows what happens to those who don't.

    \b
    Examples:
      lastseat demo                     the proof, with a report
      lastseat serve --worker gevent    the office on http://127.0.0.1:8000
      lastseat lock off                 take the lock away while it runs
    """


def main(command: click.Command = lastseat) -> None:
    """Entry point of ``lastseat`` and of every ``python -m loadtests.lab.…``: ends the process with the exit status.

    Verbs give their own status. 64 is wrong usage, 130 an interrupt, 141 a reader that has left, and 70 everything
    that nobody foresaw: 0, 1 and 2 are verdicts, and no fault of the lab may look like one.
    """
    write_what_fits()
    try:
        status = _status_of(command)
        for stream in outputs():
            stream.flush()
    except (Exception, SystemExit) as error:
        status = ended_by(error)
    sys.exit(status)


def _status_of(command: click.Command) -> int:
    """Carry a command out, without Click's own end: that makes a 1 of a closed pipe, and 1 is *invalid*."""
    if "_LASTSEAT_COMPLETE" in os.environ:  # a shell asks for completions
        command.main()
    try:
        with command.make_context(Path(sys.argv[0]).name, sys.argv[1:]) as context:
            done = command.invoke(context)
        return done if isinstance(done, int) else 0
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except click.UsageError as error:
        error.show()
        return EXIT_USAGE
    except click.ClickException as error:
        error.show()
        say_what_is_kept()
        return EXIT_LAB_FAILED
    except (click.Abort, KeyboardInterrupt):
        click.echo("\ninterrupted; everything that was started has been stopped", err=True)
        return EXIT_INTERRUPTED
