"""``lastseat record``: a proxy that makes a history of whatever passes through it, and the verdict at its end."""

from __future__ import annotations

import contextlib
import threading
import time
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Console

from loadtests.lab.checks.verdict import EXIT_STATUS
from loadtests.lab.commands import options
from loadtests.lab.commands.check import show
from loadtests.lab.commands.output import say, say_report, say_warnings
from loadtests.lab.commands.places import READ_FILE
from loadtests.lab.experiment.result import Conclusion, conclude, fetch_audit, fetch_orders
from loadtests.lab.history.shards import HISTORY
from loadtests.lab.paths import as_text, new_results_folder, write_json
from loadtests.lab.protocol.admin_api import OfficeError
from loadtests.lab.record.proxy import Proxy
from loadtests.lab.record.recording import OperationWriter, lines_of
from loadtests.lab.report.run_report import REPORT, write_run_report
from loadtests.lab.servers.machine import describe
from loadtests.lab.servers.office import NotReady
from loadtests.lab.servers.process import sigterm_as_interrupt, undisturbed
from loadtests.lab.target.adapter import RunValues, TargetAdapter
from loadtests.lab.target.server import RunningTarget
from loadtests.lab.untrusted import printable

_SHOWN = 8
_LAST_ANSWERS_S = 10.0
_EVERY_S = 0.5


@click.command()
@options.option(
    "--target path",
    READ_FILE,
    "What the requests mean: docs/judge-your-own.md. With [start], the service is started.",
    required=True,
)
@click.option("--listen", default="127.0.0.1:9000", show_default=True, metavar="HOST:PORT", help="Where the proxy is.")
@click.option("--capacity", type=click.IntRange(min=1), help="Tickets there are.  [default: the target file's]")
@click.option(
    "--for", "for_ns", type=options.DURATION, metavar="DURATION", help="End after so long, like 90s, instead of Ctrl-C."
)
@click.option("--i-own-this-host", is_flag=True, help="The service is not on this machine; it is yours.")
@options.results()
@options.as_json
def record(
    *, path: Path, listen: str, capacity: int | None, for_ns: int | None, i_own_this_host: bool, results: str,
    as_json: bool,
) -> int:  # fmt: skip
    """Record what passes through a proxy, from any load tool or browser, and judge it.

    Let your load tool, a browser or another service ask the proxy instead of the service. It forwards everything and
    changes nothing; what the target file describes becomes a history. Ctrl-C ends it: open requests are answered, the
    audit is fetched where the file has one, and the verdict is drawn. Headers, cookies and bodies are not kept. A
    purchase is one request here; where it has no {quantity}, it is of one ticket. The event is the file's `event`.

    Exit status: 0 valid (no violation was found), 1 invalid, 2 unknown, 64 wrong usage, 70 the lab itself failed.

    \b
    Examples:
      lastseat record --target shop.toml                         then: k6 run -e URL=http://127.0.0.1:9000 sale.js
      lastseat record --target shop.toml --for 90s --json > verdict.json
      lastseat check results/record/latest                       judge it again
    """
    target, address = options.target_asked_for(path, is_own_host=i_own_this_host), _address(listen)
    if len(target.buy.steps) > 1:
        raise click.UsageError(
            f"{path}: a purchase of several requests can be run, and not be recorded. Describe its last request, the "
            "payment, as [buy], without [[buy.then]] and [buy.poll]; then `remaining` in [read] has to be what is left "
            "of what was paid for."
        )
    screen = Console(stderr=True, highlight=False)
    folder = new_results_folder(results, "record")
    tickets = capacity or target.capacity
    facts = {
        "experiment": "record",
        "workload": {"capacity": tickets},
        "machine": msgspec.to_builtins(describe(folder)),
    }
    write_json(folder / "experiment.json", facts)
    try:
        with RunningTarget(target, folder, tickets, is_own_host=i_own_this_host) as service:
            office = service.office
            if target.start is not None:
                office.create_event(target.event, tickets)
            adapter = TargetAdapter(target, RunValues(values=office.values, capacity=tickets))
            recording = OperationWriter(folder / HISTORY, target, adapter)
            was = "was started and set up" if target.start else "is taken as it is"
            about = f"The service {was}; the event is {target.event!r}."
            incomplete = _record(recording, Proxy(service.url, address, recording.add), for_ns, screen, about)
            with undisturbed():
                reasons = (
                    fetch_audit(folder, office, target.event, alone=True),
                    fetch_orders(folder, office, target.event),
                )
    except (NotReady, OfficeError) as error:
        raise click.ClickException(f"the service cannot be recorded: {error}") from None
    except OSError as error:
        raise click.ClickException(f"the proxy cannot listen on {listen}: {error.strerror or error}") from None
    with undisturbed():
        conclusion = conclude(folder, [], incomplete, [why for why in reasons if why])
        conclusion.remarks += recording.notes
        conclusion.save()
        write_run_report(folder)
    if as_json:
        click.echo(msgspec.json.encode(_as_json(conclusion, recording)))
    else:
        _say(conclusion, recording)
    return EXIT_STATUS[conclusion.verdict.verdict]


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65_535:
        raise click.UsageError(f"--listen is {text!r}; it must be like 127.0.0.1:9000.")
    return host.strip("[]") or "127.0.0.1", int(port)


