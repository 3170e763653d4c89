"""A server's system calls, which a tracer writes down from each of its starts, and its files as they were then."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path


class Traced:
    """The command of a server's tracer, and the calls that it wrote down. Without a tracer it is empty."""

    def __init__(self, under: Sequence[str], folder: Path, files: Path, *, names_with_files: bool = False) -> None:
        """``under``: the tracer's command up to the name of the file into which it writes. That file is in ``folder``,
        which is made for it; the server's files are in ``files``."""
        self._under = under
        self._folder = folder
        self.files = files
        self.names_with_files = names_with_files
        """Whether it relies on a disk on which a sync of a file covers the file's name."""
        self.before: dict[str, bytes | None] = {}
        """The files at the last start, by their paths in the folder; None for a directory."""

        self.settled_at = 0
        """How long the file of the calls was when what the server had by then was taken for synced."""

    @property
    def calls(self) -> Path:
        """The calls since the last start."""
        return self._folder / "calls"

    def command(self) -> tuple[str, ...]:
        """The words that stand before the server's command; call it right before each start."""
        if not self._under:
            return ()
        self.forget()
        self.settled_at = 0
        self._folder.mkdir(mode=0o700)
        if self.files.exists():
            owner = self.files.stat()
            os.chown(self._folder, owner.st_uid, owner.st_gid)  # the server may run as another user
        self.before = {
            str(path.relative_to(self.files)): path.read_bytes() if path.is_file() else None
            for path in self.files.rglob("*")
            if path.is_file() or path.is_dir()
        }
        return (*self._under, str(self.calls))

    def settle(self) -> None:
        """Take what the server has written by now for synced, as of one that was started long ago."""
        if self._under:
            self.settled_at = self.calls.stat().st_size

    def forget(self) -> None:
        """Remove what the tracer wrote. Idempotent."""
        shutil.rmtree(self._folder, ignore_errors=True)
