"""Every setting of an experiment: its name, range, default, help, and the workloads that have it.

Those of the office are fields of ``Service``, those of the buyers are fields of ``Workload``, each a line. ``KNOBS`` is
the source of the options of ``lastseat run`` and its TOML file, the options of the locust files and the form of
locust's page, the command line with which a round starts locust, and the record in ``experiment.json``. Locust knows
none of the office's settings, and shows no field in its form for a setting with a list of choices.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import click
import msgspec

from loadtests.lab.durations import duration_ns
from loadtests.lab.experiment.halls import HallName
from loadtests.lab.faults.schedule import read_injections, read_moment
from loadtests.lab.knob import Delay, Knob, Real, Text, knobs_of
from loadtests.lab.paths import LOCUSTFILES
from loadtests.lab.servers.office import Service

SERVICE, WORKLOAD, FAULT, TARGET = "service", "workload", "fault", "target"
BUY, RUSH, MIXED, PAY, SEATS = "buy", "rush", "mixed", "pay", "seats"


@dataclass(frozen=True)
class WorkloadKind:
    """A workload's locust file, and what it needs."""

    locust_file: str
    opens: bool = False
    """Whether its event opens its doors after the load has started."""
    carts: bool = False
    """Whether it buys in two events at once, too."""
    holds: bool = False
    """Whether it needs a service that can set tickets aside."""
    hall: bool = False
    """Whether its event has a hall, whose seats are sold."""
    think: str = ""
    """The office's delay between reading and writing, ms, where nothing else is asked for."""
    pays_inside: bool = False
    """Whether the service itself pays, under its guard."""

    @property
    def pays(self) -> bool:
        """Whether every sale is paid for."""
        return self.pays_inside or self.locust_file == PAY

    @property
    def path(self) -> Path:
        return LOCUSTFILES / f"{self.locust_file}.py"


WORKLOADS: dict[str, WorkloadKind] = {
    "buy": WorkloadKind(BUY),
    "rush": WorkloadKind(RUSH, opens=True),
    "mixed": WorkloadKind(MIXED, carts=True, holds=True),
    "seats": WorkloadKind(SEATS, holds=True, hall=True, think="2"),
    "pay-inside": WorkloadKind(BUY, pays_inside=True),
    "pay-after-hold": WorkloadKind(PAY, holds=True),
}


def stages_of(text: str) -> list[tuple[int, float]]:
    """The stages of a text like ``10:30s,50:1m``: how many buyers, and for how many seconds. Raises ValueError."""
    stages = []
    for each in text.split(",") if text else []:
        users, _, lasts = each.strip().partition(":")
        try:
            stage = int(users), duration_ns(lasts) / 1e9
        except ValueError:
            stage = 0, 0.0
        if stage[0] < 1 or not 1 <= stage[1] <= 86_400:
            raise ValueError(f"{each!r} is no stage like 10:30s or 50:1m: buyers, and for how long, at least 1s.")
        stages.append(stage)
    return stages


_WHOLE: tuple[tuple[type, ...], str] = (int,), "a whole number"
IN_TOML: dict[type, tuple[tuple[type, ...], str]] = {
    click.IntRange: _WHOLE,
    type(click.INT): _WHOLE,
    Real: ((int, float), "a number"),
    Delay: ((int, float, str), "a text in quotes"),
    type(click.BOOL): ((bool,), "true or false"),
}
"""The types of a setting's value in a TOML file: Python's, and in words."""


def _knob(
    kind: click.ParamType[Any], says: str, *only: str, name: str = "", by_hand: Any = None, of_locust: bool = True
) -> Knob:
    """A setting of the buyers."""
    return Knob(kind, says, name, only=only, by_hand=by_hand, of_locust=of_locust)


TASTES = ("front", "spread", "together")
_Whole, _Choice = click.IntRange, click.Choice
_STAGES = Text("stages", stages_of)
_SHARE, _ARRIVALS, _HOLDING = Real(0, 1), _Choice(["poisson", "uniform"]), (MIXED, PAY, SEATS)


