"""A directory of a store: once it is synced, what was made, renamed or removed in it survives a power cut."""

from __future__ import annotations

import os
from pathlib import Path

from service.runtime.files import commit_failed, open_directory


class Names:
    """The names in one directory, which is made where it is missing and stays open (see ``open_directory``)."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(exist_ok=True)
        self._directory = directory
        self._fd = open_directory(directory)

    def sync(self) -> None:
        """Return when the names are on the disk. Errors: ``CommitFailed``."""
        with commit_failed(self._directory):
            os.fsync(self._fd)

    def close(self) -> None:
        """Let go of the directory. Idempotent."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
