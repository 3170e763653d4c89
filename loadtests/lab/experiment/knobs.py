"""Every setting of an experiment, each a line: its name, range, default, help, and the workloads that have it.

This table is the source of the options of ``lastseat run`` and its TOML file, the options of the locust files and the
form of locust's page, the command line with which a round starts locust, and the record in ``experiment.json``.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import click
import msgspec

from loadtests.lab.durations import duration_ns
from loadtests.lab.faults import FAULTS
from loadtests.lab.paths import LOCUSTFILES
from service.catalogue import GUARDS, STORES
from workers import WORKER_MODELS

SERVICE, WORKLOAD, FAULT, TARGET = "service", "workload", "fault", "target"
BUY, RUSH, MIXED, PAY = "buy", "rush", "mixed", "pay"


@dataclass(frozen=True)
class WorkloadKind:
    """A workload's locust file, and what it needs."""

    locust_file: str
    holds: bool = False
    """Whether it needs a service that can set tickets aside."""
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
    "rush": WorkloadKind(RUSH),
    "mixed": WorkloadKind(MIXED, holds=True),
    "pay-inside": WorkloadKind(BUY, pays_inside=True),
    "pay-after-hold": WorkloadKind(PAY, holds=True),
}


class Real(click.FloatRange):
    """A number in a range. NaN is in no range, but Click would accept it."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number: float = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value!r} is not a number.", param, ctx)
        return number


class OneOf(click.ParamType[str]):
    name = "name"

    def __init__(self, names: Callable[[], list[str]], or_like: Callable[[str], bool] = lambda _: False) -> None:
        self._names = names
        self._or_like = or_like

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value not in self._names() and not self._or_like(str(value)):
            self.fail(f"{value!r} is not one of {', '.join(self._names())}.", param, ctx)
        return str(value)


class Delay(click.ParamType[str]):
    """Milliseconds: ``20``, or a range like ``10-50``."""

    name = "ms"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        low, dash, high = str(value).partition("-")
        try:
            fits = 0 <= float(low) <= float(high if dash else low) <= 60_000
        except ValueError:
            fits = False
        if not fits:
            self.fail(f"{value!r} is not milliseconds like 20 or 10-50, from 0 to 60000.", param, ctx)
        return str(value)


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


class _Stages(click.ParamType[str]):
    """Stages of load: ``10:30s,50:1m``."""

    name = "stages"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            stages_of(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)
        return str(value)


_WHOLE: tuple[tuple[type, ...], str] = (int,), "a whole number"
IN_TOML: dict[type, tuple[tuple[type, ...], str]] = {
    click.IntRange: _WHOLE,
    type(click.INT): _WHOLE,
    Real: ((int, float), "a number"),
    Delay: ((int, float, str), "a text in quotes"),
    type(click.BOOL): ((bool,), "true or false"),
}
"""The types of a setting's value in a TOML file: Python's, and in words."""


@dataclass(frozen=True)
class Knob:
    """One setting of an experiment: the part that has it, the values, the default, and the help."""

    name: str
    part: str
    kind: click.ParamType[Any]
    default: Any
    says: str
    field: str = ""
    """Its name in the record, where that is another."""
    only: tuple[str, ...] = ()
    """The locust files that have it; empty: all."""
    by_hand: Any = None
    """The default of the locust files, where that is another."""
    of_locust: bool = False
    """Whether the locust files have an option for it. Some are options of locust itself."""

    @property
    def option(self) -> str:
        return "--" + self.name.replace("_", "-")

    def read(self, text: Any) -> Any:
        """The value that a text stands for. Raises ``ValueError``; its message says what is allowed."""
        try:
            return self.kind.convert(text, None, None)
        except click.BadParameter as error:
            raise ValueError(error.message) from None


def _knob(
    kind: click.ParamType[Any], says: str, *only: str, name: str = "", by_hand: Any = None, of_locust: bool = True
) -> Knob:
    """A setting of the buyers. Its default is the field's, and so is its name, without the unit."""
    return Knob(name, WORKLOAD, kind, None, says, "", only, by_hand, of_locust)


_Whole, _Choice = click.IntRange, click.Choice
_SHARE, _ARRIVALS, _HOLDING = Real(0, 1), _Choice(["poisson", "uniform"]), (MIXED, PAY)


