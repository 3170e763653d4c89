"""What all processes of one data directory share besides the data: which guard is on, the epoch, an open store.

``switch`` changes the guard everywhere at once. Every transaction takes part in an epoch: a process with
transactions inside holds a shared flock on ``control.lock``, so the exclusive flock that a switch needs is had
exactly when every transaction of the older epochs has ended, in all processes; a killed worker's flock is freed by
the kernel. So two guards never overlap, and no straggler of the old guard writes into the new epoch.

The order that makes it safe: a transaction first takes its shared lock and *then* reads the epoch; a switch takes
the exclusive lock and *then* writes it. A transaction that saw "nobody is switching" just before a switch began
either has its shared lock, and the switch waits for it, or does not get it, and looks again.

New transactions wait while a switch is due (else a busy service could keep it waiting for ever). That wish is a
deadline on the machine's monotonic clock, not a flag: a switcher that is killed leaves a wish that passes by itself.

What all processes read on every request stands in one small memory-mapped file: words of eight aligned bytes, so
that nobody sees half of one, and two places for a guard's name, used in turn. A switch writes the name of the next
epoch into the place that is not in use and then commits it with the epoch's word: killed in between, it has
changed nothing. ``guard.json`` says the same to people, and to the next master.

Nothing here blocks the thread in the kernel: gevent's hub must go on, so locks are tried and waits sleep.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import mmap
import os
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec

from service.errors import Problem, RefusedToStart
from service.files import replace_durably, storage_problems

_POLL_S = 0.001
_LONGEST_WISH_NS = 3_600 * 10**9
_LAST = 2**62  # a counter beyond this was not counted
_EPOCH, _GENERATION, _WISH, _CLOSED = 0, 8, 16, 24
_MASTER, _NAMES, _NAME_SIZE = 32, 40, 32
_SIZE = _NAMES + 2 * _NAME_SIZE


class Mode(NamedTuple):
    """Under what a transaction runs."""

    guard: str
    epoch: int
    generation: int
    """Grows whenever an event is deleted: what was remembered about events is to be forgotten then."""


class Switched(Exception):
    """A transaction met an epoch that is not the one it takes part in; nothing was written. It is to be run again."""


taking_part: ContextVar[Mode | None] = ContextVar("taking_part", default=None)
"""The mode that the transaction of this thread or greenlet takes part in, where the switch lives in an engine: each
view and each write of such a store looks, in the engine, whether it still holds. None: nobody has to look."""


class _Saved(msgspec.Struct):
    guard: str
    epoch: Annotated[int, msgspec.Meta(ge=0, le=_LAST)]
    master: str


class Control:
    """This process's hold on the control files of a data directory. Threads and greenlets share one."""

    def __init__(self, directory: Path) -> None:
        self._saved_path = directory / "guard.json"
        self._lock_fd = os.open(directory / "control.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        words_fd = os.open(directory / "control", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            if os.fstat(words_fd).st_size < _SIZE:
                _reserve(words_fd, _SIZE)
            self._words = mmap.mmap(words_fd, _SIZE)
        finally:
            os.close(words_fd)
        self._mutex = threading.Lock()
        self._inside = 0
        self._mode = Mode("", -1, -1)
        self._master = ""

    def start(
        self, guard: str, master: str, timeout_s: float, tidy: Callable[[], None] = lambda: None, *, given: bool = True
    ) -> bool:
        """Begin an epoch of ``guard`` if ``master`` is new here; a respawned worker follows the others.

        Whether the guard was ``given`` or is the default makes no difference here: files have no memory of their own.
        Returns whether this process was the first of its master; then ``tidy`` was called while nobody wrote.
        Errors: ``switch_timeout`` (definite); ``RefusedToStart`` where the control files are damaged.
        """
        self._master = master
        if self._follows(master):
            # Not ``alone``: a worker that respawns in the middle of a sale must not hold up the others' purchases.
            return False
        with self.alone(timeout_s):
            if self._follows(master):
                return False
            saved = self._read_saved()
            self._refuse_impossible_words()
            for leftover in self._saved_path.parent.glob(f"{self._saved_path.name}.*.tmp"):
                leftover.unlink(missing_ok=True)
            tidy()
            self._set_word(_CLOSED, 0)
            self._begin_epoch(guard, max(self._word(_EPOCH), saved.epoch if saved else 0) + 1, master)
            return True

    def _follows(self, master: str) -> bool:
        return self._word(_EPOCH) > 0 and self._word(_MASTER) == _fingerprint(master)

    def mode(self) -> Mode:
        """The guard and the epoch that a transaction starting now would see."""
        epoch, generation = self._word(_EPOCH), self._word(_GENERATION)
        if (epoch, generation) != self._mode[1:]:
            start = _NAMES + epoch % 2 * _NAME_SIZE
            name = self._words[start : start + _NAME_SIZE].rstrip(b"\0").decode()
            self._mode = Mode(name, epoch, generation)
        return self._mode

    @property
    def epoch(self) -> int:
        return self._word(_EPOCH)

    def transaction(self, deadline: float) -> _TakingPart:
        """Take part in the current epoch; waits while the guard is being switched.

        Errors: ``switching`` (definite) past ``deadline`` (monotonic seconds); ``store_closed`` (definite).
        """
        return _TakingPart(self, deadline)

    def enter(self, deadline: float) -> Mode:
        """Begin what ``transaction`` ends; ``leave`` must follow. Errors: as of ``transaction``, nothing was begun."""
        self._enter(deadline)
        try:
            self.refuse_if_closed()
            return self.mode()
        except BaseException:
            self.leave()
            raise

    def switch(self, guard: str, timeout_s: float) -> Mode:
        """Make ``guard`` the one of all processes; returns when no transaction of an older epoch is left.

        Errors: ``switch_timeout``, ``storage_full``, ``storage_refused`` (definite): the guard is unchanged.
        """
        with storage_problems(), self.alone(timeout_s):
            self._begin_epoch(guard, self._word(_EPOCH) + 1, self._saved_master())
            return self.mode()

    @contextlib.contextmanager
    def alone(self, timeout_s: float) -> Iterator[None]:
        """No transaction in any process inside this block. Errors: ``switch_timeout`` (definite)."""
        deadline = time.monotonic() + timeout_s
        wish = time.monotonic_ns() + int(timeout_s * 1e9)
        # A descriptor of its own: this process's transactions hold the shared lock through the other one.
        fd = os.open(self._lock_fd_path(), os.O_RDWR | os.O_CLOEXEC)
        try:
            while not _try_lock(fd, fcntl.LOCK_EX):
                if time.monotonic() >= deadline:
                    raise Problem("switch_timeout", f"They did not end within {timeout_s:g} s.", retry_after_s=1)
                self._set_word(_WISH, wish)
                time.sleep(_POLL_S)
            yield
        finally:
            self._set_word(_WISH, 0)
            os.close(fd)

    def forget_events(self) -> None:
        """Make every process forget what it remembers about events; to be called ``alone``."""
        self._set_word(_GENERATION, self._word(_GENERATION) + 1)

    def close_store(self) -> None:
        """After a failed sync nothing may be acknowledged any more, by no process, until a new master starts."""
        self._set_word(_CLOSED, 1)

    def refuse_if_closed(self) -> None:
        """Errors: ``store_closed`` (definite)."""
        if self.closed:
            raise Problem("store_closed", "A write to the disk failed; restart the service when it is mended.")

    @property
    def closed(self) -> bool:
        return self._word(_CLOSED) != 0

    def refresh(self) -> None:
        """Nothing to do: the words in memory are the truth, and no transaction ever meets ``Switched``."""

    def close(self) -> None:
        self._words.close()
        os.close(self._lock_fd)

    def _enter(self, deadline: float) -> None:
        while True:
            with self._mutex:
                if not self._somebody_wishes() and (self._inside or _try_lock(self._lock_fd, fcntl.LOCK_SH)):
                    self._inside += 1
                    return
            if time.monotonic() >= deadline:
                raise Problem("switching", retry_after_s=1)
            time.sleep(_POLL_S)

    def leave(self) -> None:
        """The transaction has ended."""
        with self._mutex:
            self._inside -= 1
            if not self._inside:
                fcntl.flock(self._lock_fd, fcntl.LOCK_UN)

    def _somebody_wishes(self) -> bool:
        left = self._word(_WISH)
        return left != 0 and 0 < left - time.monotonic_ns() < _LONGEST_WISH_NS

    def _begin_epoch(self, guard: str, epoch: int, master: str) -> None:
        replace_durably(self._saved_path, msgspec.json.encode(_Saved(guard, epoch, master)) + b"\n")
        start = _NAMES + epoch % 2 * _NAME_SIZE
        self._words[start : start + _NAME_SIZE] = guard.encode().ljust(_NAME_SIZE, b"\0")
        self._set_word(_MASTER, _fingerprint(master))
        self._set_word(_EPOCH, epoch)

    def _read_saved(self) -> _Saved | None:
        try:
            return msgspec.json.decode(self._saved_path.read_bytes(), type=_Saved)
        except FileNotFoundError:
            return None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise _damaged(self._saved_path, str(error)) from None

    def _saved_master(self) -> str:
        """Whose workers follow the switch. Where the file is damaged, ours: it is about to be written anew."""
        try:
            saved = self._read_saved()
        except RefusedToStart:
            return self._master
        return saved.master if saved else self._master

    def _refuse_impossible_words(self) -> None:
        for word in (_EPOCH, _GENERATION):
            if not 0 <= self._word(word) <= _LAST:
                raise _damaged(self._saved_path.with_name("control"), f"a counter is {self._word(word)}")

    def _lock_fd_path(self) -> Path:
        return self._saved_path.with_name("control.lock")

    def _word(self, offset: int) -> int:
        word: int = struct.unpack_from("=q", self._words, offset)[0]
        return word

    def _set_word(self, offset: int, value: int) -> None:
        struct.pack_into("=q", self._words, offset, value)


class _TakingPart:
    """Not a generator: every purchase passes here."""

    __slots__ = ("_control", "_deadline")

    def __init__(self, control: Control, deadline: float) -> None:
        self._control = control
        self._deadline = deadline

    def __enter__(self) -> Mode:
        return self._control.enter(self._deadline)

    def __exit__(self, *_: object) -> None:
        self._control.leave()


def _fingerprint(master: str) -> int:
    return int.from_bytes(hashlib.blake2b(master.encode(), digest_size=7).digest())


def _reserve(fd: int, size: int) -> None:
    """Let the file have ``size`` bytes on the disk; what is in it stays.

    A hole would do for the size, but whoever touches a mapped hole that the disk has no room for is killed (SIGBUS).
    """
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(fd, 0, size)
    else:
        os.ftruncate(fd, size)


def _damaged(path: Path, reason: str) -> RefusedToStart:
    return RefusedToStart(
        f"{path} is damaged ({reason}). It holds only the state of the guard's switch: "
        "stop the service, remove that file and start again."
    )


def _try_lock(fd: int, kind: int) -> bool:
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
