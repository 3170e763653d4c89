"""Names and traits of all stores and guards, as data. It imports nothing of ours and has no logic.

The classes of stores and guards take their traits from here, and the lab imports nothing else of the service: so each
trait stands once. A trait cannot vouch for itself: what each guard must hold is a table of its own in the tests.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal

BENCHMARK_BATCH = 256
"""Most purchases decided together in a benchmark: more than ever wait in one process at 64 clients."""


HOST_LINE_WORKERS = ("sync",)
"""Worker classes whose processes have their purchases decided together by one process of the host, where there are
several on a durable store that decides together at all; in all others each process decides what waits in it."""


@dataclass(frozen=True, slots=True)
class Plain:
    """The plain program of a store's engine, beside which ``lastseat bench --plain`` measures it, and the marks."""

    program: str
    """A module in ``examples/plain``, or the ceiling ``bare``: an endpoint that only answers."""
    beside: str
    """What the ratio is of, in a few words."""
    marks: tuple[float | None, float | None, float | None, float | None]
    """How many times as much is to be sold, under each of the benchmark's shapes: sync with few and with many
    processes, gthread, gevent."""
    in_quick: bool = True


@dataclass(frozen=True, slots=True)
class Benchmarked:
    """A guard under which ``lastseat bench`` measures a store, and the targets that were set beforehand."""

    guard: str
    batches: tuple[int, ...] = (1, BENCHMARK_BATCH)
    """Most purchases decided together: each number is measured, the largest stands last."""
    not_in_quick: tuple[int, ...] = ()
    """Those that ``--quick`` leaves out."""
    of_ceiling: float | None = None
    """The share of the ceiling that the largest batch is to reach."""
    of_ceiling_under_sync: float | None = None
    """The same under the worker model sync."""
    of_one_by_one: float | None = None
    """How many times as much the largest batch is to sell as purchases that are decided one by one."""
    reference_sells: float | None = None
    """How many times as much the ``REFERENCE`` is to sell."""
    plain: Plain | None = None


_EVERY_STORE_LOSES_UNDER = ("lying-disk",)


@dataclass(frozen=True, slots=True)
class StoreTraits:
    """What is so of a store, whatever its settings are."""

    path: str
    """Where its class is: ``module:class``."""
    scope: Literal["process", "host", "cluster"]
    """Which processes see the same data."""
    safe_guard: str
    """The guard that ``on`` stands for, and that all events obey which were not made for the lab."""
    durable: bool = True
    """Whether ``make_durable`` promises that the data survives a power cut."""
    default_batch: int = 1
    """Most commands decided together, where the settings do not say."""
    spans_events: bool = True
    """Whether a cart over several events comes into all of them or into none."""
    writes_own_files: bool = False
    """Whether it writes its files itself, without a library or an engine: so a write can be refused step by step."""
    schemes: tuple[str, ...] = ()
    """How its addresses begin. A store that has any is kept by an engine, and needs an address."""
    example: str = ""
    """An address of it, for messages."""
    advice: str = ""
    """What it is for, and when another one is better: sentences for the person who starts an office."""
    benchmark: tuple[Benchmarked, ...] = ()
    """Under which guards a benchmark measures it."""
    refuses_under: tuple[str, ...] = (
        *("no-descriptors", "oom-kill", "eio", "eio-for-good", "full-disk"),
        *("power-cut", "torn-write"),
    )
    """Under which faults of the lab it may refuse definitely for a time. Under all others it sells on."""
    loses_under: tuple[str, ...] = _EVERY_STORE_LOSES_UNDER
    """Under which faults of the lab it is known to lose orders that it has acknowledged, under every guard."""
    loses_with: tuple[str, ...] = ()
    """Settings of its engine with which it is known to lose such orders under ``power-cut``."""


