"""The settings of ``lastseat run``, each a line of one table: its options, its names in a TOML file, its checks.

A setting has one name everywhere: ``--read-share`` on the command line is ``read_share`` in a file. What is given
on the command line wins over the file, the file over what the setting is by itself.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import msgspec

from loadtests.lab.experiment.load_options import KINDS, MOST_ARRIVALS_PER_S, locust_file
from loadtests.lab.experiment.runner import Experiment, Record, Workload
from loadtests.lab.experiment.workloads import WORKLOADS
from loadtests.lab.faults import FAULTS, FaultUnfit, refuse_unfit
from loadtests.lab.servers.engines import ENGINES
from loadtests.lab.servers.office import Elsewhere, Service
from loadtests.lab.target.file import Target, TargetError, read_target
from service.catalogue import GUARDS, GUARDS_OF, OFF, STORES
from workers import WORKER_MODELS

SERVICE, WORKLOAD, FAULT, TARGET = "service", "workload", "fault", "target"


class SettingsError(Exception):
    """A setting that cannot be meant; the message names it, the value, and what is allowed."""


class OneOf(click.ParamType[str]):
    """One of some names, looked up only when one is given."""

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


@dataclass(frozen=True)
class Setting:
    """One setting: where it belongs, what it accepts, what it is by itself, and what ``--help`` says of it."""

    name: str
    part: str
    kind: click.ParamType[Any]
    default: Any
    says: str
    field: str = ""

    @property
    def option(self) -> str:
        """Its name on the command line."""
        return "--" + self.name.replace("_", "-")


SETTINGS: tuple[Setting, ...] = (
    Setting("worker", SERVICE, click.Choice(list(WORKER_MODELS)), "gevent", "Worker model."),
    Setting("processes", SERVICE, click.IntRange(1, 1000), None, "Worker processes; by default the model's."),
    Setting("threads", SERVICE, click.IntRange(1, 1000), None, "Threads of a process, gthread only."),
    Setting("nodes", SERVICE, click.IntRange(1, 16), 1, "So many gunicorns, each with its directory, on one engine."),
    Setting("apart", SERVICE, click.BOOL, False, "Let each node have a store of its own: a negative control."),
    Setting(
        "store", SERVICE, OneOf(lambda: [*STORES], lambda given: "://" in given), None,
        "Where the office keeps its tickets: a name or a URL; by default the first that fits the guard.",
    ),
    Setting(
        "guard", SERVICE, OneOf(lambda: [*GUARDS, "on", "off"]), "on",
        "How read, decide, write is made atomic; `none` does not.",
    ),
    Setting("leak", SERVICE, click.FloatRange(0, 1), 0.0, "How often guard `leaky` is skipped."),
    Setting("lease_ms", SERVICE, click.IntRange(1, 3_600_000), None, "How long a lease lasts, ms."),
    Setting(
        "guard_scope", SERVICE, click.Choice(["decision", "request"]), "decision", "What the guard is held around."
    ),
    Setting(
        "lock_timeout", SERVICE, click.FloatRange(0.01, 3600), None, "Longest wait for the guard, s.", "lock_timeout_s"
    ),
    Setting("batch", SERVICE, click.IntRange(1, 10_000), None, "Most purchases decided together; 1 is one by one."),
    Setting("think", SERVICE, Delay(), "0", "Delay between reading and writing, ms: 20 or 10-50.", "think_ms"),
    Setting("think_kind", SERVICE, click.Choice(["io", "cpu"]), "io", "The delay sleeps or computes."),
    Setting("inside", SERVICE, click.IntRange(0, 100_000), None, "Most purchases inside a process; 0: no bound."),
    Setting("queue", SERVICE, click.IntRange(0, 1_000_000), None, "Most that wait for a place inside."),
    Setting("workload", WORKLOAD, click.Choice(list(WORKLOADS)), "buy", "What the buyers do.", "kind"),
    Setting("capacity", WORKLOAD, click.IntRange(1, 10_000_000), 200, "Tickets of a round."),
    Setting("rounds", WORKLOAD, click.IntRange(1, 1000), 1, "Sales, one after another."),
    Setting("buyers", WORKLOAD, click.IntRange(1, 100_000), 32, "Buyers at the same time."),
    Setting("max_quantity", WORKLOAD, click.IntRange(1, 1_000_000), 4, "A purchase asks for 1 to this many."),
    Setting("read_share", WORKLOAD, click.FloatRange(0, 1), 0.2, "How often a buyer looks first."),
    Setting("cancel_share", WORKLOAD, click.FloatRange(0, 1), 0.05, "How often an order is given back."),
    Setting("patience", WORKLOAD, click.IntRange(1, 1000), 3, "A buyer leaves when it is sold out so often in a row."),
    Setting("retries", WORKLOAD, click.IntRange(0, 100), 1, "How often to ask again, same key, while it is unknown."),
    Setting("time_outs", WORKLOAD, click.FloatRange(0, 1), 0.0, "How often a buyer hangs up and asks again, same key."),
    Setting("opens_in", WORKLOAD, click.FloatRange(0, 3600), 3.0, "rush: the doors open after so long.", "opens_in_s"),
    Setting("too_early", WORKLOAD, click.FloatRange(0, 1), 0.2, "rush: how many try the doors before they open."),
    Setting("hold_share", WORKLOAD, click.FloatRange(0, 1), 0.5, "mixed: how often tickets are held and paid for."),
    Setting("cart_share", WORKLOAD, click.FloatRange(0, 1), 0.1, "mixed: how often a cart over two events is filled."),
    Setting("hold", WORKLOAD, click.FloatRange(0.001, 3600), 2.0, "mixed, pay: how long a hold lasts, s.", "hold_s"),
    Setting("payment", WORKLOAD, Delay(), "20-60", "mixed, pay: how long a payment takes, ms: 20 or 10-50."),
    Setting("payment_refused", WORKLOAD, click.FloatRange(0, 1), 0.05, "mixed, pay: how many payments are refused."),
    Setting("payment_lost", WORKLOAD, click.FloatRange(0, 1), 0.02, "mixed, pay: how many are not answered."),
    Setting("rate", WORKLOAD, click.FloatRange(0, MOST_ARRIVALS_PER_S), 0.0, "Open loop: arrivals a second."),
    Setting("arrivals", WORKLOAD, click.Choice(KINDS), KINDS[0], "Open loop: a Poisson process or equal gaps."),
    Setting("most_in_flight", WORKLOAD, click.IntRange(1, 10_000), 500, "Open loop: beyond so many they wait in line."),
    Setting("limit", WORKLOAD, click.FloatRange(0.5, 86_400), 60.0, "A round is ended after so long, s.", "limit_s"),
    Setting("seed", WORKLOAD, click.INT, 1, "Decides what each buyer wishes for, and when arrivals come."),
    Setting(
        "fault", FAULT, OneOf(lambda: [*FAULTS]), None,
        "What is made to go wrong, once a round.",
    ),
    Setting("target", TARGET, click.Path(path_type=Path), None, "Another service instead of the office: its file."),
)  # fmt: skip

BY_NAME = {setting.name: setting for setting in SETTINGS}


def read_settings(path: Path) -> dict[str, Any]:
    """The settings of a TOML file, an ``experiment.json``, or a results folder. Raises ``SettingsError``.

    Of an ``experiment.json`` the target is a ``Target``, of a TOML file a path.
    """
    path = path / "experiment.json" if path.is_dir() else path
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} cannot be read: {error}") from None
    if path.suffix == ".json":
        return _of_record(path, text)
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path} is no TOML: {error}") from None
    if "buy" in content:
        raise SettingsError(f"{path} describes another service; load it with: lastseat run --target {path}")
    return dict(_checked(name, value, path) for name, value in content.items())


def _checked(name: str, value: Any, path: Path) -> tuple[str, Any]:
    """A setting's own name, which has no dashes, and its value."""
    setting = BY_NAME.get(name.replace("-", "_"))
    if setting is None:
        near = difflib.get_close_matches(name, BY_NAME, 1)
        meant = f" (did you mean {near[0]}?)" if near else ""
        raise SettingsError(f"{path}: there is no setting {name}{meant}. The settings are: {', '.join(BY_NAME)}.")
    if setting.part == TARGET:
        return setting.name, path.parent / str(value)
    whole = isinstance(setting.kind, click.IntRange) or setting.kind is click.INT
    real = isinstance(setting.kind, click.FloatRange)
    numbers = (int,) if whole else (int, float) if real or isinstance(setting.kind, Delay) else ()
    fits = isinstance(value, numbers) and not isinstance(value, bool) if numbers else isinstance(value, str)
    if setting.kind is click.BOOL:
        if not isinstance(value, bool):
            raise SettingsError(f"{path}: {name} is {value!r}; it must be true or false.")
        return setting.name, value
    if not fits and not (isinstance(value, str) and isinstance(setting.kind, Delay)):
        wanted = "a whole number" if whole else "a number" if real else "a text in quotes"
        raise SettingsError(f"{path}: {name} is {value!r}; it must be {wanted}.")
    try:
        return setting.name, setting.kind.convert(value, None, None)
    except click.BadParameter as error:
        raise SettingsError(f"{path}: {name}: {error.message}") from None


