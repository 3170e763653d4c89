"""Files and directories that survive a power cut (as far as the device honours a flush), and their locks."""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
import secrets
import shlex
from errno import EDQUOT, EMFILE, ENFILE, ENOSPC
from pathlib import Path

from service.errors import Problem, RefusedToStart

_OTHERS = 0o077


def keep_to_ourselves() -> None:
    """Let only this process's user open the files that it makes from now on, those of SQLite and libraries too.

    A user who can open a lock file can hold its lock for ever, and a user who can read an order can cancel it.
    """
    os.umask(_OTHERS)


def how_to_close(directory: Path) -> str | None:
    """The command that closes a directory to other users; None if it is closed. Nothing is changed here: it may have
    been opened on purpose."""
    if not directory.stat().st_mode & _OTHERS:
        return None
    return f"chmod -R go= {shlex.quote(str(directory.resolve()))}"


class CommitFailed(OSError):
    """The disk failed in a commit: it may be written, and may not last. It closes the store for all processes."""


class commit_failed:
    """A failure inside this block, a sync of ``path``, closes the store: earlier writes may be lost, and a second sync
    would succeed without having written them. Errors: ``CommitFailed``.

    Written by hand: ``@contextmanager`` is too slow for every purchase.
    """

    __slots__ = ("_path",)

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, OSError):
            raise CommitFailed(error.errno, error.strerror, os.fspath(self._path)) from error


def write_durably(path: Path, content: bytes) -> os.stat_result:
    """Create ``path`` with ``content`` and sync it; if that fails, the file is removed."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        try:
            write_all(fd, content)
            sync_data(fd)
            return os.fstat(fd)
        finally:
            os.close(fd)
    except BaseException:
        with contextlib.suppress(OSError):
            path.unlink()
        raise


def write_all(fd: int, content: bytes) -> None:
    """Write all of it, in as many calls as the system takes. Errors: ``OSError``, with a part written."""
    view = memoryview(content)
    while view:
        view = view[os.write(fd, view) :]


def sync_data(fd: int) -> None:
    """fdatasync, or what comes nearest."""
    os.fdatasync(fd) if hasattr(os, "fdatasync") else os.fsync(fd)


def read_if_there(path: Path) -> bytes | None:
    """The content of a file; None where there is none. Errors: ``storage_refused`` (definite)."""
    with storage_problems():
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None


def temporary_beside(path: Path) -> Path:
    """A name in the same directory that no other process or thread uses."""
    return path.with_name(f"{path.name}.{unique()}.tmp")


def unique() -> str:
    """A unique part of a file name. It is not the process id, which two containers on one volume can share."""
    return secrets.token_hex(8)


def replace_durably(path: Path, content: bytes) -> os.stat_result:
    """Replace ``path`` with a file of ``content``: readers, also after a power cut, see all of the old or of the new.

    The new content is on the disk before it gets the name; the name itself is durable only after ``sync_names``.
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


def reserve(fd: int, size: int) -> None:
    """Let a file have ``size`` bytes on the disk. Errors: ``OSError`` where there is no room.

    A file with a hole has that size too, but the kernel kills (SIGBUS) a process that touches a mapped hole for which
    the disk has no room.
    """
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(fd, 0, size)
    else:
        os.ftruncate(fd, size)


def make_directory(path: Path) -> None:
    """Make a directory and its missing parents so that a power cut does not remove them with all they hold."""
    missing = [each for each in (path, *path.parents) if not each.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for parent in {path.parent, *(each.parent for each in missing)}:
        # A directory that this user may enter but not read cannot be synced; it was there before.
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
    """A descriptor of a directory, for ``os.fsync``, which makes the names in it durable.

    Kept open, it cannot be missing when descriptors are scarce, and it reports a failed write-back of another process:
    a descriptor opened after the failure would not.
    """
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def reopen_directory(fd: int) -> int:
    """A second descriptor of the same directory, with its own locks, whatever has the directory's name by now."""
    return os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=fd)


def try_flock(fd: int, kind: int) -> bool:
    """Take a flock (``LOCK_EX``, ``LOCK_SH``) at once; False where somebody else's excludes it. Errors: ``OSError``."""
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def unlock_directory(fd: int) -> None:
    """Release a flock on a directory. No error is raised: what was done under the lock is done."""
    try:
        fcntl.flock(fd, fcntl.LOCK_UN)
    except OSError:
        # A descriptor that is closed has no lock. If that fails too, the next lock and unlock of this one releases it.
        with contextlib.suppress(OSError):
            fresh = reopen_directory(fd)
            os.dup2(fresh, fd, inheritable=False)
            os.close(fresh)


def close_directory(fd: int) -> None:
    """Close a descriptor of a directory; its flock is released before this returns.

    Under gevent's patch ``os.close`` alone leaves a directory open, and locked, until the hub runs next.
    """
    unlock_directory(fd)
    os.close(fd)


def check_locks_exclude(directory: Path) -> None:
    """Refuse a directory whose file system grants one flock to two descriptors of a file, or of a directory."""
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
        if not try_flock(second, fcntl.LOCK_EX):
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


class storage_problems:
    """Turn an ``OSError`` of this block into a problem that says that nothing was changed, and what to do. Only for
    blocks for which that is true; a ``CommitFailed`` passes through.

    Written by hand: ``@contextmanager`` costs as much as deciding a purchase.
    """

    __slots__ = ()

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if not isinstance(error, OSError) or isinstance(error, CommitFailed):
            return
        if error.errno in (ENOSPC, EDQUOT):
            raise Problem("storage_full", "Make room in the data directory and try again.", retry_after_s=5) from error
        retry_after_s = 5
        if error.errno in (EMFILE, ENFILE):
            retry_after_s = 1  # a descriptor is free as soon as a connection ends: nobody has to mend anything
            most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
            detail = (
                f"{error.strerror}: this process may have {most}. Nothing was changed. Let it have more (`ulimit -n`, "
                "`LimitNOFILE=`) or take fewer connections (`--worker-connections`), and try again."
            )
        else:
            detail = (
                f"The data directory refused the write ({error.strerror}). Nothing was changed; mend it and try again."
            )
        raise Problem("storage_refused", detail, retry_after_s=retry_after_s) from error
