"""Exit statuses, and outputs that cannot take every text or whose reader has left."""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import select
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

import click

from loadtests.lab import paths

EXIT_USAGE = 64
EXIT_LAB_FAILED = 70
EXIT_INTERRUPTED = 130
EXIT_NOBODY_READS = 141
"""The reader of a pipe has left, as ``head`` does; a shell says the same of a program that SIGPIPE ended."""

_ASCII = "plain-ascii"
_IN_PLAIN = {"→": "->", "·": "-", "–": "-", "×": "x", "…": "...", "µ": "u", "•": "*"}
"""What stands for a character that an output does not have; for any other a question mark. No quotes and backslashes:
what was JSON stays JSON."""


def run_command(command: click.Command) -> None:
    """Carry a command of the lab out, and end the process with its exit status.

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
    if isinstance(error, SystemExit):  # Rich ends the program then, with 1
        return isinstance(error.__context__, BrokenPipeError)
    polled = select.poll()
    for stream in _outputs():
        polled.register(stream.fileno(), 0)
    return isinstance(error, BrokenPipeError) and any(state & select.POLLERR for _, state in polled.poll(0))


def _let_go_of_outputs_that_fail() -> None:
    """What is left for an output that takes nothing more goes nowhere: at the exit Python would make a 120 of it."""
    for stream in _outputs():
        try:
            stream.flush()
        except OSError:
            with open(os.devnull, "wb") as nowhere:  # noqa: PTH123
                os.dup2(nowhere.fileno(), stream.fileno())
