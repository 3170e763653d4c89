"""A lock held over a slow payment, and the cure: ``python -m loadtests.lab.studies.held_payment``.

The same buyers pay with the same payments twice. *Inside*: the office waits for each payment while it holds the guard
around the whole request. The buyers come one after another, so no machine makes more than one sale in the time of a
payment. *After a hold*: the tickets are set aside, the buyer pays, and the sale is confirmed. The guard is held twice
for a moment, and payments overlap as buyers do.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import msgspec
import numpy as np
from rich.console import Console

from loadtests.lab.exit_status import run_command
from loadtests.lab.experiment.run_options import experiment_of
from loadtests.lab.history.arrays import one_of
from loadtests.lab.history.history import BUY, CONFIRM, HOLD, OK
from loadtests.lab.history.operations import Operations
from loadtests.lab.knob import Delay
from loadtests.lab.report import svg
from loadtests.lab.report.svg.chart import WIDTH, Frame, linear, outline, tick
from loadtests.lab.servers.machine import describe
from loadtests.lab.studies.held_sale import ENDLESS, held_sale
from service.catalogue import REFERENCE
from workers import WORKER_MODELS

_LEFT, _RIGHT, _TOP, _ROW_H, _BAR_H = 160.0, 940.0, 40.0, 44.0, 22.0


class Paid(msgspec.Struct):
    """The paid sales, and the time for which one of them held the guard."""

    sales: int
    sales_per_s: float
    guard_ms: float
    """The median of one sale: in one piece, or for the hold and the confirmation together."""

    @property
    def limit_per_s(self) -> float:
        """1 / hold: the largest rate of sales one after another."""
        return 1e3 / self.guard_ms if self.guard_ms else 0.0

    @property
    def words(self) -> str:
        return (
            f"{self.sales_per_s:,.1f} paid sales a second; each holds the guard for {self.guard_ms:,.1f} ms (median), "
            f"and 1 / hold is {self.limit_per_s:,.1f} a second, one after another"
        )


def paid(run: Operations) -> Paid:
    """The figures of one history. A sale is a purchase, or a confirmation, that was answered with an order."""
    done = (run.outcome == OK) & run.returned

    def held_ms(op: int) -> float:
        times = np.nan_to_num(run.hold_ms[done & (run.op == op)])
        return float(np.median(times)) if len(times) else 0.0

    returns = run.return_ns[done & one_of(run.op, BUY, CONFIRM)]
    spent_s = np.ptp(returns) / 1e9 if len(returns) else 0.0
    return Paid(
        sales=len(returns),
        sales_per_s=round((len(returns) - 1) / float(spent_s), 1) if spent_s else 0.0,
        guard_ms=round(held_ms(BUY) or held_ms(HOLD) + held_ms(CONFIRM), 3),
    )


def pay_plot(rows: Sequence[tuple[str, Paid]], payment: str, line_per_s: float) -> str:
    """A bar for each way to pay, and the limit for a guard that is held during the payment."""
    most = max([line_per_s, *(each.sales_per_s for _, each in rows)]) * 1.3 or 1.0
    at = Frame(most, linear(most), _LEFT, _RIGHT, _TOP, len(rows) * _ROW_H)
    body = [outline(at)]
    for per_s in at.steps(about=6):
        body += tick(at, per_s, f"{per_s:,.6g}")
    for number, (name, each) in enumerate(rows):
        y = _TOP + number * _ROW_H + (_ROW_H - _BAR_H) / 2
        body.append(svg.text(name, _LEFT - 10, y + _BAR_H * 0.7, "strong", "end"))
        body.append(svg.box(_LEFT, y, at.x(each.sales_per_s) - _LEFT, _BAR_H, "bar", 3))
        words, right = f"{each.sales_per_s:,.0f} paid sales a second", at.x(each.sales_per_s) + 8
        crosses = right - 8 < at.x(line_per_s) < right + svg.width_of(words)
        body.append(svg.text(words, at.x(line_per_s) + 8 if crosses else right, y + _BAR_H * 0.7))
    body.append(svg.line(at.x(line_per_s), _TOP - 8, at.x(line_per_s), at.bottom, "capacity"))
    body.append(svg.text(f"1 / hold: a guard held over {payment} ms", at.x(line_per_s) + 6, _TOP - 12, "soft"))
    title = "A payment inside the guard and outside it"
    about = "Paid sales a second: with the guard held over the payment, and with the tickets held instead."
    return svg.document(body, WIDTH, at.bottom + 34, title=title, about=about, name="pay")


@click.command()
@click.option("--worker", type=click.Choice(list(WORKER_MODELS)), default="gevent", show_default=True)
@click.option("--store", default=REFERENCE[0], show_default=True)
@click.option("--payment", type=Delay(), default="40-60", show_default=True, help="How long a payment takes, ms.")
@click.option("--buyers", type=click.IntRange(1), default=32, show_default=True)
@click.option("--seconds", type=click.FloatRange(1), default=10.0, show_default=True, help="How long each is measured.")
@click.option("--picture", "to", type=click.Path(dir_okay=False, path_type=Path), help="Write the plot there.")
@click.option("--json", "as_json", is_flag=True, help="JSON alone on standard output.")
def pay(
    *, worker: str, store: str, payment: str, buyers: int, seconds: float, to: Path | None, as_json: bool
) -> None:  # fmt: skip
    """Sales a second with the guard held during each payment, and with the tickets held instead.

    \b
    Examples:
      python -m loadtests.lab.studies.held_payment
      python -m loadtests.lab.studies.held_payment --payment 200 --buyers 100
    """
    low, _, high = payment.partition("-")
    line_per_s = 2e3 / (float(low) + float(high or low))
    rows: list[tuple[str, Paid]] = []
    for name, workload in (("inside the guard", "pay-inside"), ("after a hold", "pay-after-hold")):
        chosen: dict[str, Any] = {
            "workload": workload, "worker": worker, "store": store, "payment": payment, "buyers": buyers,
            "capacity": ENDLESS, "limit": seconds, "max_quantity": 1, "read_share": 0.0, "cancel_share": 0.0,
            "payment_refused": 0.0, "payment_lost": 0.0, "lock_timeout": 25.0,
        }  # fmt: skip
        experiment = experiment_of({}, chosen)
        with held_sale(experiment.service, experiment.workload) as (_, run):
            rows.append((name, paid(run)))
    if to is not None:
        to.write_text(pay_plot(rows, payment, line_per_s), encoding="utf-8")
    if as_json:
        summary = {
            "payment_ms": payment, "buyers": buyers, "line_per_s": round(line_per_s, 1),
            "rows": {name: msgspec.to_builtins(each) for name, each in rows},
            "machine": msgspec.to_builtins(describe(Path.cwd())),
        }  # fmt: skip
        click.echo(msgspec.json.encode(summary))
        return
    console = Console()
    for name, each in rows:
        console.print(f"{name}: {each.words}", highlight=False, soft_wrap=True)
    console.print(f"1 / payment: {line_per_s:,.1f} a second, which no guard held over it can pass", highlight=False)


if __name__ == "__main__":
    run_command(pay)
