"""The report of a demo, ``report.html``: one page that opens offline, with every number as text beside the plots.

The page contains Plotly's JavaScript once. The plots are drawn from a JSON block in the page, so that programs can
read the plotted data as well. Without JavaScript the page shows the static picture instead.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec
from markupsafe import Markup

from loadtests.lab.experiment.runner import Result
from loadtests.lab.history.generator_load import bottleneck_message
from loadtests.lab.report.demo_halls import demo_halls
from loadtests.lab.report.demo_picture import picture
from loadtests.lab.report.pages import template
from loadtests.lab.report.run_report import REPORT, draw_counterexamples
from loadtests.lab.report.tables import guard_and_think
from loadtests.lab.report.text import by_luck, found, heading, met_word, sentence, summary
from loadtests.lab.servers.machine import Machine


def write_page(path: Path, results: list[Result], machine: Machine, *, when: str, command: str) -> None:
    """Write the report of some cells, grouped by worker model in the order given."""
    cells = [_cell(result, results) for result in results]
    pairs = [
        {"worker": worker, "id": f"plot-{number}", "cells": [cell for cell in cells if cell["worker"] == worker]}
        for number, worker in enumerate(dict.fromkeys(cell["worker"] for cell in cells))
    ]
    page = template("demo.html").render(
        when=when,
        command=command,
        workload=results[0].experiment.workload,
        cells=cells,
        matrix=_matrix(results),
        pairs=pairs,
        summary=summary(results),
        opening=demo_halls(results),
        machine=machine,
        packages=", ".join(f"{name} {version}" for name, version in machine.packages.items()),
        picture=Markup(picture(results)),
        plots=_as_script(pairs),
        plotly=Markup((files("plotly") / "package_data" / "plotly.min.js").read_text(encoding="utf-8")),
    )
    path.write_text(page, encoding="utf-8")


def _cell(result: Result, beside: list[Result]) -> dict[str, Any]:
    folder = result.folder
    is_one_of_many = folder.parent.name == "cells"
    return {
        "result": result,
        "worker": result.experiment.service.spelled,
        "service": result.experiment.service,
        "verdict": result.verdict,
        "measures": result.measures,
        "heading": heading(result, beside),
        "column": guard_and_think(result),
        "safe": not result.rounds_wrong,
        "met": met_word(result),
        "by_luck": by_luck(result),
        "sentence": sentence(result),
        "found": found(result.verdict),
        "slow": bottleneck_message(result.conclusion.loads),
        "folder": f"cells/{folder.name}/" if is_one_of_many else "",
        "drawings": draw_counterexamples(folder, result.verdict, name=f"proof-{folder.name}")[:1],
        "has_report": is_one_of_many and (folder / REPORT).exists(),
        "has_server_log": (folder / "server.log").exists(),
    }


def _matrix(results: list[Result]) -> list[str]:
    """The columns of the matrix, guards and think times; none if there are only lock off and lock on."""
    columns = list(dict.fromkeys(map(guard_and_think, results)))
    return columns if len(columns) > 2 else []


def _as_script(pairs: list[dict[str, Any]]) -> Markup:
    """The plots as JSON for a script element; ``<`` is escaped, so that no content can end the element."""
    plots = [{**pair, "cells": [_course(cell) for cell in pair["cells"]]} for pair in pairs]
    return Markup(msgspec.json.encode(plots).decode().replace("<", "\\u003c"))


def _course(cell: dict[str, Any]) -> dict[str, Any]:
    result: Result = cell["result"]
    return {
        "heading": cell["heading"],
        "guard": result.experiment.service.guard,
        "safe": cell["safe"],
        "seats": result.experiment.workload.capacity,
        "courses": [{"seconds": course.seconds, "tickets": course.tickets} for course in result.measures.courses],
    }
