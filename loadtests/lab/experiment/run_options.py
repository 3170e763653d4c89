"""The settings of ``lastseat run``, from a file and from options: which of them fit together, and what they ask for.

A setting has one name everywhere: ``--read-share`` on the command line is ``read_share`` in a file. What is given
on the command line wins over the file, the file over the default.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from loadtests.lab.durations import duration_ns
from loadtests.lab.experiment.halls import known_halls, read_hall
from loadtests.lab.experiment.knobs import (
    BY_NAME,
    IN_TOML,
    KNOBS,
    SERVICE,
    TARGET,
    WORKLOAD,
    WORKLOADS,
    Workload,
    stages_of,
)
from loadtests.lab.experiment.load_options import locust_file
from loadtests.lab.experiment.runner import Experiment, ExperimentRecord
from loadtests.lab.faults.base import FaultUnfit
from loadtests.lab.faults.injection import fitting, refuse_unfit
from loadtests.lab.faults.schedule import at_moment, at_random, read_injections, written
from loadtests.lab.servers.engines import ENGINES
from loadtests.lab.servers.office import Elsewhere, Service
from loadtests.lab.target.file import TargetError, read_target, refuse_problems
from loadtests.lab.target.tables import Target
from loadtests.lab.target.validation import nearest, text_of, toml_of
from service.catalogue import GUARDS, GUARDS_OF, OFF, STORES


class SettingsError(Exception):
    """A wrong setting; the message names it, the value, and what is allowed."""


def read_settings(path: Path) -> dict[str, Any]:
    """The settings of a TOML file, an ``experiment.json``, or a results folder. Raises ``SettingsError``.

    The target is a ``Target`` from an ``experiment.json``, and a path from a TOML file.
    """
    path = path / "experiment.json" if path.is_dir() else path
    text = text_of(path, SettingsError)
    if path.suffix == ".json":
        return _of_record(path, text)
    content = toml_of(path, text, SettingsError)
    if "buy" in content:
        raise SettingsError(f"{path} describes another service; load it with: lastseat run --target {path}")
    return dict(_checked(name, value, path) for name, value in content.items())


def _checked(name: str, value: Any, path: Path) -> tuple[str, Any]:
    """A setting's name, without dashes, and its value."""
    knob = BY_NAME.get(name.replace("-", "_"))
    if knob is None:
        meant = nearest(name, BY_NAME)
        raise SettingsError(f"{path}: there is no setting {name}{meant}. The settings are: {', '.join(BY_NAME)}.")
    if knob.part == TARGET:
        return knob.name, path.parent / str(value)
    if knob.name == "hall" and value not in known_halls():
        value = str(path.parent / str(value))
    types, wanted = IN_TOML.get(type(knob.kind), ((str,), "a text in quotes"))
    if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
        raise SettingsError(f"{path}: {name} is {value!r}; it must be {wanted}.")
    return knob.name, _read(knob.name, value, path)


def _read(name: str, value: Any, path: Path) -> Any:
    try:
        return BY_NAME[name].read(value)
    except ValueError as error:
        raise SettingsError(f"{path}: {name}: {error}") from None


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
        record = msgspec.convert(content, type=ExperimentRecord)
    except msgspec.ValidationError as error:
        raise SettingsError(f"{path} is not the record of an experiment: {error}") from None
    parts = {SERVICE: record.service, WORKLOAD: record.workload}
    settings = {knob.name: getattr(parts[knob.part], knob.field or knob.name) for knob in KNOBS if knob.part in parts}
    settings |= {"think": record.service.think, "fault": record.fault or None}
    settings |= {"fault_every": f"{record.fault_every_s:g}s" if record.fault_every_s else None}
    if WORKLOADS[record.workload.kind].hall:
        settings["capacity"] = None  # the hall's, and it may be run again with another hall
    if record.target is not None:
        settings = {name: value for name, value in settings.items() if BY_NAME[name].part != SERVICE}
        try:
            refuse_problems(record.target, path)
        except TargetError as error:
            raise SettingsError(str(error)) from None
        settings["target"] = record.target
    for name, value in settings.items():
        if value is not None and BY_NAME[name].part != TARGET:
            _read(name, value, path)
    return settings


def experiment_of(file: Mapping[str, Any], options: Mapping[str, Any]) -> Experiment:
    """The experiment that a file and the options over it describe. Raises ``SettingsError``."""
    given = dict(file) | dict(options)
    named = given.pop("target", None)
    if named is not None:
        return _of_target(named if isinstance(named, Target) else _target(named), given)
    service, workload = _fields(SERVICE, given), _fields(WORKLOAD, given)
    if WORKLOADS[workload["kind"]].hall:
        workload["capacity"] = _seats(workload["hall"], given.get("capacity"))
    together = service["nodes"] > 1 and not service["apart"]
    if given.get("store") is None:
        service["store"] = _store_of(service["guard"], together)
    if together and "://" not in service["store"] and service["store"] not in ENGINES:
        raise SettingsError(_not_shared(service["nodes"], service["store"]))
    if service["apart"] and (service["nodes"] < 2 or "://" in service["store"]):
        raise SettingsError("apart gives each of several nodes a store of its own: it takes nodes, and no address.")
    if service["threads"] is not None and service["worker"] != "gthread":
        raise SettingsError(f"threads is for gthread; a {service['worker']} worker has no threads to count.")
    if given.get("think") is None and WORKLOADS[workload["kind"]].think:
        service["think_ms"] = WORKLOADS[workload["kind"]].think
    if WORKLOADS[workload["kind"]].pays_inside:
        _pay_inside(service, workload["payment"], given)
    if service["engine_settings"] and service["store"] not in ENGINES:
        raise SettingsError(
            f"engine_settings is for an engine that the lab starts: --store {' or '.join(ENGINES)}, without an address."
        )
    guard = GUARDS.get(service["guard"])
    if service["leak"] and not (guard and guard.is_leaky):
        raise SettingsError(f"leak is for the guard leaky, and the guard is {service['guard']}.")
    service["guard"] = {"off": OFF}.get(service["guard"], service["guard"])
    low, dash, high = service["think_ms"].partition("-")
    service |= {"think_ms": float(low), "think_high_ms": float(high) if dash else None}
    # A user who names a guard wants to see what it does, also where it excludes too few.
    service["allow_unsafe"] = service["guard"] != "on"
    return _with_faults(Experiment(service=Service(**service), workload=Workload(**workload)), given)


