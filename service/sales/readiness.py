"""Whether a ticket could be sold now, as far as it can be told without selling one.

Not a promise: the next purchase may meet a disk that is full only then, and says so itself.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from pathlib import Path

from service.errors import Problem
from service.runtime.files import open_directory
from service.sales.box_office import BoxOffice

# Less than this, and the next purchases would find no room: a document is written anew beside the old one.
_LEAST_ROOM = 1 << 20


class Readiness:
    """This process's view of what selling takes."""

    def __init__(self, data: Path, office: BoxOffice, stopping: Callable[[], bool]) -> None:
        self._data = data
        self._opened = open_directory(data)
        weakref.finalize(self, os.close, self._opened)
        self._office = office
        self._stopping = stopping

    def check(self) -> None:
        """Return if a ticket could be sold.

        Errors, definite: ``stopping``, ``switching``, ``store_closed``, ``storage_refused``, ``storage_full``,
        ``corrupt_document``, ``lock_timeout``; those of a store whose engine is gone.
        """
        if self._stopping():
            raise Problem("stopping", "This worker is stopping: it finishes current requests. Connect again.")
        self._check_directory()
        try:
            self._office.check_ready()
        except OSError as error:
            raise Problem("storage_refused", f"The store cannot be read ({error.strerror or error}).") from error

    def _check_directory(self) -> None:
        try:
            there = self._data.stat()
            room = os.fstatvfs(self._opened)
        except OSError as error:
            raise Problem("storage_refused", f"The data directory is gone ({error.strerror}).") from error
        if not os.path.samestat(there, os.fstat(self._opened)):
            raise Problem("storage_refused", "The data directory was replaced; restart the service.")
        if room.f_flag & os.ST_RDONLY or not os.access(self._data, os.W_OK | os.X_OK):
            raise Problem("storage_refused", "The data directory cannot be written.")
        if room.f_bavail * room.f_frsize < _LEAST_ROOM:
            raise Problem("storage_full", "Make room in the data directory.", retry_after_s=5)
