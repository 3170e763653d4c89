"""What one buyer knows of the seats of a hall: the map as the service has shown it, followed by its changes."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

import msgspec
import numpy as np
from numpy.typing import NDArray

from loadtests.lab.history.columns import Count, Number
from loadtests.lab.history.recorder import Operation
from loadtests.lab.protocol.answers import Id, OfficeAnswer, keep_fields, outcome_of, read_fields
from loadtests.lab.protocol.halls import FREE, SOLD, Hall, HallError

_SEATS_PER_MAP = 200


class _MapAnswer(OfficeAnswer):
    """The map, or what changed after the version that was named."""

    free: Number | None = None
    born: Id | None = None
    states: str | None = None
    changes: list[tuple[Count, Count]] | None = None


_decoder = msgspec.json.Decoder(_MapAnswer)


class SeatMap:
    """The map of one event as one buyer has it. Before the first look every seat seems to be free."""

    def __init__(self, hall: Hall) -> None:
        self.hall = hall
        self.states = np.full(len(hall), FREE, np.uint8)
        self._since = ""
        self._looks = 0

    @property
    def free(self) -> NDArray[np.int64]:
        """The indices of the seats that seem to be free, in the order of the hall."""
        return np.flatnonzero(self.states == FREE)

    @property
    def query(self) -> str:
        """What follows the address of the map: since when the buyer wants the changes."""
        return self._since

    def understand(self, operation: Operation, status: int, body: bytes | None, headers: Mapping[str, str]) -> str:
        """Put the outcome and facts of an answer into the operation, and the seats' states into this map.

        The history has whole maps as they were answered. After an answer of changes alone it has the map that they lead
        to; of a large hall only now and then, or most of a history would be maps. An answer without a map that can be
        read is ``unknown``. Returns a word for the error, if it is one.
        """
        answer, _ = read_fields(body or b"", _decoder)
        operation.outcome = outcome_of(operation.op, status, answer)
        keep_fields(operation, answer, headers)
        if operation.outcome != "ok":
            return answer.code or "without a code"
        try:
            self._take_in(answer)
        except HallError as error:
            operation.outcome = "unknown"
            return str(error)
        operation.remaining = answer.free
        if answer.free not in {None, len(self.free)}:
            self._since = ""  # the changes do not lead to what there is: then the whole map is wanted
        if answer.states is not None:
            operation.map = answer.states
        elif self._looks % max(1, len(self.hall) // _SEATS_PER_MAP) == 0:
            operation.map = self.hall.packed(self.states)
        self._looks += 1
        return ""

    def _take_in(self, answer: _MapAnswer) -> None:
        if answer.states is not None:
            self.states = self.hall.states(answer.states).copy()
        elif answer.changes is not None and self._since:
            for index, state in answer.changes:
                if index >= len(self.states) or state > SOLD:
                    raise HallError(f"seat {index} has changed to the state {state}: there is no such thing")
                self.states[index] = state
        else:
            raise HallError("the answer has no map")
        born = "" if answer.born is None else f"&born={quote(answer.born, safe='')}"
        self._since = "" if answer.version is None else f"?since={answer.version}{born}"
