"""The speed of the checker: ``python -m loadtests.lab.studies.checker_speed``.

Histories of growing size are judged from their files, each in a process of its own, which reports its peak memory.
For comparison the study measures ``json.loads`` on the history's lines (and not on the audit's, which the checker
reads, too), and a general search on prefixes of histories without holds and keys that are sent again. The times of the
checker and of ``json.loads`` are those of the processor, so that other work on the machine counts as little as it can.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from loadtests.lab.exit_status import run_command
from loadtests.lab.history.history import read_history
from loadtests.lab.history.synthetic import draw, write
from loadtests.lab.report.tables import plain_table
from loadtests.lab.studies.general_search import search
from loadtests.lab.studies.seated import seated

CLIENTS = 50
SEARCHED_CLIENTS = (4, 10, 50)
SEARCHED_SIZES = (30, 100, 300, 1_000, 3_000, 10_000, 30_000, 100_000)

_JUDGE = """
import json, resource, sys, time
from pathlib import Path
from loadtests.lab.checks.files import judge_folder
began = time.process_time()
verdict = judge_folder(Path(sys.argv[1]))
seconds = time.process_time() - began
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps([verdict.verdict, seconds, peak * (1 if sys.platform == "darwin" else 1024)]))
"""


@dataclass(frozen=True)
class CheckerFigures:
    """The figures of one size: medians of the repeated runs, the largest peak of memory, and the ratio of each run.

    A ratio is the time to a verdict as a multiple of the time of json.loads alone.
    """

    operations: int
    file_bytes: int
    seconds: float
    peak_bytes: int
    json_seconds: float
    ratios: list[float]


@dataclass(frozen=True)
class SearchFigures:
    """The result of one general search of the first operations of a history."""

    clients: int
    operations: int
    answer: str
    seconds: float


@click.command()
@click.option(
    "--max",
    "largest",
    type=click.IntRange(min=100),
    default=10**6,
    show_default=True,
    help="Operations of the largest history; the smaller powers of ten from 10,000 on are measured before it.",
)
@click.option(
    "--holds",
    type=click.FloatRange(0, 0.3),
    default=0.1,
    show_default=True,
    help="Share of the operations that hold tickets. Of five such holds three are confirmed, one is released, and the "
    "others expire.",
)
@click.option(
    "--retries",
    type=click.FloatRange(0, 0.1),
    default=0.03,
    show_default=True,
    help="Share of the operations that send the key of an earlier purchase or hold again, where there is one.",
)
@click.option(
    "--seats",
    is_flag=True,
    help="Of an event with a hall: half of the purchases name their seats, the others get the best. A hall has at most "
    "100,000 seats, so that histories have at most 100,000 operations.",
)
@click.option(
    "--unknown",
    type=click.FloatRange(0, 0.1),
    default=0.02,
    show_default=True,
    help="Share of the operations whose answer is lost; the audit has half of them.",
)
@click.option("--repeat", type=click.IntRange(min=1), default=3, show_default=True, help="Runs to take the median of.")
@click.option(
    "--limit-s", type=float, default=10.0, show_default=True, help="Time limit of each general search, in seconds."
)
@click.option("--seed", type=int, default=1, show_default=True, help="Of the random numbers that make the histories.")
@click.option("--json", "as_json", is_flag=True, help="The figures as JSON on standard output, and nothing else.")
def bench_check(
    *,
    largest: int,
    holds: float,
    retries: float,
    seats: bool,
    unknown: float,
    repeat: int,
    limit_s: float,
    seed: int,
    as_json: bool,
) -> None:
    """Measure the checker on synthetic histories of ten thousand operations and more, each with its audit.

    The ratio is the processor's time from the files to the verdict, divided by that of json.loads over the lines of the
    history alone: the median of the runs, and the least and the greatest.

    \b
    Examples:
      python -m loadtests.lab.studies.checker_speed
      python -m loadtests.lab.studies.checker_speed --max 10000000 --repeat 1
    """
    console = Console(stderr=as_json)
    if seats:
        largest = min(largest, 10**5)
    sizes = [size for size in (10**4, 10**5, 10**6, 10**7) if size <= largest] or [largest]
    with tempfile.TemporaryDirectory() as name:
        measured = []
        for size in sizes:
            run = draw(size, CLIENTS, seed, holds=holds, retries=retries, unknown=unknown)
            files = write(Path(name), run, seated(run)) if seats else write(Path(name), run)
            measured.append(_measure(files, repeat))
        console.print("From the files to the verdict, and json.loads over the history:", _figures(measured))
        searched = _search_prefixes(Path(name), seed, limit_s)
        console.print(f"A general search (Wing and Gong) of the first operations, at most {limit_s:g} s each:")
        console.print(_searches(searched))
    if as_json:
        figures = {"checker": [asdict(one) for one in measured], "search": [asdict(one) for one in searched]}
        click.echo(json.dumps(figures))


def _measure(files: list[Path], repeat: int) -> CheckerFigures:
    with files[0].open("rb") as lines:
        size = sum(1 for _ in lines)
    seconds, parsing, peaks = [], [], []
    for _ in range(repeat):
        command = [sys.executable, "-c", _JUDGE, str(files[0].parent)]
        verdict, elapsed, peak = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
        if verdict != "valid":
            raise click.ClickException(f"a valid history of {size} operations was judged {verdict}")
        seconds.append(elapsed)
        peaks.append(peak)
        parsing.append(_seconds_of_json(files[0]))
    return CheckerFigures(
        operations=size,
        file_bytes=sum(file.stat().st_size for file in files),
        seconds=statistics.median(seconds),
        peak_bytes=max(peaks),
        json_seconds=statistics.median(parsing),
        ratios=[judged / parsed for judged, parsed in zip(seconds, parsing, strict=True)],
    )


def _seconds_of_json(path: Path) -> float:
    began = time.process_time()
    with path.open("rb") as lines:
        for line in lines:
            json.loads(line)
    return time.process_time() - began


def _search_prefixes(folder: Path, seed: int, limit_s: float) -> list[SearchFigures]:
    """Search growing prefixes for each number of clients, until a search gives up."""
    searched = []
    for clients in SEARCHED_CLIENTS:
        run = draw(SEARCHED_SIZES[-1], clients, seed)
        history = read_history(write(folder, run)[0])
        for size in SEARCHED_SIZES:
            began = time.perf_counter()
            answer = search(history.take(np.arange(size)), run.capacity, limit_s)
            searched.append(SearchFigures(clients, size, answer, time.perf_counter() - began))
            if answer == "gave up":
                break
    return searched


def _figures(measured: list[CheckerFigures]) -> Table:
    columns = ("operations", "MB", "seconds", "operations/s", "peak MiB", "json.loads, s", "ratio", "min", "max")
    rows = (
        (
            f"{one.operations:,}", f"{one.file_bytes / 1e6:.0f}", f"{one.seconds:.2f}",
            f"{one.operations / one.seconds:,.0f}", f"{one.peak_bytes / 2**20:.0f}", f"{one.json_seconds:.2f}",
            f"{statistics.median(one.ratios):.2f}", f"{min(one.ratios):.2f}", f"{max(one.ratios):.2f}",
        )
        for one in measured
    )  # fmt: skip
    return plain_table(columns, rows)


def _searches(searched: list[SearchFigures]) -> Table:
    rows = ((f"{one.clients}", f"{one.operations:,}", one.answer, f"{one.seconds:.2f}") for one in searched)
    return plain_table(("clients", "operations", "answer", "seconds"), rows)


if __name__ == "__main__":
    run_command(bench_check)
