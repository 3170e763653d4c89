"""The command ``lastseat``: a group of verbs, each loaded only when it is used.

A verb is one line in ``VERBS``: its name, the import string of a Click command, and the line that ``--help``
shows. Loading lazily keeps ``lastseat --help`` instant, and keeps one verb's imports (locust patches the
standard library with gevent as soon as it is imported) out of every other.
"""

from __future__ import annotations

import codecs
import contextlib
import importlib
import io
import os
import select
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

import click

from loadtests.lab import paths

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

EXIT_USAGE = 64
EXIT_LAB_FAILED = 70
EXIT_INTERRUPTED = 130
EXIT_NOBODY_READS = 141
"""The reader of a pipe has left, as ``head`` does; a shell says the same of a program that SIGPIPE ended."""

_ASCII = "plain-ascii"
_IN_PLAIN = {"→": "->", "·": "-", "–": "-", "×": "x", "…": "...", "µ": "u", "•": "*"}
"""What stands for a character that an output does not have; for any other a question mark. No quotes and backslashes:
what was JSON stays JSON."""


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
        for stream in _outputs():
            stream.flush()
    except (Exception, SystemExit) as error:
        status = ended_by(error)
    sys.exit(status)


def ended_by(error: BaseException) -> int:
    """The exit status of a process that ends by an error which nobody foresaw; what is to be said of it is said."""
    if _is_of_an_output(error):
        return nobody_reads()
    status = lab_failed(error)
    _let_go_of_outputs_that_fail()
    return status


def nobody_reads() -> int:
    """The exit status where the reader of an output has left; what is still to be written goes nowhere."""
    _let_go_of_outputs_that_fail()
    return EXIT_NOBODY_READS


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
        _say_what_is_kept()
        return EXIT_LAB_FAILED
    except (click.Abort, KeyboardInterrupt):
        click.echo("\ninterrupted; everything that was started has been stopped", err=True)
        return EXIT_INTERRUPTED


def lab_failed(error: BaseException) -> int:
    """Say of a fault that nobody foresaw where it was and what is kept; returns 70."""
    with contextlib.suppress(OSError):  # nobody may be there to read it
        traceback.print_exception(error)
        click.echo(
            f"\nThe lab itself failed, which says nothing about the service: {type(error).__name__}: {error}\n"
            "The lines above say where.",
            err=True,
        )
        _say_what_is_kept()
    return EXIT_LAB_FAILED


def _say_what_is_kept() -> None:
    for folder in paths.made:
        click.echo(f"What was recorded until then is kept in {paths.shown(folder)}", err=True)


def write_what_fits() -> None:
    """Let standard output and error take every text: what their charset does not have is replaced.

    Click writes UTF-8 into an output that says it is ASCII; so ASCII has another name here.
    """
    codecs.register_error("lastseat", _replaced)
    codecs.register(_plain_ascii)
    for stream in _outputs():
        if isinstance(stream, io.TextIOWrapper):
            is_ascii = codecs.lookup(stream.encoding).name == "ascii"
            stream.reconfigure(encoding=_ASCII if is_ascii else stream.encoding, errors="lastseat")


def _replaced(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(_IN_PLAIN.get(each, "?") for each in error.object[error.start : error.end]), error.end


def _plain_ascii(name: str) -> codecs.CodecInfo | None:
    """The codec for ASCII under our name. Codecs are asked for with underscores."""
    if name != _ASCII.replace("-", "_"):
        return None
    ascii_ = codecs.lookup("ascii")
    return codecs.CodecInfo(
        ascii_.encode, ascii_.decode, incrementalencoder=ascii_.incrementalencoder,
        incrementaldecoder=ascii_.incrementaldecoder, name=_ASCII,
    )  # fmt: skip


def _outputs() -> Iterator[io.TextIOBase]:
    """Standard output and error, where there are such."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOBase):
            yield stream


def _is_of_an_output(error: BaseException) -> bool:
    """Whether this is because the reader of an output has left, and not because some other connection broke."""
    if isinstance(error, SystemExit):  # Rich ends the program by itself then, with 1
        return isinstance(error.__context__, BrokenPipeError)
    outputs = select.poll()
    for stream in _outputs():
        outputs.register(stream.fileno(), 0)
    return isinstance(error, BrokenPipeError) and any(state & select.POLLERR for _, state in outputs.poll(0))


def _let_go_of_outputs_that_fail() -> None:
    """What is left for an output that takes nothing more goes nowhere: at the exit Python would make a 120 of it."""
    for stream in _outputs():
        try:
            stream.flush()
        except OSError:
            with open(os.devnull, "wb") as nowhere:  # noqa: PTH123
                os.dup2(nowhere.fileno(), stream.fileno())
