"""Histories of any size as an honest office would have given them, for benchmarks.

Step i takes effect at time i, within an interval around it: that order is a linearization, so the history is valid.
There are mixed quantities, cancellations, reads, lost answers and, where they are wanted, holds and keys that are sent
again; for the last third the event is as good as sold out. Everything is drawn in arrays; only the lines are made one
by one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from loadtests.lab.history.arrays import Bools, Ints, one_of
from loadtests.lab.history.history import BUY, CANCEL, CONFIRM, HOLD, OPS, READ, RELEASE

STEP_NS = 1_000
LIFETIME = 1_000
"""After how many steps a hold expires."""

_RETRY = len(OPS)
_SERVED = '"worker":4711,"epoch":3,"wait_ms":0.8,"hold_ms":0.1,"store_ms":0.3'
_KINDS = {BUY: "sold", CANCEL: "cancelled", HOLD: "held", CONFIRM: "confirmed", RELEASE: "released"}


@dataclass(frozen=True)
class Run:
    """What happens, step by step. Other steps are named by their numbers.

    ``about`` is the step whose order is cancelled or whose hold is confirmed or released, ``key`` that whose key is
    sent, ``answer`` that whose answer is given: for a key that is sent again, the first one's. ``expires`` is the step
    of the hold that expires just before, -1 where none does. ``version`` and ``remaining`` are those after the step,
    ``number`` is the first ticket number.
    """

    capacity: int
    process: Ints
    invoke_ns: Ints
    return_ns: Ints
    op: Ints
    about: Ints
    key: Ints
    answer: Ints
    expires: Ints
    quantity: Ints
    refused: Bools
    unknown: Bools
    committed: Bools
    version: Ints
    remaining: Ints
    number: Ints

    def __len__(self) -> int:
        return len(self.process)


def draw(size: int, clients: int, seed: int, *, holds: float = 0.0, retries: float = 0.0, unknown: float = 0.01) -> Run:
    """A run of ``size`` steps by ``clients`` that are always busy.

    ``holds``, ``retries`` and ``unknown`` are shares of all steps: holds (of five, three are confirmed and one is
    released; the others expire), keys that are sent again, and lost answers, of which half were committed.
    """
    rng = np.random.default_rng(seed)
    steps = np.arange(size)
    shares = np.zeros(len(OPS) + 1)
    shares[[READ, CANCEL, HOLD, CONFIRM, RELEASE, _RETRY]] = 0.2, 0.1, holds, 0.6 * holds, 0.2 * holds, retries
    shares[BUY] = 1 - shares.sum()
    wish = rng.choice(len(shares), size, p=shares)
    opens, selling = one_of(wish, BUY, HOLD), steps < 0.7 * size
    lost = opens & selling & (rng.random(size) < unknown / (0.7 * (shares[BUY] + holds)))
    told = opens & selling & ~lost
    committed = told | (lost & (rng.random(size) < 0.5))
    again = (wish == _RETRY) & selling
    of_lost = rng.random(size) < 0.5
    about = np.full(size, -1)
    _take_the_latest(about, told & (wish == BUY), (wish == CANCEL) & selling)
    _take_the_latest(about, told & (wish == HOLD), one_of(wish, CONFIRM, RELEASE) & selling)
    about[one_of(wish, CONFIRM, RELEASE) & (steps - about >= LIFETIME)] = -1
    _take_the_latest(about, lost, again & of_lost)
    _take_the_latest(about, told, again & ~of_lost)
    again &= about >= 0
    replays = again & committed[about]
    op = np.where(again, wish[about], np.where(opens | (about >= 0), wish, READ))
    committed |= (about >= 0) & ~replays
    expires = np.full(size, -1)
    given_back = about[one_of(op, CONFIRM, RELEASE)]
    open_holds = np.setdiff1d(np.flatnonzero((op == HOLD) & committed), given_back, assume_unique=True)
    open_holds = open_holds[open_holds + LIFETIME < size]
    expires[open_holds + LIFETIME] = open_holds
    quantity = rng.integers(1, 5, size)
    quantity = np.where(about >= 0, quantity[about], quantity)
    gives = one_of(op, BUY, HOLD) & committed
    taken = np.cumsum(quantity * (gives - one_of(op, CANCEL, RELEASE).astype(np.int64)))
    taken -= np.cumsum(np.where(expires >= 0, quantity[expires], 0))
    capacity = int(taken.max()) + 1
    refused = opens & ~selling
    quantity = np.where(refused, quantity + capacity - taken, quantity)  # more than is left, whatever is left
    width = clients * STEP_NS // 2
    moment = (steps + clients) * STEP_NS
    return Run(
        capacity=capacity,
        process=_processes(lost, clients),
        invoke_ns=moment - rng.integers(0, width, size),
        return_ns=moment + rng.integers(0, width, size),
        op=op,
        about=np.where(again, -1, about),
        key=np.where(again, about, steps),
        answer=np.where(replays, about, steps),
        expires=expires,
        quantity=quantity,
        refused=refused,
        unknown=lost,
        committed=committed,
        version=np.cumsum(committed.astype(np.int64) + (expires >= 0)),
        remaining=capacity - taken,
        number=np.cumsum(np.where(gives, quantity, 0)) - quantity + 1,
    )


@dataclass(frozen=True)
class Seating:
    """The seats of a run, as fields of its lines: what a step asks for, what it is given, and the audit's hall."""

    asked: Mapping[int, str]
    given: Mapping[int, str]
    hall: str


