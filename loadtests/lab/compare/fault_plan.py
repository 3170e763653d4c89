"""The cells of ``lastseat faults --matrix``: stores and guards × worker models × faults.

What is done to processes and files depends on how a service divides its work among processes, and so is planned under
every worker model. Any other fault is planned under the first one, unless worker models are asked for.
Each durable store under its safe guard; and as canaries, which have to be caught: a guard that is known to lose under a
fault, and no guard at all.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from loadtests.lab.compare.matrix import NO_DELAY, Cell, CellSettings, PlannedCells
from loadtests.lab.compare.run import FEWEST
from loadtests.lab.faults import FAULTS, kind_of
from loadtests.lab.faults.base import FaultUnfit
from loadtests.lab.faults.injection import refuse_unfit
from loadtests.lab.faults.schedule import read_injections
from service.catalogue import GUARDS, GUARDS_OF, OFF, STORES
from workers import WORKER_MODELS

UNDER_EVERY_WORKER = ("process", "disk")
"""The kinds of faults that are planned under every worker model."""
NODES = 3
"""For a fault that is done to one of several nodes."""


class FaultMatrix(msgspec.Struct, frozen=True, kw_only=True):
    """The cells that are asked for. Empty: all there are."""

    stores: tuple[str, ...] = ()
    guards: tuple[str, ...] = ()
    workers: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()


def plan_faults(matrix: FaultMatrix) -> PlannedCells:
    """The cells, one worker model after the other, and with its reason each that cannot be: its fault does not fit, or
    this machine cannot do it."""
    first = next(iter(WORKER_MODELS))
    blocks: list[list[Cell]] = []
    impossible: dict[Cell, str] = {}
    for worker in matrix.workers or WORKER_MODELS:
        block: list[Cell] = []
        for store, guard in _pairs(matrix):
            think = "io" if guard == OFF else NO_DELAY
            for fault in matrix.faults or FAULTS:
                if not matrix.workers and worker != first and kind_of(fault) not in UNDER_EVERY_WORKER:
                    continue
                cell = Cell(store, guard, worker, WORKER_MODELS[worker].processes, think, fault)
                cell, why = _fitting(cell)
                if why:
                    impossible[cell] = why
                else:
                    block.append(cell)
        blocks.append(block)
    return PlannedCells([block for block in blocks if block], impossible)


def _pairs(matrix: FaultMatrix) -> Iterator[tuple[str, str]]:
    stores = [name for name, store in STORES.items() if store.durable and name in (matrix.stores or STORES)]
    for store in stores:
        canaries = {name for name in GUARDS_OF[store] if GUARDS[name].loses_under}
        canaries |= {OFF} if store == stores[0] else set()
        wanted = matrix.guards or {STORES[store].safe_guard, *canaries}
        yield from ((store, guard) for guard in GUARDS_OF[store] if guard in wanted)


def _fitting(cell: Cell) -> tuple[Cell, str]:
    """The cell with as many nodes as its fault takes, and why it cannot be; empty where it can."""
    several = msgspec.structs.replace(cell, nodes=NODES)
    reasons = []
    for each in (cell, several) if STORES[cell.store].schemes else (cell,):
        try:
            refuse_unfit(read_injections(cell.fault), each.service(CellSettings().think_ms), FEWEST)
        except FaultUnfit as error:
            reasons.append(str(error))
        else:
            return each, ""
    return cell, reasons[-1]
