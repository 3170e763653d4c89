"""The real office under gunicorn: which worker class sells faster, when a purchase waits, and when it computes."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workers import WORKER_MODELS
from workers.lessons.form import Findings, Lesson, Parameter, Plot, Progress, Table
from workers.lessons.worker_classes_office import Office, Sale, office, sell

THINKING = {"io": "waiting", "cpu": "computing"}
CROWDS = ("own events", "one event")
_LONGEST_S = 100.0
# What a purchase costs beside thinking, generously.
_BESIDE_S = 0.01
_MOST_TRIES, _ENOUGH_S = 3, 0.4

Cell = tuple[str, str, str]
"""Workers, thinking, crowd."""


def run(settings: Mapping[str, Any], progress: Progress) -> Findings:
    buyers, purchases, think_ms = settings["buyers"], settings["purchases"], settings["think_ms"]
    workers = {
        "sync × 1": WORKER_MODELS["sync"].arguments(processes=1),
        "sync × 2": WORKER_MODELS["sync"].arguments(processes=2),
        f"gthread 1 × {settings['threads']}": WORKER_MODELS["gthread"].arguments(
            processes=1, threads=settings["threads"]
        ),
        "gevent × 1": WORKER_MODELS["gevent"].arguments(processes=1),
    }
    in_a_row_s = buyers * purchases * (think_ms / 1e3 + _BESIDE_S)
    if in_a_row_s * len(workers) * len(THINKING) * len(CROWDS) > _LONGEST_S:
        raise ValueError(
            f"{buyers} buyers × {purchases} purchases × {think_ms:g} ms take {in_a_row_s:.0f} s where one waits for "
            f"the other, 16 times: more than the {_LONGEST_S:g} s it may last. Take fewer or shorter ones."
        )
    cells: dict[Cell, Sale] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, arguments in workers.items():
            for think, kind in THINKING.items():
                progress(f"gunicorn {name}, thinking is {kind}")
                place = Path(folder) / f"office-{len(cells)}"
                with office(arguments, think, think_ms, place) as running:
                    sell(running, [f"warm-up-{number}" for number in range(buyers)], 1)
                    for crowd in CROWDS:
                        cells[name, kind, crowd] = _best(running, crowd, buyers, purchases)
    threads = next(name for name in workers if name.startswith("gthread"))
    return Findings(
        holds=_holds(cells, threads, buyers * purchases),
        measured=_measured(cells, buyers * purchases),
        tables=[_table(cells, list(workers), kind) for kind in THINKING.values()],
        figures=[_own_events(cells, list(workers)), _one_event(cells, list(workers))],
        see=_see(cells, threads),
    )


def _best(running: Office, crowd: str, buyers: int, purchases: int) -> Sale:
    """The fastest of some sales, more of them where they are short; but one that went wrong, if any did."""
    sales: list[Sale] = []
    while not sales or (len(sales) < _MOST_TRIES and sum(sale.seconds for sale in sales) < _ENOUGH_S):
        own = crowd == "own events"
        events = [f"{crowd[:3]}-{len(sales)}-{number if own else 0}" for number in range(buyers)]
        sales.append(sell(running, events, purchases))
    return next((sale for sale in sales if not sale.right), max(sales, key=lambda sale: sale.rate))


def _gain(cells: Mapping[Cell, Sale], name: str, kind: str) -> float:
    """How many times as fast as a single sync worker, where each buyer has an event of his own."""
    return cells[name, kind, "own events"].rate / cells["sync × 1", kind, "own events"].rate


def _holds(cells: Mapping[Cell, Sale], threads: str, purchases: int) -> bool:
    sold_right = all(sale.right and len(sale.tickets) == purchases for sale in cells.values())
    # Holders exclude each other, so their times cannot add up to more than the whole; the clock is read a bit outside.
    line_kept = all(sale.at_once <= 1.01 for (_, _, crowd), sale in cells.items() if crowd == "one event")
    one_by_one = all(cells["sync × 1", kind, "own events"].at_once <= 1.01 for kind in THINKING.values())
    waits_overlap = all(cells[name, "waiting", "own events"].at_once > 1.2 for name in (threads, "gevent × 1"))
    # However many threads or greenlets compute in one process, they share one interpreter, and so one core.
    one_core = all(cells[name, "computing", "own events"].cores < 1.3 for name in (threads, "gevent × 1"))
    waiting_gains_more = all(
        _gain(cells, name, "waiting") > _gain(cells, name, "computing") for name in (threads, "gevent × 1")
    )
    return sold_right and line_kept and one_by_one and waits_overlap and one_core and waiting_gains_more


def _measured(cells: Mapping[Cell, Sale], purchases: int) -> dict[str, Any]:
    measured: dict[str, Any] = {"purchases": purchases}
    for (name, kind, crowd), sale in cells.items():
        workers = name.partition(" ")[0] + ("_2" if name == "sync × 2" else "")
        key = f"{workers}_{kind}_{crowd.replace(' ', '_')}"
        measured |= {
            f"{key}_sold": len(sale.tickets),
            f"{key}_right": sale.right,
            f"{key}_sold_s": sale.rate,
            f"{key}_hold_ms": sale.hold_s * 1e3,
            f"{key}_at_once": sale.at_once,
            f"{key}_cores": sale.cores,
        }
    return measured


def _table(cells: Mapping[Cell, Sale], workers: list[str], kind: str) -> Table:
    rows: list[list[int | float | str | None]] = []
    for name in workers:
        own, one = (cells[name, kind, crowd] for crowd in CROWDS)
        rows.append(
            [
                name,
                round(own.rate),
                round(own.at_once, 1),
                round(own.cores, 2),
                round(own.cpu_s / len(own.holds_s) * 1e3, 1) if own.holds_s else None,
                round(one.rate),
                round(1 / one.hold_s) if one.hold_s else None,
            ]
        )
    return Table(
        f"Sold a second, thinking is {kind}",
        [
            "workers",
            "own events: sold/s",
            "at once",
            "cores busy",
            "CPU ms a sale",
            "one event: sold/s",
            "1 / hold time",
        ],
        rows,
    )


def _own_events(cells: Mapping[Cell, Sale], workers: list[str]) -> Plot:
    series: dict[str, list[tuple[float | str, float]]] = {
        kind: [(name, round(cells[name, kind, "own events"].rate, 1)) for name in workers] for kind in THINKING.values()
    }
    return Plot("Each buyer has an event of his own", "workers", "tickets sold a second", series)


def _one_event(cells: Mapping[Cell, Sale], workers: list[str]) -> Plot:
    series: dict[str, list[tuple[float | str, float]]] = {}
    for kind in THINKING.values():
        sales = {name: cells[name, kind, "one event"] for name in workers}
        series[kind] = [(name, round(sale.rate, 1)) for name, sale in sales.items()]
        series[f"1 / hold time, {kind}"] = [(name, round(1 / (sale.hold_s or 1), 1)) for name, sale in sales.items()]
    return Plot("All buy from one event, behind one lock", "workers", "tickets sold a second", series)


def _see(cells: Mapping[Cell, Sale], threads: str) -> list[str]:
    one_event = [sale.rate for (_, _, crowd), sale in cells.items() if crowd == "one event"]
    line = [1 / sale.hold_s for (_, _, crowd), sale in cells.items() if crowd == "one event" and sale.hold_s]
    computing, alone = cells[threads, "computing", "own events"], cells["sync × 1", "computing", "own events"]
    problems = [problem for sale in cells.values() for problem in sale.problems]
    return [
        f"Waiting, own events: {threads} sold {_gain(cells, threads, 'waiting'):.1f} times as fast as one sync worker, "
        f"gevent {_gain(cells, 'gevent × 1', 'waiting'):.1f} times: while one purchase waits, others go on.",
        f"Computing, own events: {computing.at_once:.1f} purchases were on their way at once in {threads}, and all of "
        f"them together kept {computing.cores:.2f} cores busy; one purchase lasted {computing.hold_s * 1e3:.0f} ms "
        f"instead of {alone.hold_s * 1e3:.0f} ms. Two processes kept "
        f"{cells['sync × 2', 'computing', 'own events'].cores:.2f} cores busy.",
        f"One event: all classes sold {min(one_event):.0f} to {max(one_event):.0f} a second, under the line of 1 / "
        f"hold time at {min(line):.0f} to {max(line):.0f}. Whoever waits for the same lock, waits in any class.",
        f"{sum(len(sale.tickets) for sale in cells.values()):,} purchases were answered with a ticket"
        + (f"; {len(problems)} were not: {problems[0]}." if problems else ", no ticket went to two, none is missing."),
    ]


LESSON = Lesson(
    name="worker-classes",
    title="Are threads of use? The office under gunicorn's worker classes",
    claim="Threads and greenlets sell faster where a purchase waits, not where it computes; and behind one lock no "
    "worker class sells more than 1 / hold time a second.",
    wrong="More threads for a purchase that computes, or for buyers who all wait for the same lock: nothing is gained.",
    right="Threads or greenlets for waiting, processes for computing; and a short critical section, for its length is "
    "the limit of one event.",
    service="This is the service: LASTSEAT_WORKER_MODEL chooses the class (WORKER_MODELS in workers/__init__.py), "
    "LASTSEAT_THINK_MS and LASTSEAT_THINK put the thinking between reading and writing (think in "
    "service/box_office.py), guard file locks one event (service/guards/file.py), and every answer's Server-Timing "
    "says how long it was held.",
    parameters=(
        Parameter("buyers", 8, "buyers, all at once", 2, 32),
        Parameter("purchases", 3, "purchases of each, one after the other", 1, 50),
        Parameter("threads", 8, "threads of gthread's one process", 2, 32),
        Parameter("think_ms", 20.0, "thinking between reading and writing, in milliseconds", 5, 200),
    ),
    run=run,
    limit_s=150,
    chinese={
        "Sold a second, thinking is waiting": "每秒卖出（思考 = 等待）",
        "Sold a second, thinking is computing": "每秒卖出（思考 = 计算）",
        "workers": "工作进程",
        "own events: sold/s": "各买各的演出：每秒卖出",
        "at once": "同时在办",
        "cores busy": "占用核数",
        "CPU ms a sale": "每单 CPU 毫秒",
        "one event: sold/s": "同一场演出：每秒卖出",
        "1 / hold time": "1 / 持锁时间",
        "Each buyer has an event of his own": "各买各的演出",
        "All buy from one event, behind one lock": "大家买同一场演出，排在同一把锁后面",
        "tickets sold a second": "每秒卖出的票数",
        "waiting": "等待",
        "computing": "计算",
        "1 / hold time, waiting": "1 / 持锁时间（等待）",
        "1 / hold time, computing": "1 / 持锁时间（计算）",
    },
)