_NO_SEATS = Seating({}, {}, "")


def write(folder: Path, run: Run, seating: Seating = _NO_SEATS) -> list[Path]:
    """Write a run's ``history.jsonl`` and ``audit.jsonl`` as the lab and the service do."""
    history, audit = folder / "history.jsonl", folder / "audit.jsonl"
    with history.open("w", encoding="ascii") as file:
        file.writelines(_line(run, step, seating) for step in range(len(run)))
    with audit.open("w", encoding="ascii") as file:
        file.writelines(_audit(run, seating))
    return [history, audit]


def _take_the_latest(about: Ints, things: Bools, wishes: Bools) -> None:
    """Each wish is about the latest of the things before it, if no other wish is."""
    thing, wish = np.flatnonzero(things), np.flatnonzero(wishes)
    latest, first = np.unique(np.searchsorted(thing, wish) - 1, return_index=True)
    about[wish[first[latest >= 0]]] = thing[latest[latest >= 0]]


def _processes(unknown: Bools, clients: int) -> Ints:
    """The clients take turns; one that has lost an answer continues under a new number."""
    turns = np.zeros((-(-len(unknown) // clients), clients), np.int64)
    turns.flat[: len(unknown)] = unknown
    lost_before = (np.cumsum(turns, axis=0) - turns).ravel()[: len(unknown)]
    return np.arange(len(unknown)) % clients + clients * lost_before


def _line(run: Run, step: int, seating: Seating) -> str:
    op, key, answer = run.op[step], run.key[step], run.answer[step]
    text = (
        f'{{"op":"{OPS[op]}","event":"show","process":{run.process[step]},"invoke_ns":{run.invoke_ns[step]},'
        f'"return_ns":{"null" if run.unknown[step] else run.return_ns[step]}'
    )
    if op != READ:
        text += f',"key":"k-{key}"' + (',"attempt":2' if key != step else "")
    if op in (BUY, HOLD):
        text += f',"quantity":{run.quantity[step]}{seating.asked.get(int(key), "")}'
    if run.unknown[step]:
        return text + ',"outcome":"unknown"}\n'
    text += f',"remaining":{run.remaining[answer]},"version":{run.version[answer]},{_SERVED}'
    if run.refused[step]:
        return text + ',"outcome":"sold_out"}\n'
    if op != READ:
        about = run.about[step]
        text += f',{_names(run, answer)},"replayed":{"true" if answer != step else "false"}'
        if op in (BUY, HOLD, CONFIRM):
            text += f",{_tickets(run, about if op == CONFIRM else answer)}{seating.given.get(int(answer), '')}"
    return text + ',"outcome":"ok"}\n'


def _audit(run: Run, seating: Seating) -> Iterator[str]:
    yield f'{{"event":"show","capacity":{run.capacity},"versions":{run.version[-1]}{seating.hall}}}\n'
    for step in np.flatnonzero(run.committed | (run.expires >= 0)).tolist():
        version, hold = run.version[step], run.expires[step]
        if hold >= 0:
            before = version - run.committed[step]
            about = f'"hold":"{_name("h", hold)}","quantity":{run.quantity[hold]},{_tickets(run, hold)}'
            yield f'{{"version":{before},"kind":"expired",{about}{seating.given.get(hold, "")}}}\n'
        if run.committed[step]:
            op, about = run.op[step], run.about[step]
            record = f'{{"version":{version},"kind":"{_KINDS[op]}","key":"k-{run.key[step]}",{_names(run, step)}'
            record += f',"quantity":{run.quantity[step]},{_tickets(run, step if about < 0 else about)}'
            record += seating.given.get(step, "")
            if op == HOLD:
                due = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(microseconds=step + LIFETIME)
                record += f',"expires_at":"{due.isoformat()}"'
            yield record + "}\n"


def _names(run: Run, step: int) -> str:
    """The order and the hold that the operation of a step makes or names."""
    op, about = run.op[step], run.about[step]
    names = []
    if op in (BUY, CONFIRM, CANCEL):
        names.append(f'"order":"{_name("o", about if op == CANCEL else step)}"')
    if op in (HOLD, CONFIRM, RELEASE):
        names.append(f'"hold":"{_name("h", step if op == HOLD else about)}"')
    return ",".join(names)


def _name(letter: str, step: int) -> str:
    """As the service makes them: a letter and sixteen hexadecimal digits in no order."""
    return f"{letter}{int(step) * 0x9E3779B97F4A7C15 % 2**64:016x}"


def _tickets(run: Run, step: int) -> str:
    numbers = range(run.number[step], run.number[step] + run.quantity[step])
    return f'"tickets":[{",".join(map(str, numbers))}]'