@dataclass(frozen=True, slots=True)
class GuardTraits:
    """What is so of a guard in every store that it fits."""

    class_name: str
    """Its class, in the module of ``service.guards`` that has the guard's name."""
    scope: Literal["nobody", "threads", "host", "everybody"]
    """Among whom no transaction spoils another one: the threads and greenlets of a process, all processes of a host,
    or everybody who reaches the store. A guard that excludes nobody keeps this by refusing late transactions."""
    excludes: str
    """Whom it excludes, in a few words."""
    stores: tuple[str, ...] = ()
    """The stores that it fits; empty: all."""
    is_lease: bool = False
    """Whether it is lent for a time, and may end while its holder is still inside."""
    refuses_late_writes: bool = True
    """Whether the store refuses the write of a holder whose lease has ended."""
    is_leaky: bool = False
    """Whether it keeps its promise only mostly: a fault to be found, not a guard to use."""
    loses_under: tuple[str, ...] = ()
    """Under which faults of the lab it is known to sell twice or to lose, with several processes."""
    may_lose_under: tuple[str, ...] = ()
    """Under which faults it is chance whether it does."""
    can_be_paused: bool = True
    """Whether there is a place between reading and writing, at which a holder could stop."""
    is_waited_for: bool = True
    """Whether it is a lock: a transaction has to wait while another one is inside."""
    commits_when_given_back: bool = False
    """Whether its lock ends with the engine's transaction: what is written is there for others from then on."""
    words: str = ""
    """How a report says that it acts; empty: with the guard of that name."""


_ENGINES_FAULTS = (
    *("no-descriptors", "oom-kill", "kill-node", "cut-node", "cut-one-way", "loss"),
    *("restart-engine", "kill-engine", "read-only", "full-engine", "power-cut", "torn-write"),
)

STORES: dict[str, StoreTraits] = {
    "json": StoreTraits(
        "service.stores.json.document:JsonDocuments",
        scope="host",
        safe_guard="file",
        default_batch=64,
        writes_own_files=True,
        advice="One JSON document an event, to be read by people; a write replaces its newest part. For real sales on "
        "one host take --store journal, which is faster; for several hosts an address of PostgreSQL, Valkey or Redis.",
        benchmark=(
            Benchmarked(
                "file",
                plain=Plain("file_lock", "× plain file lock and counter (which is not durable)", (0.8, 1.3, 2.0, 2.0)),
            ),
        ),
    ),
    "journal": StoreTraits(
        "service.stores.journal.store:Journal",
        scope="host",
        safe_guard="file",
        default_batch=64,
        writes_own_files=True,
        advice="An append-only ledger an event: for real sales on one host. For several hosts take an address of "
        "PostgreSQL, Valkey or Redis.",
        benchmark=(
            Benchmarked(
                "file",
                (1, 8, BENCHMARK_BATCH),
                not_in_quick=(8,),
                of_ceiling=0.85,
                of_ceiling_under_sync=0.7,
                plain=Plain("bare", "of bare Flask", (0.45, 0.58, 0.62, 0.65)),
            ),
        ),
    ),
    "memory": StoreTraits(
        "service.stores.memory:Memory",
        scope="process",
        safe_guard="thread",
        durable=False,
        spans_events=False,
        advice="Nothing is kept when it stops: for tests alone. For real sales on one host take --store journal.",
    ),
    "sqlite": StoreTraits(
        "service.stores.sqlite.store:Sqlite",
        scope="host",
        safe_guard="immediate",
        default_batch=64,
        advice="One SQLite database, to be asked with SQL; all events share one lock. For many purchases at once on "
        "one host take --store journal; for several hosts an address of PostgreSQL, Valkey or Redis.",
        benchmark=(
            Benchmarked(
                "immediate",
                not_in_quick=(1,),
                reference_sells=1.5,
                plain=Plain("sqlite", "× plain", (1.2, 1.6, 2.0, 2.0)),
            ),
            Benchmarked("atomic", not_in_quick=(1,)),
        ),
    ),
    "postgres": StoreTraits(
        "service.stores.postgres.store:Postgres",
        scope="cluster",
        safe_guard="row",
        default_batch=64,
        schemes=("postgresql", "postgres"),
        refuses_under=(*_ENGINES_FAULTS, "failover-sync"),
        loses_under=(*_EVERY_STORE_LOSES_UNDER, "failover"),
        loses_with=("synchronous_commit=off",),
        example="postgresql://user@host/database",
        advice="For several hosts. On one host --store journal needs no engine.",
        benchmark=(
            Benchmarked(
                "row",
                of_ceiling=0.5,
                of_one_by_one=4.0,
                reference_sells=1.0,
                plain=Plain("postgres_row", "× plain row lock", (1.3, 2.0, 4.0, 4.0)),
            ),
            Benchmarked(
                "atomic",
                (BENCHMARK_BATCH,),
                not_in_quick=(BENCHMARK_BATCH,),
                plain=Plain("postgres_statement", "× plain statement", (None, None, None, None), in_quick=False),
            ),
        ),
    ),
    "redis": StoreTraits(
        "service.stores.redis.store:Redis",
        scope="cluster",
        safe_guard="atomic",
        default_batch=64,
        schemes=("redis", "rediss", "unix"),
        refuses_under=_ENGINES_FAULTS,
        loses_under=(*_EVERY_STORE_LOSES_UNDER, "failover"),
        loses_with=("appendfsync=everysec", "appendfsync=no", "appendonly=no"),
        example="redis://host:6379/0",
        advice="For several hosts; what was answered is as durable as the engine's appendfsync makes it. On one host "
        "--store journal needs no engine.",
        benchmark=(
            Benchmarked(
                "atomic",
                of_ceiling=0.7,
                reference_sells=1.0,
                plain=Plain("redis_script", "× plain script", (1.05, 1.3, 1.3, 1.25)),
            ),
        ),
    ),
}
DEFAULT_STORE = "json"
"""The store of an office whose settings name none."""
CUT_HOLDS_SHORT = ("clock-jump", "clock-skew")
"""Faults of the lab under which a hold may end before its time, in every store: it ends by the office's wall clock."""
REFERENCE = ("journal", "file")
"""The store and the guard that a benchmark holds against all others; its scaling is measured."""
GROWN = ("journal", "json")
"""The stores of which a benchmark measures what a purchase costs after many orders."""
GROWING, GROWN_MARKS = "json", {1_000: 0.9, 100_000: 0.7}
"""The one of them that has marks: from this number of orders on, the share of a fresh event's rate that it keeps."""

