"""Histories of any size as an honest office would have given them, for benchmarks.

Step i takes effect at time i, within an interval around it: that order is a linearization, so the history is valid.
There are mixed quantities, cancellations, reads, and one lost answer in a hundred; for the last third the event is as
good as sold out. Everything is drawn in arrays; only the lines are written one by one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from loadtests.lab.history.arrays import Bools, Ints

STEP_NS = 1_000

_SERVED = '"worker":4711,"epoch":3,"wait_ms":0.8,"hold_ms":0.1,"store_ms":0.3'


@dataclass(frozen=True)
class Run:
    """What happens, step by step. ``cancels`` is the step of the purchase that is cancelled, -1 for other steps.

    ``version`` and ``remaining`` are those after the step, ``number`` is a sale's first ticket number.
    """

    capacity: int
    process: Ints
    invoke_ns: Ints
    return_ns: Ints
    is_read: Bools
    cancels: Ints
    quantity: Ints
    refused: Bools
    unknown: Bools
    committed: Bools
    version: Ints
    remaining: Ints
    number: Ints

    def __len__(self) -> int:
        return len(self.process)


def draw(size: int, clients: int, seed: int) -> Run:
    """A run of ``size`` steps by ``clients`` that are always busy."""
    rng = np.random.default_rng(seed)
    kind = rng.random(size)
    selling = np.arange(size) < 0.7 * size
    is_buy = (kind >= 0.2) & (kind < 0.9) & selling
    unknown = is_buy & (rng.random(size) < 0.01)
    told = np.flatnonzero(is_buy & ~unknown)
    cancels = _cancel_the_latest(told, np.flatnonzero((kind >= 0.9) & selling), size)
    refused = (kind >= 0.2) & ~selling
    committed = (is_buy & (~unknown | (rng.random(size) < 0.5))) | (cancels >= 0)
    quantity = rng.integers(1, 5, size)
    taken = np.cumsum(np.where(cancels >= 0, -quantity[cancels], quantity) * committed)
    capacity = int(taken.max()) + 1
    quantity = np.where(refused, quantity + capacity - taken, quantity)  # more than is left, whatever is left
    width = clients * STEP_NS // 2
    moment = (np.arange(size) + clients) * STEP_NS
    return Run(
        capacity=capacity,
        process=_processes(unknown, clients),
        invoke_ns=moment - rng.integers(0, width, size),
        return_ns=moment + rng.integers(0, width, size),
        is_read=~is_buy & ~refused & (cancels < 0),
        cancels=cancels,
        quantity=quantity,
        refused=refused,
        unknown=unknown,
        committed=committed,
        version=np.cumsum(committed),
        remaining=capacity - taken,
        number=np.cumsum(np.where(is_buy & committed, quantity, 0)) - quantity + 1,
    )


def write(folder: Path, run: Run) -> list[Path]:
    """Write a run's ``history.jsonl`` and ``audit.jsonl`` as the lab and the service do."""
    history, audit = folder / "history.jsonl", folder / "audit.jsonl"
    with history.open("w", encoding="ascii") as file:
        file.writelines(_line(run, step) for step in range(len(run)))
    with audit.open("w", encoding="ascii") as file:
        file.writelines(_audit(run))
    return [history, audit]


def _cancel_the_latest(purchases: Ints, wishes: Ints, size: int) -> Ints:
    """Each wish cancels the latest purchase before it, if no other wish has."""
    latest = np.searchsorted(purchases, wishes) - 1
    latest, first = np.unique(latest, return_index=True)
    cancels = np.full(size, -1)
    cancels[wishes[first[latest >= 0]]] = purchases[latest[latest >= 0]]
    return cancels


def _processes(unknown: Bools, clients: int) -> Ints:
    """The clients take turns; one that has lost an answer continues under a new number."""
    turns = np.zeros((-(-len(unknown) // clients), clients), np.int64)
    turns.flat[: len(unknown)] = unknown
    lost_before = (np.cumsum(turns, axis=0) - turns).ravel()[: len(unknown)]
    return np.arange(len(unknown)) % clients + clients * lost_before


def _line(run: Run, step: int) -> str:
    asked = f'"event":"show","process":{run.process[step]},"invoke_ns":{run.invoke_ns[step]}'
    shown = (
        f'"return_ns":{run.return_ns[step]},"remaining":{run.remaining[step]},"version":{run.version[step]},{_SERVED}'
    )
    if run.is_read[step]:
        return f'{{"op":"read",{asked},{shown},"outcome":"ok"}}\n'
    asked += f',"key":"k-{step}"'
    if run.cancels[step] >= 0:
        order = f'"order":"order-{run.cancels[step]}"'
        return f'{{"op":"cancel",{asked},{order},{shown},"outcome":"ok","replayed":false}}\n'
    asked += f',"quantity":{run.quantity[step]}'
    if run.refused[step]:
        return f'{{"op":"buy",{asked},{shown},"outcome":"sold_out"}}\n'
    if run.unknown[step]:
        return f'{{"op":"buy",{asked},"return_ns":null,"outcome":"unknown"}}\n'
    return f'{{"op":"buy",{asked},{_given(run, step)},{shown},"outcome":"ok","replayed":false}}\n'


def _audit(run: Run) -> Iterator[str]:
    yield f'{{"event":"show","capacity":{run.capacity},"versions":{run.committed.sum()}}}\n'
    for step in np.flatnonzero(run.committed).tolist():
        cancelled = run.cancels[step] >= 0
        sale = int(run.cancels[step]) if cancelled else step
        kind, about = "cancelled" if cancelled else "sold", f'{_given(run, sale)},"quantity":{run.quantity[sale]}'
        yield f'{{"version":{run.version[step]},"kind":"{kind}","key":"k-{step}",{about}}}\n'


def _given(run: Run, sale: int) -> str:
    numbers = range(run.number[sale], run.number[sale] + run.quantity[sale])
    return f'"order":"order-{sale}","tickets":[{",".join(map(str, numbers))}]'