class Workload(msgspec.Struct, frozen=True, kw_only=True):
    """What the buyers do in every round."""

    kind: Annotated[str, _knob(_Choice(WORKLOADS), "What the buyers do.", name="workload", of_locust=False)] = "buy"
    capacity: Annotated[int, _knob(_Whole(1, 10_000_000), "Tickets of a round.", by_hand=100)] = 200
    rounds: Annotated[int, _knob(_Whole(1, 1000), "Sales, one after another.", of_locust=False)] = 1
    buyers: Annotated[int, _knob(_Whole(1, 100_000), "Buyers at the same time.", of_locust=False)] = 32
    stages: Annotated[str, _knob(_STAGES, "Buyers over time, 10:30s,50:1m; instead of buyers and limit.")] = ""
    max_quantity: Annotated[int, _knob(_Whole(1, 1_000_000), "A purchase asks for 1 to this many.")] = 4
    read_share: Annotated[float, _knob(_SHARE, "How often a buyer reads what remains before buying.")] = 0.2
    cancel_share: Annotated[float, _knob(_SHARE, "How often an order is given back.")] = 0.05
    patience: Annotated[int, _knob(_Whole(1, 1000), "A buyer leaves after this many sold-outs in a row.")] = 3
    retries: Annotated[int, _knob(_Whole(0, 100), "How often to ask again, same key, while it is unknown.")] = 1
    time_outs: Annotated[float, _knob(_SHARE, "How often a buyer hangs up and asks again, same key.")] = 0.0
    opens_in_s: Annotated[float, _knob(Real(0, 3600), "Seconds until the doors open.", RUSH)] = 3.0
    too_early: Annotated[float, _knob(_SHARE, "How many try the doors before they open.", RUSH)] = 0.2
    hold_share: Annotated[float, _knob(_SHARE, "How often tickets are held and paid for.", MIXED, SEATS)] = 0.5
    cart_share: Annotated[float, _knob(_SHARE, "How often a cart over two events is filled.", MIXED)] = 0.1
    taste: Annotated[str, _knob(_Choice(TASTES), "Which they want: the best, any, or side by side.", SEATS)] = "front"
    hall: Annotated[str, _knob(HallName(), "The hall: a name in examples/halls, or a file.", SEATS)] = "studio"
    hold_s: Annotated[float, _knob(Real(0.001, 3600), "How long a hold lasts, s.", *_HOLDING)] = 2.0
    payment: Annotated[str, _knob(Delay(), "How long a payment takes, ms: 20 or 10-50.", *_HOLDING)] = "20-60"
    payment_refused: Annotated[float, _knob(_SHARE, "How many payments are refused.", *_HOLDING)] = 0.05
    payment_lost: Annotated[float, _knob(_SHARE, "How many payments are not answered.", *_HOLDING)] = 0.02
    rate: Annotated[float, _knob(Real(0, 100_000), "Open loop: arrivals a second; 0: buyers who wait.")] = 0.0
    arrivals: Annotated[str, _knob(_ARRIVALS, "Open loop: a Poisson process or equal gaps.")] = "poisson"
    most_in_flight: Annotated[int, _knob(_Whole(1, 10_000), "Open loop: beyond this number arrivals wait in line.")] = (
        500
    )
    limit_s: Annotated[float, _knob(Real(0.5, 86_400), "A round is ended after this time, s.", of_locust=False)] = 60.0
    seed: Annotated[int, _knob(click.INT, "Decides what each buyer wishes for, and when arrivals come.")] = 1


_FAULTS, _MOMENT = Text("faults", read_injections), Text("moment", read_moment)
_PAUSE = Text("duration", duration_ns)

KNOBS: tuple[Knob, ...] = (
    *knobs_of(SERVICE, Service),
    *knobs_of(WORKLOAD, Workload),
    Knob(_FAULTS, "What is made to go wrong: pause or starve@30%,kill-worker@2s.", "fault", None, part=FAULT),
    Knob(_MOMENT, "When: 30% of the sale, or 2s after its first ticket.", "fault_at", None, part=FAULT),
    Knob(_PAUSE, "Again and again, so long after each was healed: 2s.", "fault_every", None, part=FAULT),
    Knob(
        _Whole(1, 100),
        "Instead: so many faults at random, decided by the seed. Left out are those under which the sale is known "
        "to lose: lying-disk, failover, with the guard lease pause and clock-jump, and with holds those of the clock.",
        "faults",
        None,
        part=FAULT,
    ),
    Knob(click.Path(path_type=Path), "Another service instead of the office: its file.", "target", None, part=TARGET),
)

BY_NAME = {knob.name: knob for knob in KNOBS}


def of_locust_files(names: Iterable[str]) -> dict[str, Knob]:
    """The settings for which some locust files have options, by name: each once, in the order of the table."""
    files = set(names)
    return {knob.name: knob for knob in KNOBS if knob.of_locust and (not knob.only or files.intersection(knob.only))}


def locust_options(workload: Workload) -> list[str]:
    """The command-line options of a workload's locust file."""
    knobs = of_locust_files([WORKLOADS[workload.kind].locust_file]).values()
    return [word for knob in knobs for word in (knob.option, str(getattr(workload, knob.field)))]