def _of_record(path: Path, text: str) -> dict[str, Any]:
    try:
        content = msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise SettingsError(f"{path} is no JSON: {error}") from None
    if isinstance(content, dict) and isinstance(by_hand := content.get("experiment"), str):
        raise SettingsError(
            f"{path} is of a locust that was started by hand; start that again: "
            f"locust -f {locust_file(by_hand.split('-'))}"
        )
    try:
        record = msgspec.convert(content, type=Record)
    except msgspec.ValidationError as error:
        raise SettingsError(f"{path} is not the record of an experiment: {error}") from None
    parts = {SERVICE: record.service, WORKLOAD: record.workload}
    settings = {
        setting.name: getattr(parts[setting.part], setting.field or setting.name)
        for setting in SETTINGS
        if setting.part in parts
    }
    settings |= {"think": record.service.think, "fault": record.fault or None}
    if record.target is not None:
        settings = {name: value for name, value in settings.items() if BY_NAME[name].part != SERVICE}
        settings["target"] = record.target
    return settings


def experiment_of(file: Mapping[str, Any], options: Mapping[str, Any]) -> Experiment:
    """The experiment that a file and the options over it ask for. Raises ``SettingsError``."""
    given = dict(file) | dict(options)
    named = given.pop("target", None)
    if named is not None:
        return _of_target(named if isinstance(named, Target) else _target(named), given)
    service, workload = _fields(SERVICE, given), _fields(WORKLOAD, given)
    together = service["nodes"] > 1 and not service["apart"]
    if given.get("store") is None:
        service["store"] = _store_of(service["guard"], together)
    if together and "://" not in service["store"] and service["store"] not in ENGINES:
        raise SettingsError(_not_shared(service["nodes"], service["store"]))
    if service["apart"] and (service["nodes"] < 2 or "://" in service["store"]):
        raise SettingsError("apart gives each of several nodes a store of its own: it takes nodes, and no address.")
    if service["threads"] is not None and service["worker"] != "gthread":
        raise SettingsError(f"threads is for gthread; a {service['worker']} worker has no threads to count.")
    if WORKLOADS[workload["kind"]].pays_inside:
        _pay_inside(service, workload["payment"], given)
    guard = GUARDS.get(service["guard"])
    if service["leak"] and not (guard and guard.is_leaky):
        raise SettingsError(f"leak is for the guard leaky, and the guard is {service['guard']}.")
    service["guard"] = {"off": OFF}.get(service["guard"], service["guard"])
    low, dash, high = service["think_ms"].partition("-")
    service |= {"think_ms": float(low), "think_high_ms": float(high) if dash else None}
    # Who names a guard wants to see what it does, also where it excludes too few.
    service["allow_unsafe"] = service["guard"] != "on"
    experiment = Experiment(service=Service(**service), workload=Workload(**workload), fault=given.get("fault") or "")
    if experiment.fault:
        try:
            refuse_unfit(experiment.fault, experiment.service, experiment.workload.capacity)
        except FaultUnfit as error:
            raise SettingsError(str(error)) from None
    return experiment


