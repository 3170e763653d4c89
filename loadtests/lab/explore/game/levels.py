"""The levels of the game, as data: ``levels.toml`` has an entry for each, in the order in which they are played."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from pathlib import Path

import msgspec

from loadtests.lab.explore.exploration import Scenario
from loadtests.lab.explore.failures import OF_A_BUYER
from loadtests.lab.explore.programs import parse_programs
from loadtests.lab.explore.schedules import TIME, Choices, Token, buyer_names
from service.catalogue import DEFAULT_STORE, OFF

HERE = Path(__file__).parent


class LevelText(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a level says in one language."""

    title: str
    task: str
    hints: tuple[str, ...]
    ending: str
    """Why an order breaks it; or why none does, if ``Level.winnable`` is false."""


class Level(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is played, and what is said about it."""

    name: str
    store: str = DEFAULT_STORE
    guard: str = OFF
    scenario: str = "buy"
    scripts: tuple[str, ...] = ()
    """What the buyers do, where it is no named scenario."""
    buyers: int = 2
    """Of scenario ``buy``."""
    tickets: int | None = None
    gates: tuple[str, ...] | None = None
    may: tuple[str, ...] = ()
    """The failures that the player may cause, one of them in an order."""
    breaks: str = ""
    """The code of an answer that breaks the level too: ``lock_timeout`` where two wait for each other."""
    winnable: bool = True
    """Whether ``ending`` says why it breaks or why it does not. A recording that shows the contrary is refused."""
    en: LevelText
    zh: LevelText

    def case(self, worker: str = "sync") -> Scenario:
        """What the explorer runs."""
        given = {name: value for name in ("tickets", "gates") if (value := getattr(self, name)) is not None}
        given |= {"store": self.store, "guard": self.guard, "worker": worker, "may": self.may}
        if self.scripts:
            return Scenario.of_programs(parse_programs(self.scripts), **given)
        if self.scenario == "buy":
            return Scenario(buyers=self.buyers, **given)
        return Scenario.of(self.scenario, **given)

    @property
    def tokens(self) -> list[Token]:
        """Every move that there can be."""
        case = self.case()
        names = buyer_names(case.buyers)
        failures = [OF_A_BUYER[failure](name) for failure in self.may for name in names]
        return [*names, *([TIME] if case.moves else []), *failures]

    @property
    def replay(self) -> str:
        """The beginning of the replay id of each of its orders; the schedule follows."""
        return self.case().replay(Choices()).id


MOST_ORDERS = 5000
"""A level with more orders is too large for a page."""


def load() -> dict[str, Level]:
    """All levels by name, in order."""
    entries = tomllib.loads((HERE / "levels.toml").read_text(encoding="utf-8"))["level"]
    return {level.name: level for level in msgspec.convert(entries, list[Level])}


def named(names: Iterable[str]) -> dict[str, Level]:
    """The levels of these names, in the order of the game. Raises ``ValueError`` for a name that no level has."""
    levels, wanted = load(), set(names)
    for name in sorted(wanted - levels.keys()) or ([] if wanted else [""]):
        raise ValueError(f"there is no level {name!r}; the levels are: {', '.join(levels)}")
    return {name: level for name, level in levels.items() if name in wanted}
