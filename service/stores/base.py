"""The base class of stores, and the capabilities that only some stores have: each guard needs one of them or none."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import ClassVar, NamedTuple

from service.catalogue import STORES
from service.errors import Problem
from service.rules.inventory import Command, Event, Outcome, Record, View
from service.runtime.epoch import Mode
from service.runtime.notifications import Blocked, ignore
from service.settings import Settings
from service.stores.halls import Halls

FOREVER = datetime.max.replace(tzinfo=UTC)


class Store(ABC):
    """What every store offers. All methods may be called by many threads or greenlets at once.

    Errors, of each method that names an event: ``Problem("unknown_event")`` where there is none;
    ``Problem("corrupt_document")`` where what is kept cannot be read.
    """

    name: ClassVar[str]
    spans_events: ClassVar[bool]
    """Whether ``append`` takes several views."""
    scope: ClassVar[str]
    durable: ClassVar[bool]
    safe_guard: ClassVar[str]
    default_batch: ClassVar[int]
    halls: Halls
    """Where it keeps the halls of its events; one is kept before the event that names it is made."""

    def __init_subclass__(cls) -> None:
        """Give the class the traits that the catalogue has under its name."""
        traits = STORES[cls.name]
        cls.scope, cls.durable = traits.scope, traits.durable
        cls.safe_guard, cls.default_batch = traits.safe_guard, traits.default_batch
        cls.spans_events = traits.spans_events

    @abstractmethod
    def __init__(self, settings: Settings) -> None: ...

    @classmethod
    def most_together(cls, settings: Settings) -> int:
        """Most commands that a transaction decides: as the settings say, or else as fits the store. What thinks is an
        experiment about the guard: one command after the other."""
        return settings.batch or (1 if settings.think.high_ms else cls.default_batch)

    @abstractmethod
    def create(self, event: Event) -> None:
        """Make an event without records, durably; ``Problem("event_exists")`` where there is one.

        Errors: ``storage_full``, ``storage_refused`` (definite); ``CommitFailed``.
        """

    @abstractmethod
    def delete(self, event: str) -> None:
        """Remove an event, durably; to be called while no transaction runs. Errors: as of ``create``."""

    def delete_at(self, event: str, version: int) -> None:
        """``delete``, of an event that was read at this version.

        Override this where transactions can run meanwhile; another version is then refused with ``contention``
        (definite).
        """
        self.delete(event)

    @abstractmethod
    def names(self) -> list[str]:
        """The ids of all events, sorted."""

    @abstractmethod
    def view(
        self, event: str, commands: Sequence[Command] = (), now: datetime | None = None, *, order: str | None = None
    ) -> View:
        """What deciding the commands at the instant ``now`` needs to see, all of it of one version:

        - the counters: ``version``, ``sold``, ``held``, ``next_ticket``;
        - ``keys``: for each command's key the record that it committed. An empty key is nobody's: ``expired`` records
          have it, and it finds none;
        - ``orders``: as it stands, the order of each ``Cancel``, and ``order``, which a reader asks for;
        - ``holds``: as it stands, whatever became of it, the hold of each ``Confirm`` and ``Release``;
        - ``due``: with ``now``, all open holds whose ``expires_at`` is not after it, whether or not a command names
          them, sorted by ``Held.ends``: the expiry to the microsecond, then the version of the record that made the
          hold. Whoever decides expires them all, so one that is missing here is sold to nobody, and one that is here
          and not open is expired twice;
        - ``hall`` and ``seats`` of an event that has a hall, as ``View`` says. No store refuses a second owner of a
          seat: that is for the guard;
        - ``bought``: where the event limits buyers, for the buyer of each ``Sell`` and ``Hold``, *and* for the buyer of
          each hold that is in ``holds`` (a late confirmation is a sale to them), the tickets in open orders and holds.

        ``now`` is the caller's, taken once a transaction; a store must not ask a clock of its own, or what is due would
        be another thing for the view than for the decision. A view without ``now`` is for looking, not for deciding.
        """

    @abstractmethod
    def seats(self, event: str) -> View:
        """The counters and the state of every seat of the hall, all of one version. Errors: ``no_hall``."""

    @abstractmethod
    def append(self, views: Sequence[View]) -> Sequence[object]:
        """Let each event hold what its view read, and after it the view's ``fresh`` records. Returns the positions to
        make durable, in the order of the views. Visible to every later ``view`` when it returns.

        Several views are those of a cart, which its sales name: it comes into all of its events or into none, whoever
        is killed and whenever the power goes. Whoever reads two of them while this runs may see the cart in one of them
        already. Errors: ``storage_full``, ``storage_refused`` (definite), and then nothing was written in any;
        ``CommitFailed``.
        """

    @abstractmethod
    def make_durable(self, event: str, position: object) -> None:
        """Return when everything up to ``position`` (from ``append``, or a view's ``source``) survives a power cut.

        Errors: ``CommitFailed`` where the disk failed; whoever calls this closes the store for all processes then.
        """

    @abstractmethod
    def audit(self, event: str) -> tuple[Event, Iterable[Record], object]:
        """The event, all its records in the order in which they were written, and the position they reach to."""

    def is_unfinished(self, event: str) -> bool:
        """Whether a process has begun to write a cart into the event and has not ended: it still writes, or it was
        killed.

        Whoever decides next about the event (a ``view`` with a ``now``) finishes what a killed one left; where nobody
        does, the sweeper asks this.
        """
        return False

    def next_expiry(self, event: str) -> datetime | None:
        """When the first of an event's open holds ends; None where none is open. For the sweeper, not for deciding.

        Asked about every second. Override this where building a view is expensive.
        """
        due = self.view(event, now=FOREVER).due
        return due[0].expires_at if due else None

    def tidy(self) -> None:  # noqa: B027
        """Remove what killed processes left behind; called by the first process of a new master, alone."""

    def close(self) -> None:  # noqa: B027
        """Let go of files and connections."""


class Conflict(Exception):
    """Somebody else committed since the view was read; nothing was written."""


class OneRefused(Problem):
    """The engine refused a transaction because of one of its commands: it cannot keep a value, or has a rule of its
    own. Nothing was written. Without that command it may accept the others."""


class ComparesAndSets(ABC):
    """A store that can write on the condition that nothing was committed since the views were read."""

    @abstractmethod
    def append_if_unchanged(self, views: Sequence[View]) -> Sequence[object]:
        """As ``append``; raises ``Conflict`` where any of the events is not at its view's version any more."""


class LockStatement(NamedTuple):
    """How an engine's transaction begins, and what it locks before anything is read."""

    isolation: str
    """The isolation level, or in SQLite the kind of transaction."""
    statement: str
    """In the engine's language; ``{event}`` is the event's id. Empty: nothing is locked."""


class Transactional(ABC):
    """A store whose engine has transactions, and locks that last until they end."""

    @abstractmethod
    def transaction(
        self, event: str, lock: LockStatement, deadline: float, blocked: Blocked = ignore
    ) -> AbstractContextManager[object]:
        """A transaction that begins with this lock; what is read and appended inside is committed at its end.

        Errors: ``lock_timeout`` (definite); ``Conflict``
        where the engine refused it because of another one: nothing was written, it can be run again; in the
        commit ``outcome_unknown`` (indefinite).
        """

    @property
    @abstractmethod
    def in_transaction(self) -> bool:
        """Whether this thread or greenlet is inside such a transaction already."""


class CommitsAtomically(ABC):
    """A store whose engine decides: each command is a conditional statement in the engine's own language."""

    translates: ClassVar[frozenset[type[Command]]]
    """The kinds of commands that there is a statement for."""

    @abstractmethod
    def commit_atomically(
        self, event: str, commands: Sequence[Command], now: datetime, deadline: float, blocked: Blocked = ignore
    ) -> tuple[list[Outcome], object]:
        """Decide and write the commands in order, in one commit; the outcomes, as ``inventory.decide_all`` has them,
        and the position to make durable. Before the first command that is no replay, the holds that are due at ``now``
        expire, a refused command's too.

        Errors: ``lock_timeout`` (definite), and as of
        ``append``.
        """


class LateToken(Exception):
    """The fencing token is not the newest any more: somebody else has the lease; nothing was written."""


class GrantsLeases(ABC):
    """A store whose engine lends the right to write for a time, after which it lends it to somebody else.

    Errors of each: ``engine_unreachable``, ``engine_refused`` (definite), ``outcome_unknown`` (of the lease, which then
    may be held by nobody until it ends).
    """

    @abstractmethod
    def take_lease(self, event: str, owner: str, lease_ms: int) -> bool:
        """Take the event's lease for ``lease_ms``, from when the engine grants it; returns False if somebody has it."""

    @abstractmethod
    def take_fenced_lease(self, event: str, lease_ms: int) -> str | None:
        """The same; returns a token that no earlier holder had, or None where somebody has the lease."""

    @abstractmethod
    def give_lease_back(self, event: str, owner: str) -> bool:
        """Give the lease back if ``owner`` (or the token) still has it. Returns whether it had."""

    @abstractmethod
    def append_fenced(self, views: Sequence[View], tokens: Sequence[str]) -> Sequence[object]:
        """As ``append``, with the token of each event; raises ``LateToken``, and has written nothing in any, where a
        newer one was given out in one of them."""


class SharesSwitch(ABC):
    """A store whose engine also keeps the guard's switch, so that processes on many hosts follow one.

    Such a store is built without any input or output: its engine may be away when a worker starts again. Every view
    and every append looks in the engine, in the same transaction or script, whether ``epoch.taking_part`` (where not
    None) is the engine's mode, and raises ``epoch.Switched``, having written nothing, where it is not: another
    guard, another epoch, or another generation. ``delete`` raises the generation together with what it removes.
    """

    @abstractmethod
    def set_up(self) -> str:
        """Make what the store needs in the engine, or bring it to this version; says what was done. No sale is lost.

        Errors: ``RefusedToStart`` where it cannot be reached, or a later version is there; nothing was changed.
        """

    @abstractmethod
    def check(self) -> list[str]:
        """Look at the engine before the first sale of a master. Returns a warning for each of its settings that can
        lose what was acknowledged.

        Errors: ``RefusedToStart`` where it cannot be reached, or its schema is missing or of another version.
        """

    @abstractmethod
    def mode(self) -> Mode | None:
        """What the engine says now; None where no epoch has begun. Errors: ``engine_unreachable``."""

    @abstractmethod
    def begin_epoch(self, guard: str, timeout_s: float) -> Mode:
        """Begin the next epoch, drained: when it returns no transaction of an older one can commit a write any more.

        Errors: ``switch_timeout`` (definite, unchanged), ``engine_unreachable`` (definite), ``outcome_unknown``
        (indefinite).
        """
