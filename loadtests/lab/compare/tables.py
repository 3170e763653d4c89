"""The matrix as a table, for the terminal, the report and Markdown alike."""

from __future__ import annotations

from loadtests.lab.compare.findings import rate_of
from loadtests.lab.compare.results import Found, Results
from loadtests.lab.experiment.expectation import Met
from loadtests.lab.report.tables import Grid

_COLUMNS = ["worker", "store", "guard", "think", "verdict", "wrong", "oversold", "lost", "sold/s", "refused/s", "503s",
            "p50 ms", "p99 ms", "wait p50", "wait p99", "CPU ms", "engine's", "overtaken"]  # fmt: skip
_WORDS = frozenset({"worker", "store", "guard", "think", "verdict"})
MEANING = (
    "One ticket a purchase. Sums over a cell's sales, medians of their rates and times; 95 % bootstrap intervals. "
    "Wait: for the guard, by the service's account. CPU ms: of all the office's processes for an acknowledged "
    "purchase, with the reads and refusals of the same sale; engine's: of the database. Overtaken: the most that were "
    "sent later and decided earlier than one purchase. ≥: the load generator was the bottleneck."
)


def cells_grid(results: Results) -> Grid:
    """A row for each cell that was measured, those of one delay and worker model together."""
    found = results.by_think
    rows = [_row(each) for each in found]
    ends = {n for n in range(len(found) - 1) if found[n].shape != found[n + 1].shape}
    return Grid("Every cell", list(_COLUMNS), rows, ends, _WORDS)


def _row(each: Found) -> list[str]:
    verdict = each.verdict + ("" if each.kept == Met.YES.value else ", not as promised")
    return [
        each.shape,
        each.cell.store,
        each.cell.guard,
        {"none": "–"}.get(each.cell.think, each.cell.think),
        "! " + verdict if each.verdict == "invalid" else verdict + (", by luck" if each.by_luck else ""),
        f"{each.wrong} of {each.sales}",
        f"{each.oversold:,}",
        "–" if each.lost is None else f"{each.lost:,}",
        rate_of(each).replace("/s", ""),
        _number(each.refused_per_s),
        f"{each.unavailable:,}",
        _number(each.p50_ms),
        _number(each.p99_ms),
        _number(each.wait_p50_ms),
        _number(each.wait_p99_ms),
        _number(each.cpu_ms),
        _number(each.engine_cpu_ms),
        _number(each.overtaken_max),
    ]


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.2f}"