def _not_shared(nodes: int, store: str) -> str:
    return (
        f"{nodes} nodes need one store that all of them reach: {' or '.join(ENGINES)}, or an address of one. With "
        f"{store} each would keep tickets in its own directory, and sell every seat. --apart true lets them, and the "
        "verdict shows it."
    )


def _store_of(guard: str, together: bool) -> str:
    """The first store that a guard fits: who names a guard and no store wants to see the guard."""
    names = [name for name in STORES if name in ENGINES or not together]
    found = next((name for name in names if guard in {"on", "off", *GUARDS_OF[name]}), None)
    if found is None:
        raise SettingsError(f"guard {guard} fits no store that several nodes could share.")
    return found


def _pay_inside(service: dict[str, Any], payment: str, given: Mapping[str, Any]) -> None:
    """Let the office wait for each payment while it holds the guard: its delay is the payment, one at a time."""
    decided = {"think": payment, "guard_scope": "request", "batch": 1}
    for name, value in decided.items():
        if given.get(name) not in {None, BY_NAME[name].default, value}:
            raise SettingsError(
                f"{name} is {value} under pay-inside: the office's delay is the payment, one at a time."
            )
    service |= {BY_NAME[name].field or name: value for name, value in decided.items()}


def _of_target(target: Target, given: dict[str, Any]) -> Experiment:
    """The experiment with a stranger's service: what the service cannot do is not asked of it."""
    for name, value in given.items():
        if BY_NAME[name].part in {SERVICE, FAULT} and value is not None:
            raise SettingsError(f"{name} is a setting of the ticket office; a target is run as its file says.")
    if given.get("capacity") not in {None, target.capacity} and not target.obeys_capacity:
        raise SettingsError(
            f"capacity cannot be {given['capacity']}: the target is not told it. It has {target.capacity}; "
            "with {capacity} in its [setup] or command it could be."
        )
    if given.get("max_quantity", 1) > target.buy.max_quantity:
        raise SettingsError(f"max_quantity of this target is {target.buy.max_quantity}, by its [buy].")
    if given.get("read_share") and target.read is None:
        raise SettingsError("read_share needs a table [read] in the target file.")
    if given.get("cancel_share") and target.cancel is None:
        raise SettingsError("cancel_share needs a table [cancel] in the target file.")
    kind = given.get("workload") or "buy"
    if WORKLOADS[kind].holds or WORKLOADS[kind].pays_inside:
        raise SettingsError(f"workload {kind} needs the ticket office: a target file cannot say how to hold tickets.")
    if given.get("rounds", 1) > 1 and target.setup is None:
        raise SettingsError("rounds needs a request [setup] in the target file, which makes the tickets anew.")
    own: dict[str, Any] = {"capacity": target.capacity, "max_quantity": target.buy.max_quantity}
    own |= {"read_share": 0.2 if target.read else 0.0, "cancel_share": 0.05 if target.cancels_can_be_judged else 0.0}
    called = target.name or target.url or "the target"
    return Experiment(
        service=Elsewhere(url=target.url, called=called, guard="unknown"),
        workload=Workload(**_fields(WORKLOAD, own | given)),
        target=target,
    )


def _target(path: Path) -> Target:
    try:
        return read_target(path)
    except TargetError as error:
        raise SettingsError(str(error)) from None


def _fields(part: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """A part's settings by the names of its struct's fields, those that are not given as they are by themselves."""
    return {
        setting.field or setting.name: setting.default if given.get(setting.name) is None else given[setting.name]
        for setting in SETTINGS
        if setting.part == part
    }
