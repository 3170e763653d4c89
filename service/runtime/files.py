"""Files that are there after a power cut, as far as the device honours a flush."""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
import secrets
import shlex
from collections.abc import Iterator
from errno import EDQUOT, EMFILE, ENFILE, ENOSPC
from pathlib import Path

from service.errors import Problem, RefusedToStart

_OTHERS = 0o077


def keep_to_ourselves() -> None:
    """Whatever this process makes from now on is for its own user alone, also what SQLite and other libraries make.

    Who may open a lock file can hold its lock for ever, and who reads an order can cancel it.
    """
    os.umask(_OTHERS)


def how_to_close(directory: Path) -> str | None:
    """The command that closes a directory to other users; None where it is closed. Nothing is changed here: whoever
    opened it may have meant it."""
    if not directory.stat().st_mode & _OTHERS:
        return None
    return f"chmod -R go= {shlex.quote(str(directory.resolve()))}"


class CommitFailed(OSError):
    """The disk failed in a commit: it may have been written, and may not last. Closes the store for all processes."""


@contextlib.contextmanager
def commit_failed(path: Path) -> Iterator[None]:
    """A failure inside this block, a sync of ``path``, closes the store: what was written before may be gone, and to
    sync it a second time would succeed without having written it. Errors: ``CommitFailed``."""
    try:
        yield
    except OSError as error:
        raise CommitFailed(error.errno, error.strerror, os.fspath(path)) from error


def write_durably(path: Path, content: bytes) -> os.stat_result:
    """Create ``path`` with ``content`` and sync it; nothing is left of it where that fails."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        try:
            view = memoryview(content)
            while view:
                view = view[os.write(fd, view) :]
            os.fdatasync(fd) if hasattr(os, "fdatasync") else os.fsync(fd)
            return os.fstat(fd)
        finally:
            os.close(fd)
    except BaseException:
        with contextlib.suppress(OSError):
            path.unlink()
        raise


def temporary_beside(path: Path) -> Path:
    """A name in the same directory that no other process or thread uses."""
    return path.with_name(f"{path.name}.{unique()}.tmp")


def unique() -> str:
    """A part of a name that nobody else takes. No process id: in two containers on one volume they are the same."""
    return secrets.token_hex(8)


def replace_durably(path: Path, content: bytes) -> os.stat_result:
    """Let ``path`` hold ``content``: readers see the old or the new, whole; a power cut leaves one of them.

    The new content is on the disk before it gets the name; the name is only after ``sync_directory``.
    """
    temporary = temporary_beside(path)
    stat = write_durably(temporary, content)
    try:
        temporary.rename(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    return stat


def make_directory(path: Path) -> None:
    """Make a directory and its parents, where there are none: a power cut does not take it with all it holds."""
    missing = [each for each in (path, *path.parents) if not each.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for parent in {path.parent, *(each.parent for each in missing)}:
        # One that may be entered but not read cannot be synced by this user: it was there before.
        with contextlib.suppress(PermissionError):
            sync_names(parent)


def sync_names(directory: Path) -> None:
    """Return when the names in a directory are on the disk."""
    fd = open_directory(directory)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def open_directory(path: Path) -> int:
    """A descriptor by which the names in a directory are made durable: ``os.fsync``.

    Kept open, it cannot be missing when files are scarce, and it is told of a failed write-back that another process
    met: a descriptor opened after the failure would not be.
    """
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def reopen_directory(fd: int) -> int:
    """A second descriptor of the same directory, with locks of its own, whatever has the directory's name by now."""
    return os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=fd)


def unlock_directory(fd: int) -> None:
    """Give a flock on a directory back. What was done under it is done: a failure here is nobody's."""
    try:
        fcntl.flock(fd, fcntl.LOCK_UN)
    except OSError:
        # A descriptor that is closed has no lock. If that fails too, whoever locks next with this one gives it back.
        with contextlib.suppress(OSError):
            fresh = reopen_directory(fd)
            os.dup2(fresh, fd, inheritable=False)
            os.close(fresh)


def close_directory(fd: int) -> None:
    """Close a descriptor of a directory; its flock is given back before this returns.

    Under gevent's patch ``os.close`` alone leaves what is not a regular file open, and locked, until the hub runs next.
    """
    unlock_directory(fd)
    os.close(fd)


def check_locks_exclude(directory: Path) -> None:
    """Refuse a directory whose file system grants one flock to two opens of one file, or of one directory."""
    path = directory / f"lock-check.{unique()}"
    try:
        path.touch(0o600)
        _check_lock_excludes(directory, path, os.O_RDWR)
        path.unlink()
        path.mkdir(0o700)
        _check_lock_excludes(directory, path, os.O_RDONLY | os.O_DIRECTORY)
    finally:
        with contextlib.suppress(OSError):
            path.rmdir() if path.is_dir() else path.unlink()


def _check_lock_excludes(directory: Path, path: Path, flags: int) -> None:
    first, second = os.open(path, flags | os.O_CLOEXEC), os.open(path, flags | os.O_CLOEXEC)
    try:
        fcntl.flock(first, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
    except OSError as error:
        raise RefusedToStart(
            f"Files in {directory} cannot be locked ({error.strerror}). Let LASTSEAT_DATA name a local directory."
        ) from None
    finally:
        os.close(first)
        os.close(second)
    raise RefusedToStart(
        f"A lock on a file in {directory} does not exclude: two opens of one file got it at once. That happens on "
        "some network file systems. Let LASTSEAT_DATA name a local directory."
    )


class _StorageProblems:
    """Not a generator: every purchase passes here, and a generator costs as much as deciding it."""

    __slots__ = ()

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if not isinstance(error, OSError) or isinstance(error, CommitFailed):
            return
        if error.errno in (ENOSPC, EDQUOT):
            raise Problem("storage_full", "Make room in the data directory and try again.", retry_after_s=5) from error
        if error.errno in (EMFILE, ENFILE):
            most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
            raise Problem(
                "storage_refused",
                f"{error.strerror}: this process may have {most}. Nothing was changed. Let it have more (`ulimit -n`, "
                "`LimitNOFILE=`) or take fewer connections (`--worker-connections`), and try again.",
                retry_after_s=5,
            ) from error
        raise Problem(
            "storage_refused",
            f"The data directory refused the write ({error.strerror}). Nothing was changed; mend it and try again.",
            retry_after_s=5,
        ) from error


_storage_problems = _StorageProblems()


def storage_problems() -> _StorageProblems:
    """Failed calls inside this block changed nothing: say so, and what to do. For blocks of which that is true; a
    ``CommitFailed`` goes through it."""
    return _storage_problems