_lock_of_postgres = partial(GuardTraits, scope="everybody", stores=("postgres",), commits_when_given_back=True)

GUARDS: dict[str, GuardTraits] = {
    "none": GuardTraits("NoGuard", "nobody", excludes="nobody", is_waited_for=False, words="without a lock"),
    "thread": GuardTraits(
        "ThreadGuard",
        "threads",
        excludes="threads and greenlets of one process",
        words="with a lock inside each process",
    ),
    "file": GuardTraits(
        "FileGuard", "host", excludes="every process of one host", stores=("json", "journal"), words="with the lock"
    ),
    "leaky": GuardTraits(
        "LeakyGuard",
        "host",
        excludes="every process of one host, most of the time",
        stores=("json", "journal"),
        is_leaky=True,
    ),
    "immediate": GuardTraits(
        "ImmediateGuard", "host", excludes="every process of one host", stores=("sqlite",), commits_when_given_back=True
    ),
    "row": _lock_of_postgres("RowGuard", excludes="everybody else who sells this event, on every host"),
    "table": _lock_of_postgres("TableGuard", excludes="everybody else who sells any event, on every host"),
    "advisory": _lock_of_postgres("AdvisoryGuard", excludes="everybody who asks for the same number, on every host"),
    "serializable": _lock_of_postgres(
        "SerializableGuard", excludes="nobody: isolation level SERIALIZABLE, bounded retries"
    ),
    "optimistic": GuardTraits(
        "OptimisticGuard",
        "everybody",
        excludes="nobody: compare-and-set on the version, bounded retries",
        is_waited_for=False,
        stores=("journal", "sqlite", "postgres", "redis"),
    ),
    "atomic": GuardTraits(
        "AtomicGuard",
        "everybody",
        excludes="nobody: one conditional statement",
        is_waited_for=False,
        stores=("sqlite", "postgres", "redis"),
        can_be_paused=False,
    ),
    "lease": GuardTraits(
        "LeaseGuard",
        "everybody",
        excludes="holders of a lease, until one is paused past its end",
        stores=("redis",),
        is_lease=True,
        refuses_late_writes=False,
        loses_under=("pause", "clock-jump"),
        may_lose_under=("loss", "cut-node", "cut-one-way"),
    ),
    "fenced": GuardTraits(
        "FencedGuard",
        "everybody",
        excludes="holders of a lease; the store refuses a token that is not the newest",
        stores=("redis",),
        is_lease=True,
    ),
}

OFF = "none"
"""The guard that ``off`` stands for: the negative control."""
SCHEMES = {scheme: name for name, store in STORES.items() for scheme in store.schemes}
"""How an address begins, and the store that it is of."""
GUARDS_OF = {
    store: tuple(name for name, guard in GUARDS.items() if not guard.stores or store in guard.stores)
    for store in STORES
}
"""The guards that fit each store."""
