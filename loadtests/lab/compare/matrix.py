"""The cells of the matrix, and which come first when there is no time for all.

In this order: (1) one store under every worker model, without a guard and with the one that ``on`` stands for, at each
delay, for the worth of a worker class; (2) the other stores likewise, without a delay: which are right, how fast;
(3) the other guards; (4) the other numbers of processes; (5) whatever differs in more than one of these.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from loadtests.lab.experiment.expectation import Expectation
from loadtests.lab.experiment.knobs import Workload
from loadtests.lab.experiment.runner import Experiment
from loadtests.lab.servers.office import Service
from service.catalogue import GUARDS, GUARDS_OF, OFF, STORES
from workers import WORKER_MODELS

NO_DELAY = "none"
DELAYS = {NO_DELAY: "no delay", "io": "waits", "cpu": "computes"}
"""The delays between reading and writing, in words: a purchase waits, or it computes."""
THINKS = tuple(DELAYS)
PER_BLOCK = 18
"""Most cells of a block: what is compared with each other should not lie many minutes apart."""


class CellSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings that all cells share. Results are comparable, and a compare goes on, where they are the same."""

    buyers: int = 32
    seconds: float = 1.5
    """About how long a sale takes: its seats are chosen by what was measured before."""
    think_ms: float = 5.0
    seed: int = 1
    retries: int = 1
    """How often a buyer who got no answer, or who is to come again, asks again under their key."""

    def workload(self, seats: int, number: int) -> Workload:
        """The sale held as the ``number``-th one of a cell. One ticket a purchase, so that a sale is a ticket."""
        return Workload(
            capacity=seats,
            buyers=self.buyers,
            rounds=1,
            max_quantity=1,
            seed=self.seed + number,
            retries=self.retries,
            limit_s=max(5.0, 4 * self.seconds),
        )


class Cell(msgspec.Struct, frozen=True, omit_defaults=True):
    """One combination of a store, a guard, a worker model, a number of processes and a delay."""

    store: str
    guard: str
    worker: str
    processes: int
    think: str
    """``none``, ``io`` (it sleeps) or ``cpu`` (it computes), between reading and writing."""
    fault: str = ""
    nodes: int = 1

    @property
    def name(self) -> str:
        fault = f"-{self.fault}" if self.fault else ""
        return f"{self.worker}-{self.processes}-{self.store}-{self.guard}-{self.think}{fault}"

    @property
    def spelled(self) -> str:
        """The name in reports: ``gthread 2 × 16, journal + file, think io``."""
        delay = f", think {self.think}" if self.delays else ""
        fault = f", {self.fault}" if self.fault else ""
        return f"{self.shape}, {self.pair}{delay}{fault}"

    @property
    def shape(self) -> str:
        return self.service(0).spelled

    @property
    def pair(self) -> str:
        return f"{self.store} + {self.guard}"

    def service(self, think_ms: float) -> Service:
        """The settings of its office, which would refuse some of these pairings unless it is told to allow them."""
        return Service(
            worker=self.worker,
            processes=self.processes,
            store=self.store,
            guard=self.guard,
            think_ms=think_ms if self.delays else 0.0,
            think_kind="cpu" if self.think == "cpu" else "io",
            allow_unsafe=True,
            nodes=self.nodes,
        )

    def experiment(self, shape: CellSettings, seats: int, number: int) -> Experiment:
        service, workload = self.service(shape.think_ms), shape.workload(seats, number)
        return Experiment(service=service, workload=workload, fault=self.fault)

    def expectation(self, shape: CellSettings) -> Expectation:
        """The expected outcome. Without a delay it is luck whether two processes meet that nothing keeps apart; a fault
        under which a guard loses makes them meet."""
        expected = self.experiment(shape, 1, 0).expectation
        loses_under = GUARDS[self.guard].loses_under + STORES[self.store].loses_under
        by_luck = not self.delays and self.fault not in loses_under
        return Expectation.EITHER if expected is Expectation.WRONG and by_luck else expected

    @property
    def delays(self) -> bool:
        return self.think != NO_DELAY


class Matrix(msgspec.Struct, frozen=True, kw_only=True):
    """The cells that are asked for. Empty: all there are; ``processes``: one, and the worker model's own number."""

    workers: tuple[str, ...] = ()
    stores: tuple[str, ...] = ()
    guards: tuple[str, ...] = ()
    processes: tuple[int, ...] = ()
    thinks: tuple[str, ...] = ()


class PlannedCells(msgspec.Struct, frozen=True):
    """The cells in blocks, the most telling first; and those that make no sense, with the reason."""

    blocks: list[list[Cell]]
    impossible: dict[Cell, str]

    @property
    def cells(self) -> list[Cell]:
        return [cell for block in self.blocks for cell in block]


def plan(matrix: Matrix) -> PlannedCells:
    """Every cell of the catalogue that was asked for, once. By default of the stores that outlive a process."""
    wanted = matrix.stores or [name for name, store in STORES.items() if store.scope != "process"]
    stores = [store for store in STORES if store in wanted]
    ranks: dict[tuple[int, str], list[Cell]] = {}
    impossible: dict[Cell, str] = {}
    for store in stores:
        for cell in _cells(matrix, store):
            if STORES[store].scope == "process" and cell.processes > 1:
                impossible[cell] = f"the store {store} lives in one process"
            else:
                rank = _rank(cell, matrix, first=store == stores[0])
                ranks.setdefault((rank, _group(cell, rank)), []).append(cell)
    groups = [ranks[key] for key in sorted(ranks, key=lambda key: key[0])]
    return PlannedCells([block for group in groups for block in _blocks(group)], impossible)


def _cells(matrix: Matrix, store: str) -> list[Cell]:
    # By default none that exists to be caught.
    wanted = matrix.guards or [name for name, guard in GUARDS.items() if not guard.is_leaky]
    guards = [guard for guard in GUARDS_OF[store] if guard in wanted]
    return [
        Cell(store, guard, worker, processes, think)
        for think in THINKS
        if think in (matrix.thinks or THINKS)
        for worker in matrix.workers or WORKER_MODELS
        for processes in _counts(matrix, worker)
        for guard in guards
    ]


def _counts(matrix: Matrix, worker: str) -> list[int]:
    return list(dict.fromkeys(matrix.processes or (1, WORKER_MODELS[worker].processes)))


def _rank(cell: Cell, matrix: Matrix, *, first: bool) -> int:
    """The cell's place in the order above."""
    other_guard = cell.guard not in {OFF, STORES[cell.store].safe_guard}
    other_count = cell.processes != max(_counts(matrix, cell.worker))
    if not other_guard and not other_count and first:
        return 1
    if other_guard + other_count + cell.delays > 1:
        return 5
    if not cell.delays:
        return 4 if other_count else 3 if other_guard else 2
    return 5


def _group(cell: Cell, rank: int) -> str:
    """Cells of a rank and a group are compared with each other: the first hold one store, later ones a store each."""
    return "" if rank == 1 else f"{cell.think} {cell.store}" if rank == 5 else cell.store


def _blocks(cells: Sequence[Cell]) -> list[list[Cell]]:
    """Divide the cells into as few blocks as possible, all of about one size."""
    count = -(-len(cells) // PER_BLOCK)
    size = -(-len(cells) // count)
    return [list(cells[at : at + size]) for at in range(0, len(cells), size)]