def _record(recording: OperationWriter, proxy: Proxy, for_ns: int | None, screen: Console, about: str) -> list[str]:
    """Record until Ctrl-C, SIGTERM or the end of the time; returns what is missing in the history, in words."""
    with contextlib.closing(recording), proxy:
        what = f"{proxy.url} forwards to {proxy.to}; Ctrl-C ends it and gives the verdict. {about}"
        say(screen, what)
        with contextlib.suppress(KeyboardInterrupt), sigterm_as_interrupt():
            _wait(recording, for_ns, screen)
        with undisturbed():
            left = proxy.wait_for_answers(_LAST_ANSWERS_S)
    incomplete = []
    if proxy.failed:
        incomplete.append(f"{len(proxy.failed):,} exchanges could not be recorded, the first of them {proxy.failed[0]}")
    if left:
        incomplete.append(f"{left:,} requests were still without an answer {_LAST_ANSWERS_S:g} s after the end")
    return incomplete


def _wait(recording: OperationWriter, for_ns: int | None, screen: Console) -> None:
    end = None if for_ns is None else time.monotonic() + for_ns / 1e9
    over = threading.Event()
    with screen.status("waiting for the first request") as status:
        while end is None or time.monotonic() < end:
            over.wait(_EVERY_S if end is None else min(_EVERY_S, max(0.0, end - time.monotonic())))
            others = sum(recording.not_understood.values())
            status.update(f"{recording.operations:,} operations recorded, {others:,} other requests forwarded")


def _say(conclusion: Conclusion, recording: OperationWriter) -> None:
    out = Console(highlight=False)
    show(conclusion.verdict, out)
    for line in lines_of(recording):
        say(out, f"- {line}")
    for request, count in recording.not_understood.most_common(_SHOWN):
        say(out, printable(f"- forwarded, and not described in the target file: {count:,} × {request}"))
    say_warnings(out, conclusion.notes)
    out.print()
    say_report(out, conclusion.folder / REPORT)


def _as_json(conclusion: Conclusion, recording: OperationWriter) -> dict[str, Any]:
    verdict: dict[str, Any] = msgspec.to_builtins(conclusion.verdict)
    return verdict | {
        "notes": conclusion.notes,
        "recorded": {f"{op} {outcome}": count for (op, outcome), count in sorted(recording.answers.items())},
        "not_described": dict(recording.not_understood),
        "folder": as_text(conclusion.folder),
        "report": as_text(conclusion.folder / REPORT),
    }
