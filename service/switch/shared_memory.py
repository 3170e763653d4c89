"""The state that all processes of one data directory share besides the data: the guard, the epoch, an open store.

``switch`` changes the guard everywhere at once. Every transaction takes part in an epoch: a process with
transactions inside holds a shared flock on the data directory, so a switch gets the exclusive flock that it needs
exactly when every transaction of the older epochs has ended, in all processes; the kernel frees the flock of a killed
worker. So two guards never overlap, and no late transaction of the old guard writes into the new epoch. The lock is on
the directory and not on a file in it: nobody can remove or replace the directory without all that is sold in it.

The order that makes it safe: a transaction first takes its shared lock and *then* reads the epoch; a switch takes
the exclusive lock and *then* writes it. A transaction that saw "nobody is switching" just before a switch began
either has its shared lock, and the switch waits for it, or does not get it, and looks again.

New transactions wait while a switch is due (else a busy service could keep it waiting for ever). That wish is a
deadline on the machine's monotonic clock, not a flag: the wish of a switcher that is killed expires.

All processes read one small memory-mapped file on every request, ``control`` (see ``control_file``). When somebody
removes or replaces it, the processes that have mapped it still agree with each other, and a new process would not. So
a transaction that has its shared lock looks whether the file that it has mapped still has the name. If not, it ends,
and under the exclusive lock it makes the file again from its own words: no transaction is inside then, and none begins
before it has the new file. A new process that finds no such file waits for those that may have it; where none comes it
takes the store for closed, since no process is left that knows. ``guard.json`` has the same for people, and for the
next master.

Nothing here blocks the thread in the kernel: gevent's hub must go on, so locks are tried and waits sleep.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextvars import Token
from pathlib import Path
from typing import Annotated

import msgspec

from service.errors import Problem, RefusedToStart
from service.runtime.epoch import Mode, taking_part
from service.runtime.files import (
    close_directory,
    open_directory,
    reopen_directory,
    replace_durably,
    storage_problems,
    try_flock,
    unlock_directory,
)
from service.runtime.notifications import Blocked, ignore
from service.switch.control_file import (
    CLOSED,
    EPOCH,
    GENERATION,
    LAST,
    LOCK_SERIES,
    WISH,
    Slot,
    Words,
    fingerprint,
    open_words,
    write_words,
)

OTHERS_PATIENCE_S = 5.0
"""How long a new process waits for others to make ``control`` again; they look every second."""
_POLL_S = 0.001
_LONGEST_WISH_NS = 3_600 * 10**9

log = logging.getLogger("lastseat")


class _Saved(msgspec.Struct):
    guard: str
    epoch: Annotated[int, msgspec.Meta(ge=0, le=LAST)]
    master: str
    store: str = ""


class Control:
    """This process's access to the control files of a data directory. Threads and greenlets share one."""

    def __init__(self, directory: Path, store: str = "") -> None:
        """``store`` names the store that the directory belongs to, without a password; empty: any store."""
        self._directory = directory
        self._saved_path = directory / "guard.json"
        self._path = os.fspath(directory / "control")
        self._store = store
        self._lock_fd = open_directory(directory)
        self._words = open_words(self._path) or Words()
        self._mutex = threading.Lock()
        self._inside = 0
        self._mode = Mode("", -1, -1)
        self._master = ""
        self._kept: dict[Path, bytes] = {}

    def start(
        self,
        guard: str,
        master: str,
        timeout_s: float,
        tidy: Callable[[], None] = lambda: None,
        *,
        given: bool = True,
        respawned: bool = False,
    ) -> bool:
        """Begin an epoch of ``guard`` if ``master`` is new here; a respawned worker follows the others.

        Whether the guard was ``given`` or is the default makes a difference where an engine has the switch.
        Returns whether this process was the first of its master; then ``tidy`` was called while nobody wrote.
        Errors: ``switch_timeout`` (definite); ``RefusedToStart`` where the control files are damaged, or where
        processes with another store run here; those of ``SharesSwitch`` where an engine has the switch.
        """
        self._master = master
        self._look_before(master)
        others_knew = self._wait_for_words(respawned)
        if self.follows(master):
            # Not ``alone``: a worker that respawns in the middle of a sale must not hold up the others' purchases.
            return False
        with self._excluding(timeout_s):
            if self._words.fd >= 0:
                self._reconcile()
            else:
                self._words = open_words(self._path) or self._words
            self.refuse_another_store()
            if self.follows(master):
                return False
            saved = self._read_saved()
            if not self._words.is_at(self._path):
                self._begin_words(others_knew)
            for name in ("guard.json", "control"):
                for leftover in self._directory.glob(f"{name}.*.tmp"):
                    leftover.unlink(missing_ok=True)
            tidy()
            self._begin_for_all(guard, timeout_s, given=given)
            self._begin_epoch(guard, max(self._words[EPOCH], saved.epoch if saved else 0) + 1, master)
            while not self._words.be_here():
                time.sleep(_POLL_S)
            return True

    def _look_before(self, master: str) -> None:
        """Look at what all nodes share; to be called before this process waits for any other."""

    def _begin_for_all(self, guard: str, timeout_s: float, *, given: bool) -> None:
        """Begin an epoch for all nodes; to be called by the first process of a master, while no other one writes."""

    def refuse_another_store(self) -> None:
        """Errors: ``RefusedToStart`` where the directory is in use for another store; nothing was changed."""
        theirs = self._words.slot(self._words[EPOCH])
        if not self._is_of_another_store(theirs) or not self._words.is_shared():
            return
        saved = self._read_saved()
        known = repr(saved.store) if saved and fingerprint(saved.store) == theirs.store else "of another kind"
        raise RefusedToStart(
            f"a server with the store {known} is running on the data directory {self._directory}, and LASTSEAT_STORE "
            f"names {self._store!r}. Nothing was changed. Stop that server first, or let LASTSEAT_DATA name another "
            "directory."
        )

    def mode(self) -> Mode:
        """The guard and the epoch that a transaction starting now would see.

        Errors: ``storage_refused`` (definite) where another store has taken the directory over.
        """
        mode, words = self._mode, self._words
        while (now := words.counted()) != mode[1:]:
            slot = words.slot(now[0])
            if words[EPOCH] != now[0]:
                continue  # the slot may have been another epoch's by then
            if self._is_of_another_store(slot):
                raise Problem(
                    "storage_refused",
                    f"Another store has taken {self._directory} over. Nothing was written. Stop this service.",
                )
            # Return what was read here: another thread may replace ``_mode`` with an older one meanwhile.
            mode = self._mode = Mode(slot.guard, *now)
        return mode

    @property
    def epoch(self) -> int:
        return self._words[EPOCH]

    def transaction(self, deadline: float, blocked: Blocked = ignore) -> TakingPart:
        """Take part in the current epoch; waits while the guard is being switched, and calls ``blocked`` once then.

        Errors: ``switching`` (definite) past ``deadline`` (monotonic seconds); ``store_closed``, ``storage_refused``
        (definite).
        """
        return TakingPart(self, deadline, blocked)

    def enter(self, deadline: float, blocked: Blocked = ignore) -> Mode:
        """Begin a transaction; ``leave`` must follow. Errors: those of ``transaction``; then nothing was begun."""
        while True:
            self._enter(deadline, blocked)
            try:
                if self._words.is_at(self._path):
                    self.refuse_if_closed()
                    return self.mode()
            except BaseException:
                self.leave()
                raise
            self.leave()
            self.look_after(deadline)

    def keep(self, path: Path, content: bytes) -> None:
        """Let ``look_after`` without a deadline make this file again where it was removed."""
        self._kept[path] = content

    def look_after(self, deadline: float | None = None) -> None:
        """Make ``control`` again where it was removed or replaced, from what this process knows; not to be called
        inside a transaction. Without a ``deadline`` it waits for a second at most.

        Errors: ``switching``, ``storage_full``, ``storage_refused`` (definite).
        """
        for path, content in self._kept.items() if deadline is None else ():
            if not path.exists():
                with storage_problems():
                    replace_durably(path, content)
        if not self._words.is_at(self._path):
            patience_s = 1.0 if deadline is None else max(0.0, deadline - time.monotonic())
            with self._excluding(patience_s, "switching"):
                self._reconcile()

    def switch(self, guard: str, timeout_s: float, blocked: Blocked = ignore) -> Mode:
        """Make ``guard`` the guard of all processes; returns when no transaction of an older epoch is left. If one is,
        ``blocked`` is called once, when all that come later wait.

        Errors: ``switch_timeout``, ``storage_full``, ``storage_refused`` (definite): the guard is unchanged.
        """
        with storage_problems(), self.alone(timeout_s, blocked):
            self._begin_epoch(guard, self._words[EPOCH] + 1, self._saved_master())
            return self.mode()

    @contextlib.contextmanager
    def alone(self, timeout_s: float, blocked: Blocked = ignore) -> Iterator[None]:
        """No transaction in any process inside this block.

        Errors: ``switch_timeout``, ``storage_full``, ``storage_refused`` (definite).
        """
        with self._excluding(timeout_s, blocked=blocked):
            self._reconcile()
            yield

    @contextlib.contextmanager
    def _excluding(self, timeout_s: float, code: str = "switch_timeout", blocked: Blocked = ignore) -> Iterator[None]:
        deadline = time.monotonic() + timeout_s
        wish = time.monotonic_ns() + int(timeout_s * 1e9)
        with storage_problems():
            # A descriptor of its own: this process's transactions hold the shared lock through the other one.
            fd = reopen_directory(self._lock_fd)
        try:
            while not _try_lock(fd, fcntl.LOCK_EX):
                if time.monotonic() >= deadline:
                    raise Problem(code, f"They did not end within {timeout_s:g} s.", retry_after_s=1)
                self._words[WISH] = wish
                blocked()
                blocked = ignore
                time.sleep(_POLL_S)
            yield
        finally:
            self._words[WISH] = 0
            close_directory(fd)

    def forget_events(self) -> None:
        """Make every process forget what it remembers about events; to be called ``alone``."""
        self._words[GENERATION] += 1

    @property
    def lock_series(self) -> int:
        return self._words[LOCK_SERIES]

    def renew_locks(self) -> int:
        """Let no lock file that was made before count any more; to be called ``alone``. Returns the new series."""
        self._words[LOCK_SERIES] += 1
        return self._words[LOCK_SERIES]

    def close_store(self) -> None:
        """After a failed sync nothing may be acknowledged any more, by no process, until a new master starts."""
        # The word names the master and not the epoch: only the epoch of a new master opens the store again.
        self._words[CLOSED] = self._words.slot(self._words[EPOCH]).master

    def refuse_if_closed(self) -> None:
        """Errors: ``store_closed`` (definite)."""
        if self.closed:
            raise Problem("store_closed", "A write to the disk failed; restart the service when it is mended.")

    @property
    def closed(self) -> bool:
        closed = self._words[CLOSED]
        return closed != 0 and closed == self._words.slot(self._words[EPOCH]).master

    def refresh(self) -> None:
        """Nothing to do: the words in memory are current, and no transaction ever gets ``Switched``."""

    def close(self) -> None:
        self._words.close()
        close_directory(self._lock_fd)

    # -- the epoch's lock ---------------------------------------------------------------------------------------------

    def _enter(self, deadline: float, blocked: Blocked) -> None:
        while True:
            with self._mutex:
                if not self._somebody_wishes() and (self._inside or _try_lock(self._lock_fd, fcntl.LOCK_SH)):
                    self._inside += 1
                    return
            if time.monotonic() >= deadline:
                raise Problem("switching", retry_after_s=1)
            blocked()
            blocked = ignore
            time.sleep(_POLL_S)

    def leave(self) -> None:
        """The transaction has ended."""
        with self._mutex:
            self._inside -= 1
            if not self._inside:
                unlock_directory(self._lock_fd)

    def _somebody_wishes(self) -> bool:
        left = self._words[WISH]
        return left != 0 and 0 < left - time.monotonic_ns() < _LONGEST_WISH_NS

    # -- the words ----------------------------------------------------------------------------------------------------

    def follows(self, master: str) -> bool:
        """Whether an epoch of this master has begun; then this process is seen to be here."""
        if not self._is_epoch_of(master):
            return False
        self.refuse_another_store()
        while not self._words.be_here():
            time.sleep(_POLL_S)
        # Once more: before this process was seen here, another master may have found no process.
        return self._is_epoch_of(master)

    def _is_epoch_of(self, master: str) -> bool:
        epoch = self._words[EPOCH]
        slot = self._words.slot(epoch)
        return epoch > 0 and slot.master == fingerprint(master) and not self._is_of_another_store(slot)

    def _is_of_another_store(self, slot: Slot) -> bool:
        return bool(self._store) and slot.store not in (0, fingerprint(self._store))

    def _wait_for_words(self, respawned: bool) -> bool:
        """Where ``control`` is missing and other processes of this master may have mapped it, wait until they have made
        it again. Returns True where there may have been others and none made it."""
        if self._words.is_at(self._path):
            return False
        if not respawned:
            # A respawned worker does not read the file: it may have been damaged together with ``control``.
            saved = self._read_saved()
            if saved is None or saved.master != self._master:
                return False
        deadline = time.monotonic() + OTHERS_PATIENCE_S
        while (found := open_words(self._path)) is None and time.monotonic() < deadline:
            time.sleep(_POLL_S)
        self._words = found or self._words
        return found is None

    def _begin_words(self, others_knew: bool) -> None:
        """Make ``control`` where there is none; to be called while no transaction runs."""
        fresh = Words()
        # Others may remember numbers of an earlier file: no number may be counted twice.
        fresh[GENERATION] = fresh[LOCK_SERIES] = time.time_ns()
        if others_knew:
            log.warning(
                "%s was removed, and no process is left that knew whether the store was closed: it is closed until the "
                "service is restarted. Nothing that was sold is lost",
                self._path,
            )
            fresh[CLOSED] = fingerprint(self._master)
        self._words = write_words(self._path, fresh)

    def _reconcile(self) -> None:
        """Let this process use the words of the file ``control``; to be called while no transaction runs.

        A process that gives a file up marks it, for all that have it mapped. So a file that is not marked is current,
        and a file that has its name instead is foreign, unless a process that knew of no other began a later epoch in
        it.
        """
        mine = self._words
        if mine.is_at(self._path):
            return
        with storage_problems():
            if not os.path.samestat(self._directory.stat(), os.fstat(self._lock_fd)):
                raise Problem("storage_refused", "The data directory was replaced; restart the service.")
            found = open_words(self._path)
            if found is not None and (mine.given_up or found[EPOCH] > mine[EPOCH]):
                theirs, known = found, "this process follows the file that is there now"
            elif mine.given_up:
                raise Problem("storage_refused", f"{self._path} was removed. Other processes make it again; try again.")
            else:
                theirs, known = write_words(self._path, mine), "it was made again; nothing was lost"
        for old in (mine, found):
            if old is not None and old is not theirs:
                old.give_up()
                old[WISH] = 0
        # Read after the old file was given up: a process may have closed the store in it until then.
        if mine[CLOSED] == theirs.slot(theirs[EPOCH]).master:
            theirs[CLOSED] = mine[CLOSED]
        self._words = theirs
        theirs.be_here()
        log.warning("%s was removed or replaced while the service runs: %s", self._path, known)

    def _begin_epoch(self, guard: str, epoch: int, master: str) -> None:
        saved = _Saved(guard, epoch, master, self._store)
        replace_durably(self._saved_path, msgspec.json.encode(saved) + b"\n")
        self._words.begin_epoch(epoch, Slot(fingerprint(master), fingerprint(self._store), guard))

    def _read_saved(self) -> _Saved | None:
        try:
            return msgspec.json.decode(self._saved_path.read_bytes(), type=_Saved)
        except FileNotFoundError:
            return None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise RefusedToStart(
                f"{self._saved_path} is damaged ({error}). It holds only the state of the guard's switch: "
                "stop the service, remove that file and start again."
            ) from None

    def _saved_master(self) -> str:
        """The master whose workers follow the switch; this process's own if the file is damaged: it is written next."""
        try:
            saved = self._read_saved()
        except RefusedToStart:
            return self._master
        return saved.master if saved else self._master


class TakingPart:
    """A transaction's part in an epoch. Written by hand: ``@contextmanager`` is too slow for every purchase."""

    __slots__ = ("_blocked", "_control", "_deadline", "_token")

    def __init__(self, control: Control, deadline: float, blocked: Blocked) -> None:
        self._control = control
        self._deadline = deadline
        self._blocked = blocked

    def __enter__(self) -> Mode:
        mode = self._control.enter(self._deadline, self._blocked)
        self._token: Token[Mode | None] = taking_part.set(mode)
        return mode

    def __exit__(self, *_: object) -> None:
        taking_part.reset(self._token)
        self._control.leave()


def _try_lock(fd: int, kind: int) -> bool:
    """Errors: ``storage_refused`` (definite) where it cannot be locked at all."""
    with storage_problems():
        return try_flock(fd, kind)
