"""What a run has made that would outlive it: mounts, cgroups, stopped processes. A lab that is killed leaves a note.

Whoever makes such a thing writes a note before, and holds a lock on the note for as long as the thing exists. The lock
ends with its process, whatever ends that. So a note that can be locked is of a lab that is dead, and the next one
undoes what the note names; a run that lives keeps its own. The notes are in a folder that only this user can write.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pkgutil
import stat
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import psutil

RUN = f"lastseat-{uuid.uuid4().hex[:12]}"
"""The name of this lab's things, so that a person sees whose they are."""


class NotCleanedUp(OSError):
    """What a killed lab has left may still be there; the message says why, and what to do."""


class Note(msgspec.Struct, frozen=True):
    """What undoes a thing, and which thing."""

    undo: str
    """The import string of a function of the thing's name. It is idempotent: the thing may never have been made."""
    what: str


def _folder() -> Path:
    """The folder of the notes. Raises ``NotCleanedUp`` where others than this user can write there."""
    folder = Path(tempfile.gettempdir()) / f"lastseat-leavings-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if found.st_uid != os.getuid() or not stat.S_ISDIR(found.st_mode) or stat.S_IMODE(found.st_mode) & 0o077:
        raise NotCleanedUp(
            f"{folder} is not a folder of this user alone: remove it, or let TMPDIR name a folder of your own."
        )
    return folder


@contextlib.contextmanager
def left_behind(undo: Callable[[str], None], what: str) -> Iterator[None]:
    """Make in this block what ``undo``, a function of a module, undoes by its name. At the end it is undone.

    If this process is killed inside, the next ``clean_up`` undoes it.
    """
    note = msgspec.json.encode(Note(f"{undo.__module__}:{undo.__qualname__}", what))
    with _alone() as folder:
        path = folder / f"{RUN}-{uuid.uuid4().hex[:8]}.json"
        file = path.open("xb")
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(note)
        file.flush()
    with file:
        try:
            yield
        finally:
            undo(what)
            with _alone():  # or another lab, which has just opened it, would find it gone
                path.unlink()


def clean_up() -> list[str]:
    """Undo what labs have left that were killed; returns the names. What a lab that runs has made stays.

    A thing that cannot be undone keeps its note, and all others are undone. Raises ``NotCleanedUp``.
    """
    done: list[str] = []
    failed: list[str] = []
    with _alone() as folder:
        for path in sorted(folder.glob("*.json")):
            with path.open("rb") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue
                try:
                    done += _undo(file.read())
                    path.unlink()
                except (OSError, subprocess.SubprocessError, psutil.Error) as error:
                    failed.append(f"{error} (noted in {path})")
    if failed:
        left = "; ".join(failed)
        raise NotCleanedUp(f"what a killed run has left could not be removed: {left}. Remove it and its note by hand.")
    return done


def _undo(note: bytes) -> Iterator[str]:
    """Undo what a note names; one that its writer did not finish names nothing that was made."""
    with contextlib.suppress(msgspec.DecodeError):
        found = msgspec.json.decode(note, type=Note)
        pkgutil.resolve_name(found.undo)(found.what)
        yield found.what


@contextlib.contextmanager
def _alone() -> Iterator[Path]:
    """The folder, while nobody else writes or removes a note there."""
    folder = _folder()
    held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield folder
    finally:
        os.close(held)
