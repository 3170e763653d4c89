"""The fewest faults that still break a sale: delta debugging over what was injected (Zeller and Hildebrandt, 2002).

Each question is a run. A run that does not go wrong proves little where that is chance, so what is found is small and
does break the sale, but a smaller set may exist.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

Item = TypeVar("Item")
MOST_RUNS = 16


def fewest(items: Sequence[Item], breaks: Callable[[list[Item]], bool], most: int = MOST_RUNS) -> list[Item]:
    """A small part of ``items``, in their order, for which ``breaks`` was true; all of them are known to break.

    ``breaks`` is asked ``most`` times at most, about no set twice, and about the empty one first: what breaks without
    any fault needs none.
    """
    asked: dict[tuple[int, ...], bool] = {}

    def asks(places: list[int]) -> bool:
        key = tuple(places)
        if key not in asked and len(asked) < most:
            asked[key] = breaks([items[place] for place in places])
        return asked.get(key, False)

    if asks([]):
        return []
    places, pieces = list(range(len(items))), 2
    while len(places) > 1 and len(asked) < most:
        size = -(-len(places) // pieces)
        parts = [places[at : at + size] for at in range(0, len(places), size)]
        rests = [[place for place in places if place not in part] for part in parts]
        smaller = next((each for each in [*parts, *rests] if len(each) < len(places) and asks(each)), None)
        if smaller is not None:
            places, pieces = smaller, max(2, pieces - 1)
        elif size == 1:
            break
        else:
            pieces = min(len(places), 2 * pieces)
    return [items[place] for place in places]
