"""What the faults have in common under which wall clocks are moved; whether it was seen is asked of the processes."""

from __future__ import annotations

import contextlib
import email.utils
import time
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import psutil

from loadtests.lab.faults.base import NotInjected, TimedFault
from loadtests.lab.faults.clock.faked import FakedClocks, ahead, put_ahead, why_not
from loadtests.lab.faults.processes import workers_of
from loadtests.lab.protocol.http_calls import NoAnswer, ask
from loadtests.lab.servers.valkey import ValkeyServer

_TIMEOUT_S = 20.0
_ANSWERS_WITHIN_S = 30.0
"""A server may be started again meanwhile, by another fault."""
_SEEN_WITHIN_S = 5.0
"""Some servers make their Date header once a second."""
_POLL_S = 0.05
_NEAR_S = 30.0
"""A clock that shows another time than this is not the one that was moved."""


class MovedClocks(TimedFault):
    """The wall clocks of some servers are ahead for some time, and then go with the machine's again."""

    takes: ClassVar[str] = "Linux and libfaketime (pip install libfaketime==3.0.1)"
    lasts_s: ClassVar[float] = 2.0
    ahead_s: ClassVar[float]

    def __init__(self) -> None:
        self._clocks = FakedClocks()
        self._moved: Mapping[str, Any] = {}

    @classmethod
    def needs(cls) -> str:
        return why_not()

    def variables(self, folder: Path) -> Mapping[str, str]:
        return self._clocks.variables(folder)

    def __exit__(self, *_: object) -> None:
        self._clocks.close()

    def begin(self, server: Any) -> str:
        self._moved = self.moved(server)
        self.put_ahead(self.ahead_s)
        seen = ", ".join(f"{name}: {self._seen(each)}" for name, each in self._moved.items())
        return f"wall clocks moved by {self.ahead_s:+g} s ({seen})"

    def heal(self, server: Any) -> None:
        self.put_ahead(0)

    def put_ahead(self, seconds: float) -> None:
        """From now on the clocks are ahead of the machine's by so many seconds."""
        for each in self._moved.values():
            put_ahead(each.folder, seconds, self.name)

    @abstractmethod
    def moved(self, server: Any) -> Mapping[str, Any]:
        """The servers whose clocks are moved, by what they are called."""

    def _seen(self, server: Any) -> str:
        """How it is known that the server has the moved clock. Raises ``NotInjected`` where it has not."""
        ends = time.monotonic() + _SEEN_WITHIN_S
        while (shown := _answered(server)) is not None:
            if abs(shown - time.time() - ahead(server.folder)) < _NEAR_S:
                return "seen in its answers"
            if time.monotonic() > ends:
                raise NotInjected(
                    "the answers go on showing the machine's time. A program that is linked statically, or is "
                    "written in Go, does not notice that its clock is moved"
                )
            time.sleep(_POLL_S)
        return _loaded(server)


def _answered(server: Any) -> float | None:
    """As ``_time_of``, of a server that answers in a while. Raises ``NotInjected`` where it does not."""
    ends = time.monotonic() + _ANSWERS_WITHIN_S
    while True:
        try:
            return _time_of(server)
        except (NoAnswer, OSError) as error:
            if time.monotonic() > ends:
                raise NotInjected(f"the server did not say what time it is ({error})") from None
        time.sleep(_POLL_S)


def _time_of(server: Any) -> float | None:
    """The time that a server shows, seconds since 1970; None where it shows none. Raises ``NoAnswer``, ``OSError``."""
    if isinstance(server, ValkeyServer):
        return server.now()
    answer = ask("GET", f"{server.url}{server.ready_path}", timeout_s=_TIMEOUT_S)
    with contextlib.suppress(TypeError, ValueError):
        return email.utils.parsedate_to_datetime(answer.headers["Date"]).timestamp()
    return None


def _loaded(server: Any) -> str:
    """In how many of a server's processes the library is. Raises ``NotInjected`` where it is in none."""
    processes = workers_of(server)
    loaded = sum(map(_has_library, processes))
    if not loaded:
        raise NotInjected("no process of the service has loaded libfaketime: it may be linked statically")
    return f"libfaketime is in {loaded} of {len(processes)} processes; the answers have no Date that would show it"


def _has_library(process: psutil.Process) -> bool:
    with contextlib.suppress(OSError):
        return "libfaketime" in Path(f"/proc/{process.pid}/maps").read_text(encoding="utf-8", errors="replace")
    return False
