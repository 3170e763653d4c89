"""The halls of a store, each under its name, which is the hash of its content: it never changes, so it is read once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import msgspec

from service.errors import Problem
from service.rules.halls import Hall, Plan
from service.rules.records import Event
from service.runtime.files import make_directory, read_if_there, replace_durably, storage_problems, sync_names

_plan = msgspec.json.Decoder(Plan)


class Halls:
    """The halls of one store. Any number of threads or greenlets use it at once."""

    def __init__(self, read: Callable[[str], bytes | None], write: Callable[[str, bytes], None]) -> None:
        """``read`` gives what ``write`` was given under a name, durably; None where that is nothing."""
        self._read = read
        self._write = write
        self._known: dict[str, Hall] = {}

    def keep(self, hall: Hall) -> None:
        """Let the store have a hall, durably. Errors: as of ``Store.create``."""
        self._write(hall.name, hall.encoded)

    def of(self, about: Event) -> Hall | None:
        """The hall of an event; None where it has none. Errors: ``corrupt_document`` where it cannot be read."""
        name = about.hall
        if not name:
            return None
        hall = self._known.get(name)
        if hall is None:
            content = self._read(name)
            if content is None or hashlib.sha256(content).hexdigest() != name:
                what = "is missing" if content is None else "is not what it was when it was written"
                raise Problem(
                    "corrupt_document",
                    f"The hall {name} of event {about.event!r} {what}. Nothing was written. Stop the service, and put "
                    "a good copy back.",
                )
            hall = self._known[name] = Hall(_plan.decode(content))
        return hall


def halls_in(data: Path) -> Halls:
    """The halls of a store that keeps them as files, ``halls/<name>.json`` in the data directory."""
    directory = data / "halls"

    def read(name: str) -> bytes | None:
        return read_if_there(directory / f"{name}.json")

    def write(name: str, content: bytes) -> None:
        with storage_problems():
            make_directory(directory)
            replace_durably(directory / f"{name}.json", content)
        sync_names(directory)

    return Halls(read, write)
