"""``report.html``: one page that opens offline, in light and dark, with every number as text beside the plots.

The page holds Plotly's JavaScript once; the plots are drawn from a JSON block in the page, so that what is plotted
can be read by programs too. Without JavaScript the static picture stands in their place.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec
from markupsafe import Markup

from loadtests.lab.experiment.runner import Result
from loadtests.lab.history.generator_load import bottleneck_message
from loadtests.lab.report.demo_picture import picture
from loadtests.lab.report.pages import template
from loadtests.lab.report.run_report import REPORT, draw_counterexamples
from loadtests.lab.report.tables import guard_and_think
from loadtests.lab.report.text import by_luck, found, heading, kept_word, sentence, summary
from loadtests.lab.servers.machine import Machine


def write_page(path: Path, results: list[Result], machine: Machine, *, when: str, command: str) -> None:
    """Write the report of some cells, grouped by worker model in the order given."""
    drawn = [_cell(result, results) for result in results]
    pairs = [
        {
            "worker": worker,
            "id": f"plot-{number}",
            "cells": [cell for cell in drawn if cell["worker"] == worker],
        }
        for number, worker in enumerate(dict.fromkeys(map(_worker, results)))
    ]
    page = template("demo.html").render(
        when=when,
        command=command,
        workload=results[0].experiment.workload,
        cells=drawn,
        matrix=_matrix(results),
        pairs=pairs,
        summary=summary(results),
        machine=machine,
        packages=", ".join(f"{name} {version}" for name, version in machine.packages.items()),
        picture=Markup(picture(results)),
        plots=_as_script(pairs),
        plotly=Markup((files("plotly") / "package_data" / "plotly.min.js").read_text(encoding="utf-8")),
    )
    path.write_text(page, encoding="utf-8")


def _worker(result: Result) -> str:
    return result.experiment.service.spelled


def _cell(result: Result, beside: list[Result]) -> dict[str, Any]:
    service, verdict, measures = result.experiment.service, result.verdict, result.measures
    return {
        "worker": service.spelled,
        "guard": service.guard,
        "heading": heading(result, beside),
        "column": guard_and_think(result),
        "safe": not result.rounds_wrong,
        "think_ms": service.think_ms,
        "rounds": result.rounds,
        "rounds_wrong": result.rounds_wrong,
        "capacity": result.capacity,
        "seats": result.experiment.workload.capacity,
        "acknowledged": verdict.acknowledged,
        "oversold": verdict.oversold,
        "lost": verdict.lost,
        "double_booked": verdict.double_booked,
        "verdict": verdict.verdict,
        "kept": kept_word(result),
        "by_luck": by_luck(result),
        "sold_per_s": measures.sold_per_s,
        "refused_per_s": measures.refused_per_s,
        "unavailable": measures.unavailable,
        "p50_ms": measures.p50_ms,
        "p99_ms": measures.p99_ms,
        "sentence": sentence(result),
        "found": found(verdict),
        "slow": bottleneck_message(result.conclusion.loads),
        "folder": f"cells/{result.folder.name}/" if result.folder.parent.name == "cells" else "",
        "drawings": draw_counterexamples(result.folder, verdict, name=f"proof-{result.folder.name}")[:1],
        "has_report": result.folder.parent.name == "cells" and (result.folder / REPORT).exists(),
        "has_server_log": (result.folder / "server.log").exists(),
        "courses": [{"seconds": course.seconds, "tickets": course.tickets} for course in measures.courses],
    }


def _matrix(results: list[Result]) -> list[str]:
    """The columns of the matrix, guard by think time; none where there is only off and on."""
    columns = list(dict.fromkeys(map(guard_and_think, results)))
    return columns if len(columns) > 2 else []


def _as_script(pairs: list[dict[str, Any]]) -> Markup:
    """JSON that may stand inside a script element: nothing in it can end the element."""
    kept = [
        {
            "id": pair["id"],
            "worker": pair["worker"],
            "cells": [
                {name: cell[name] for name in ("heading", "guard", "safe", "seats", "courses")}
                for cell in pair["cells"]
            ],
        }
        for pair in pairs
    ]
    return Markup(msgspec.json.encode(kept).decode().replace("<", "\\u003c"))