class Workload(msgspec.Struct, frozen=True, kw_only=True):
    """What the buyers do in every round."""

    kind: Annotated[str, _knob(_Choice(WORKLOADS), "What the buyers do.", name="workload", of_locust=False)] = "buy"
    capacity: Annotated[int, _knob(_Whole(1, 10_000_000), "Tickets of a round.", by_hand=100)] = 200
    rounds: Annotated[int, _knob(_Whole(1, 1000), "Sales, one after another.", of_locust=False)] = 1
    buyers: Annotated[int, _knob(_Whole(1, 100_000), "Buyers at the same time.", of_locust=False)] = 32
    stages: Annotated[str, _knob(_Stages(), "Buyers over time, 10:30s,50:1m; instead of buyers and limit.")] = ""
    max_quantity: Annotated[int, _knob(_Whole(1, 1_000_000), "A purchase asks for 1 to this many.")] = 4
    read_share: Annotated[float, _knob(_SHARE, "How often a buyer reads what remains before buying.")] = 0.2
    cancel_share: Annotated[float, _knob(_SHARE, "How often an order is given back.")] = 0.05
    patience: Annotated[int, _knob(_Whole(1, 1000), "A buyer leaves after this many sold-outs in a row.")] = 3
    retries: Annotated[int, _knob(_Whole(0, 100), "How often to ask again, same key, while it is unknown.")] = 1
    time_outs: Annotated[float, _knob(_SHARE, "How often a buyer hangs up and asks again, same key.")] = 0.0
    opens_in_s: Annotated[float, _knob(Real(0, 3600), "Seconds until the doors open.", RUSH)] = 3.0
    too_early: Annotated[float, _knob(_SHARE, "How many try the doors before they open.", RUSH)] = 0.2
    hold_share: Annotated[float, _knob(_SHARE, "How often tickets are held and paid for.", MIXED)] = 0.5
    cart_share: Annotated[float, _knob(_SHARE, "How often a cart over two events is filled.", MIXED)] = 0.1
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


def _of_workload() -> Iterable[Knob]:
    hints = get_type_hints(Workload, include_extras=True)
    for field in msgspec.structs.fields(Workload):
        [knob] = hints[field.name].__metadata__
        name = knob.name or field.name.removesuffix("_s")
        yield dataclasses.replace(knob, name=name, field=field.name, default=field.default)


KNOBS: tuple[Knob, ...] = (
    Knob("worker", SERVICE, click.Choice(list(WORKER_MODELS)), "gevent", "Worker model."),
    Knob("processes", SERVICE, click.IntRange(1, 1000), None, "Worker processes; by default the model's."),
    Knob("threads", SERVICE, click.IntRange(1, 1000), None, "Threads of a process, gthread only."),
    Knob("nodes", SERVICE, click.IntRange(1, 16), 1, "Number of gunicorns, each with its directory, on one engine."),
    Knob("apart", SERVICE, click.BOOL, False, "Let each node have a store of its own: a negative control."),
    Knob(
        "store", SERVICE, OneOf(lambda: [*STORES], lambda given: "://" in given), None,
        "Where the office keeps its tickets: a name or a URL; by default the first that fits the guard.",
    ),
    Knob(
        "guard", SERVICE, OneOf(lambda: [*GUARDS, "on", "off"]), "on",
        "How read, decide, write is made atomic; `none` does not.",
    ),
    Knob("leak", SERVICE, Real(0, 1), 0.0, "How often guard `leaky` is skipped."),
    Knob("lease_ms", SERVICE, click.IntRange(1, 3_600_000), None, "How long a lease lasts, ms."),
    Knob(
        "guard_scope", SERVICE, click.Choice(["decision", "request"]), "decision", "What the guard is held around."
    ),
    Knob("lock_timeout", SERVICE, Real(0.01, 3600), None, "Longest wait for the guard, s.", "lock_timeout_s"),
    Knob("batch", SERVICE, click.IntRange(1, 10_000), None, "Most purchases decided together; 1 is one by one."),
    Knob(
        "line", SERVICE, click.Choice(["process", "host"]), None,
        "Whose purchases are decided together: one process's, or the whole host's.",
    ),
    Knob("think", SERVICE, Delay(), "0", "Delay between reading and writing, ms: 20 or 10-50.", "think_ms"),
    Knob("think_kind", SERVICE, click.Choice(["io", "cpu"]), "io", "The delay sleeps or computes."),
    Knob("inside", SERVICE, click.IntRange(0, 100_000), None, "Most purchases inside a process; 0: no bound."),
    Knob("queue", SERVICE, click.IntRange(0, 1_000_000), None, "Most that wait for a place inside."),
    *_of_workload(),
    Knob(
        "fault", FAULT, OneOf(lambda: [*FAULTS]), None,
        "What is made to go wrong, once a round.",
    ),
    Knob("target", TARGET, click.Path(path_type=Path), None, "Another service instead of the office: its file."),
)  # fmt: skip

BY_NAME = {knob.name: knob for knob in KNOBS}


def of_locust_files(names: Iterable[str]) -> dict[str, Knob]:
    """The settings for which some locust files have options, by name: each once, in the order of the table."""
    files = set(names)
    return {knob.name: knob for knob in KNOBS if knob.of_locust and (not knob.only or files.intersection(knob.only))}


def locust_options(workload: Workload) -> list[str]:
    """The command-line options of a workload's locust file."""
    knobs = of_locust_files([WORKLOADS[workload.kind].locust_file]).values()
    return [word for knob in knobs for word in (knob.option, str(getattr(workload, knob.field)))]