def _with_faults(experiment: Experiment, given: Mapping[str, Any]) -> Experiment:
    """The experiment with the faults that are asked for. Those at random are chosen here: the record names them."""
    service, capacity, of_target = experiment.service, experiment.workload.capacity, experiment.target is not None
    injections = at_moment(read_injections(given.get("fault") or ""), given.get("fault_at") or "")
    every_s = duration_ns(given.get("fault_every") or "0") / 1e9
    if given.get("faults"):
        if injections:
            raise SettingsError("faults are chosen at random, and fault names some: give one of them.")
        holds = WORKLOADS[experiment.workload.kind].holds
        names = fitting(service, capacity, holds=holds, of_target=of_target)
        if not names:
            raise SettingsError("no fault fits this experiment here: `lastseat faults` says what each needs.")
        injections = at_random(given["faults"], experiment.workload.seed, names)
    if not injections and (given.get("fault_at") or every_s):
        raise SettingsError("fault_at and fault_every say when, but not which fault: --fault kill-worker.")
    try:
        refuse_unfit(injections, service, capacity, of_target=of_target)
    except FaultUnfit as error:
        raise SettingsError(str(error)) from None
    return msgspec.structs.replace(experiment, fault=written(injections), fault_every_s=every_s)


def _not_shared(nodes: int, store: str) -> str:
    return (
        f"{nodes} nodes need one store that all of them reach: {' or '.join(ENGINES)}, or an address of one. With "
        f"{store} each would keep tickets in its own directory, and sell every seat. --apart true lets them, and the "
        "verdict shows it."
    )


def _store_of(guard: str, together: bool) -> str:
    """The first store that the guard fits, where the user names a guard and no store."""
    names = [name for name in STORES if name in ENGINES or not together]
    found = next((name for name in names if guard in {"on", "off", *GUARDS_OF[name]}), None)
    if found is None:
        raise SettingsError(f"guard {guard} fits no store that several nodes could share.")
    return found


def _seats(hall: str, capacity: int | None) -> int:
    """How many seats the hall has, which are the tickets on sale. Raises ``SettingsError`` for another number."""
    try:
        seats = read_hall(hall).seats
    except ValueError as error:
        raise SettingsError(str(error)) from None
    if capacity not in {None, seats}:
        raise SettingsError(f"capacity cannot be {capacity}: the {seats:,} seats of the hall {hall} are on sale.")
    return seats


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
    """The experiment with another service; nothing is asked that the service cannot do."""
    for name, value in given.items():
        if BY_NAME[name].part == SERVICE and value is not None:
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
    if given.get("rounds", 1) > 1 and not target.buys_what_is_made:
        raise SettingsError(
            "rounds cannot be more than 1: [setup] makes a new event in every round ({event}), and [buy] is not told "
            "which. Every round would sell the tickets of the first one. With {event}, or a value that [setup] takes, "
            "in [buy] it could be."
        )
    own: dict[str, Any] = {"capacity": target.capacity, "max_quantity": target.buy.max_quantity}
    own |= {"read_share": 0.2 if target.read else 0.0, "cancel_share": 0.05 if target.cancels_can_be_judged else 0.0}
    called = target.name or target.url or "the target"
    experiment = Experiment(
        service=Elsewhere(url=target.url, called=called, guard="unknown"),
        workload=Workload(**_fields(WORKLOAD, own | given)),
        target=target,
    )
    if target.start is None and any(given.get(name) for name in ("fault", "faults")):
        raise SettingsError("a fault is done to a service that the lab has started: the target file has no [start].")
    return _with_faults(experiment, given)


def _target(path: Path) -> Target:
    try:
        return read_target(path)
    except TargetError as error:
        raise SettingsError(str(error)) from None


def _fields(part: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """A part's settings by the names of its struct's fields, with the defaults of those not given."""
    fields = {
        knob.field or knob.name: knob.default if given.get(knob.name) is None else given[knob.name]
        for knob in KNOBS
        if knob.part == part
    }
    if stages := stages_of(fields.get("stages") or ""):
        if fields["rate"]:
            raise SettingsError(
                "stages say how many buyers wait for answers, and rate is for arrivals: give one of them."
            )
        fields |= {"buyers": max(users for users, _ in stages), "limit_s": sum(lasts_s for _, lasts_s in stages)}
    return fields
