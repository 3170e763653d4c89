"""``lastseat serve``: the ticket office under gunicorn, by worker model.

It becomes gunicorn: what runs is the same as ``gunicorn service:app`` with the options and settings that are printed
first, so that one can go on without this command.
"""

from __future__ import annotations

import os
import shlex
import socket
import sys

import click

from service.catalogue import STORES
from workers import GUNICORN_CONF, WORKER_MODELS


@click.command(epilog="Examples: `lastseat serve`, `lastseat serve --worker gevent --guard none --think 5`.")
@click.option(
    "--worker", type=click.Choice(list(WORKER_MODELS)), default="sync", show_default=True, help="Worker model."
)
@click.option("--processes", type=click.IntRange(1, 1000), help="Worker processes.  [default: the worker model's]")
@click.option("--threads", type=click.IntRange(1, 1000), help="Threads of a process, gthread only.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 for all.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(1, 65535))
@click.option("--store", help="json, journal, sqlite, memory, or a URL.  [default: $LASTSEAT_STORE or json]")
@click.option("--guard", help="The guard at start: a name, on or off.  [default: $LASTSEAT_GUARD or on]")
@click.option("--think", help="Milliseconds between reading and writing: 20 or 10-50.  [default: 0]")
@click.option("--shop", is_flag=True, help="For real sales: no lab event at start, and a page for buyers alone.")
@click.option("--data", type=click.Path(file_okay=False), help="Data directory.  [default: $LASTSEAT_DATA or ./data]")
def serve(
    *,
    worker: str,
    processes: int | None,
    threads: int | None,
    host: str,
    port: int,
    store: str | None,
    guard: str | None,
    think: str | None,
    shop: bool,
    data: str | None,
) -> None:
    """The ticket office under gunicorn.

    Prints the command that it becomes. Ctrl-C ends it at once; SIGTERM answers the requests under way first.
    """
    if threads is not None and worker != "gthread":
        raise click.UsageError(f"--threads is for gthread; a {worker} worker has no threads to count.")
    chosen = {
        "LASTSEAT_STORE": store,
        "LASTSEAT_GUARD": guard,
        "LASTSEAT_THINK_MS": think,
        "LASTSEAT_EVENT": "" if shop else None,
        "LASTSEAT_PAGE": "shop" if shop else None,
        "LASTSEAT_DATA": data,
    }
    settings = {name: value for name, value in chosen.items() if value is not None}
    refuse_taken_port(host, port)
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    options = ["--config", GUNICORN_CONF, "--bind", address]
    options += WORKER_MODELS[worker].arguments(processes=processes, threads=threads)
    shown = [*(f"{name}={shlex.quote(value)}" for name, value in settings.items()), "gunicorn", shlex.join(options)]
    click.echo(" ".join([*shown, "service:app"]), err=True)
    if said := about_store(store or os.environ.get("LASTSEAT_STORE") or "json"):
        click.echo(said, err=True)
    os.environ.update(settings)
    os.execv(sys.executable, [sys.executable, "-m", "gunicorn", *options, "service:app"])


def about_store(asked: str) -> str:
    """Which store an office uses, and when another one is better; empty for one that does not exist. Of an address only
    its scheme is told: a password may be in it."""
    scheme = asked.partition(":")[0]
    for name, traits in STORES.items():
        if name == asked or scheme in traits.schemes:
            return f"The store is {name}. {traits.advice}"
    return ""


def refuse_taken_port(host: str, port: int) -> None:
    """Say at once what gunicorn would say after five tries: somebody listens there. Nothing was started."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise click.ClickException(
                f"{host}:{port} cannot be used: {error.strerror}. Nothing was started. "
                f"Another office may run there already. Name another port with --port."
            ) from None
