"""``lastseat target``: a file for another service, begun (``new``) and tried without load (``try``)."""

from __future__ import annotations

import re
import shlex
import sys
import tempfile
import urllib.parse
from pathlib import Path
from typing import Any

import click
import msgspec

from loadtests.lab.commands import options
from loadtests.lab.commands.places import READ_FILE
from loadtests.lab.protocol.admin_api import OfficeError
from loadtests.lab.protocol.http_calls import NoAnswer, ask
from loadtests.lab.servers.office import NotReady
from loadtests.lab.servers.process import sigterm_as_interrupt
from loadtests.lab.target.first_file import DOCUMENTS, first_file
from loadtests.lab.target.server import RunningTarget
from loadtests.lab.target.tables import Target
from loadtests.lab.target.trial import Trial, commands_of
from loadtests.lab.untrusted import NOT_JSON, read_file

_TIMEOUT_S = 10.0
_HOST_AND_PORT = re.compile(r"(\[[0-9a-fA-F:.]+\]|[\w.-]+):[0-9]+(/|$)")
"""An address without a scheme. A document of such a name is read all the same."""
_HAS_TO_CHANGE = 2
_OWN_HOST = click.option("--i-own-this-host", is_flag=True, help="It is not on this machine, and it is yours.")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def target() -> None:
    """A target file says how to buy at a service that is not ours: begin one, and try it.

    \b
    Examples:
      lastseat target new http://127.0.0.1:8080 > shop.toml
      lastseat target new openapi.json -o shop.toml
      lastseat target try shop.toml
      lastseat run --target shop.toml
    """


@target.command("new")
@click.argument("source", metavar="URL|OPENAPI")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="The file; never over another.")
@_OWN_HOST
def new(*, source: str, output: Path | None, i_own_this_host: bool) -> int:
    """Write a first file for the service at URL, or for that of an OpenAPI document (JSON, a file or an address).

    What can be guessed is guessed; lines with a ? are questions. A service is asked for its OpenAPI document, no more.
    """
    url, document = _look(source, is_own_host=i_own_this_host)
    text = first_file(url, document)
    if output is None:
        click.echo(text, nl=False)
        return 0
    try:
        with output.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise click.UsageError(f"{output} was not written: {error.strerror or error}") from None
    found = "out of its OpenAPI document" if document else "without an OpenAPI document, so with the usual places"
    click.echo(f"{output} is written, {found}. Answer its questions, then: lastseat target try {output}", err=True)
    return 0


def _look(source: str, *, is_own_host: bool) -> tuple[str, dict[str, Any] | None]:
    """The address of the service, and its OpenAPI document where it has one."""
    if _HOST_AND_PORT.match(source) and not Path(source).exists():
        source = f"http://{source}"
    if not source.startswith(("http://", "https://")):
        document = _document(_read(Path(source)))
        if document is None:
            raise click.UsageError(
                f"{source} is no OpenAPI document in JSON, with `paths`, nor an address with http://."
            )
        return _server_of(document), document
    if not is_own_host:
        options.refuse_host(source)
    base = source.rstrip("/")
    for address in [source, *(f"{base}/{each}" for each in DOCUMENTS)]:
        try:
            answer = ask("GET", address, timeout_s=_TIMEOUT_S)
        except NoAnswer as error:
            raise click.UsageError(f"nobody answers at {address} ({error}). Does the service run there?") from None
        document = _document(answer.body) if answer.is_fine else None
        if document is not None:
            parts = urllib.parse.urlsplit(source)
            return (f"{parts.scheme}://{parts.netloc}" if address == source else base), document
    return base, None


def _read(path: Path) -> bytes:
    try:
        return read_file(path)
    except OSError as error:
        raise click.UsageError(f"{path} cannot be read: {error.strerror or error}") from None


def _document(content: bytes) -> dict[str, Any] | None:
    try:
        found = msgspec.json.decode(content)
    except NOT_JSON:
        return None
    return found if isinstance(found, dict) and isinstance(found.get("paths"), dict) else None


def _server_of(document: dict[str, Any]) -> str:
    servers = document.get("servers")
    first = servers[0].get("url") if isinstance(servers, list) and servers and isinstance(servers[0], dict) else None
    is_whole = isinstance(first, str) and first.startswith(("http://", "https://")) and "{" not in first
    return str(first).rstrip("/") if is_whole else "http://127.0.0.1:8080"


@target.command("try")
@click.argument("file", type=READ_FILE)
@click.option("--yes", is_flag=True, help="Run the file's commands without asking.")
@_OWN_HOST
def try_(*, file: Path, yes: bool, i_own_this_host: bool) -> int:
    """Send each request of a target file once, and show what was asked, answered and understood.

    One ticket is bought, and given back where the file says how. Commands of the file are shown before they are run.

    Exit status: 0 the purchase was understood, 2 something has to be looked at, 64 wrong usage, 70 it did not start.
    """
    described = options.target_asked_for(file, is_own_host=i_own_this_host)
    _show_commands(described, yes=yes)
    with tempfile.TemporaryDirectory(prefix="lastseat-try-") as folder, sigterm_as_interrupt():
        try:
            with RunningTarget(described, Path(folder), described.capacity, is_own_host=i_own_this_host) as running:
                trial = Trial(
                    described, running.url, click.echo, is_own_host=i_own_this_host, data=Path(folder) / "data"
                )
                trial.run()
        except (NotReady, OfficeError) as error:
            raise click.ClickException(f"the service could not be tried: {error}") from error
    click.echo()
    for each in trial.trouble:
        click.echo(f"! {each}")
    if trial.trouble:
        click.echo("Change the file, or the service, and try again.")
        return _HAS_TO_CHANGE
    click.echo("Everything was understood. What it answers when all is sold was not tried; a run will show it:")
    click.echo(f"  lastseat run --target {shlex.quote(str(file))}")
    return 0


def _show_commands(described: Target, *, yes: bool) -> None:
    commands = commands_of(described)
    if not commands:
        return
    click.echo("The file has commands that are run now:")
    for command in commands:
        click.echo(f"  {shlex.join(command)}")
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError("Nothing was run. Where nobody can be asked, say --yes.")
    click.confirm("Run them?", abort=True)
