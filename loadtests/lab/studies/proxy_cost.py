"""What the recording proxy adds: ``python -m loadtests.lab.studies.proxy_cost``.

Clients ask the ticket office of ``examples/`` what is left, in windows that alternate between the office itself and the
proxy in front of it, in one run. The ratio of each pair is of two windows side by side, so that a machine which becomes
slow makes both slow.
"""

from __future__ import annotations

import contextlib
import http.client
import statistics
import tempfile
import threading
import time
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.table import Table

from loadtests.lab.bench.paired import abba
from loadtests.lab.exit_status import run_command
from loadtests.lab.paths import EXAMPLES
from loadtests.lab.record.proxy import Proxy
from loadtests.lab.record.recording import OperationWriter
from loadtests.lab.target.adapter import TargetAdapter
from loadtests.lab.target.file import read_target
from loadtests.lab.target.server import RunningTarget


class AnswersInAWindow(msgspec.Struct):
    """One window: answers a second, and the median of how long one took."""

    answers_per_s: float
    median_ms: float


def measure(url: str, path: str, clients: int, seconds: float) -> AnswersInAWindow:
    """Clients that ask again as soon as they have an answer."""
    took: list[float] = []
    end = time.monotonic() + seconds

    def ask() -> None:
        with contextlib.closing(http.client.HTTPConnection(url.removeprefix("http://"), timeout=30)) as client:
            while (began := time.monotonic()) < end:
                client.request("GET", path)
                client.getresponse().read()
                took.append(time.monotonic() - began)

    threads = [threading.Thread(target=ask) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return AnswersInAWindow(round(len(took) / seconds, 1), round(1e3 * statistics.median(took), 3))


@click.command()
@click.option("--pairs", default=7, show_default=True, type=click.IntRange(1, 1000), help="Pairs of windows.")
@click.option("--seconds", default=2.0, show_default=True, type=click.FloatRange(0.05), help="How long a window lasts.")
@click.option("--clients", default=4, show_default=True, type=click.IntRange(1, 1000), help="Clients at once.")
@click.option("--json", "as_json", is_flag=True, help="JSON alone on standard output.")
def proxy_cost(pairs: int, seconds: float, clients: int, as_json: bool) -> None:
    """Measure what `lastseat record` adds to an answer, in pairs of windows."""
    target = read_target(EXAMPLES / "ticket_office.toml")
    path = target.read.path.replace("{event}", target.event) if target.read else "/"
    windows: dict[str, list[AnswersInAWindow]] = {"direct": [], "recorded": []}
    with tempfile.TemporaryDirectory() as name, RunningTarget(target, Path(name), target.capacity) as service:
        service.office.create_event(target.event, target.capacity)
        recording = OperationWriter(Path(name) / "history.jsonl", target, TargetAdapter(target))
        with contextlib.closing(recording), Proxy(service.url, ("127.0.0.1", 0), recording.add) as proxy:
            measure(proxy.url, path, clients, seconds)
            urls = {"recorded": proxy.url, "direct": service.url}
            for kind in (kind for order in abba(pairs, list(urls)) for kind in order):
                windows[kind].append(measure(urls[kind], path, clients, seconds))
    both = list(zip(windows["direct"], windows["recorded"], strict=True))
    added = sorted(after.median_ms - before.median_ms for before, after in both)
    ratios = sorted(after.answers_per_s / before.answers_per_s for before, after in both)
    if as_json:
        click.echo(msgspec.json.encode({"windows": windows, "added_ms": added, "ratios": ratios}))
        return
    table = Table("", "median", "least", "most", box=None)
    for what, values in (("added to an answer, ms", added), ("answers a second, recorded / direct", ratios)):
        table.add_row(what, *(f"{each:.3f}" for each in (statistics.median(values), values[0], values[-1])))
    Console(highlight=False).print(table)


if __name__ == "__main__":
    run_command(proxy_cost)
