"""The measurements of the lesson ``coroutines``, as tables and timelines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workers.lessons.common.figures import Span, Table, Timeline
from workers.lessons.common.lesson import key, keyed

SHORT, LONG = 3, 5


@dataclass(frozen=True, slots=True)
class CoroutineMeasurements:
    """All measurements of a run."""

    settings: Mapping[str, Any]
    ways: Mapping[str, Any]
    """For each way to wait: the beginnings and ends in their order ("notes"), and the number of threads."""
    steps: Sequence[tuple[str, int, int]]
    """Each step of the two generators: the generator's name, the number that it added, its sum so far."""
    hearts: Mapping[str, Any]
    """For each action of one greenlet: its time ("lasts_s"), the beats of the other, the number of possible beats."""
    hangs: bool
    inside: Mapping[str, int]
    left: Mapping[str, int]
    switching: Mapping[str, float]

    def total_ms(self, way: str) -> float:
        return round(max(float(at) for _, _, at in self.ways[way]["notes"]) * 1e3, 1)

    def overlaps(self, way: str) -> bool:
        """True if both waits had begun before one ended. The order decides this, not the time."""
        return [what for _, what, _ in self.ways[way]["notes"][:2]] == ["begins", "begins"]

    def beats(self, doing: str) -> int:
        return len(self.hearts[doing]["beats"])

    def switch_us(self, who: str) -> float:
        return round(self.switching[who] / int(self.settings["switches"]) * 1e6, 2)

    def measured(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for way in self.ways:
            found |= keyed(way, ms=self.total_ms(way), overlaps=self.overlaps(way))
        found |= {f"beats_while_it_{key(doing)}": self.beats(doing) for doing in self.hearts}
        found |= {"flock_between_greenlets_hangs": self.hangs, "steps_by_hand": len(self.steps)}
        found |= {f"filelock_imported_{when}_lets_in": most for when, most in self.inside.items()}
        found |= {f"left_{key(way)}": number for way, number in self.left.items()}
        return found | {f"switch_between_{who}_us": self.switch_us(who) for who in self.switching}


def tables(found: CoroutineMeasurements) -> list[Table]:
    greenlets, switches = found.settings["greenlets"], found.settings["switches"]
    return [
        Table(
            f"Two waits of {SHORT} and {LONG} units",
            ["way", "overlap", "time (ms)", "threads"],
            [[way, found.overlaps(way), found.total_ms(way), each["threads"]] for way, each in found.ways.items()],
        ),
        Table(
            "Switching by hand: two generators add up",
            ["step", "generator", "adds", "its sum so far"],
            [[number, *step] for number, step in enumerate(found.steps, 1)],
        ),
        Table(
            "While one greenlet does this, another wants to go on",
            ["one greenlet", "beats of the other", "possible", "others go on"],
            [[doing, found.beats(doing), each["possible"], _go_on(each)] for doing, each in found.hearts.items()],
        ),
        Table(
            "One FileLock for all greenlets",
            ["filelock imported", "greenlets", "most inside at once"],
            [[f"{when} the patch", greenlets, most] for when, most in found.inside.items()],
        ),
        Table(
            "Each greenlet takes one away: what is left",
            ["between reading and writing", "greenlets", "left"],
            [[way, greenlets, number] for way, number in found.left.items()],
        ),
        Table(
            "What a switch costs",
            ["between", "switches", "each (µs)"],
            [[who, switches, found.switch_us(who)] for who in found.switching],
        ),
    ]


def _go_on(heart: Mapping[str, Any]) -> str:
    beats = len(heart["beats"])
    if not beats:
        return "no"
    return "yes" if beats > heart["possible"] / 5 else "hardly"


def figures(found: CoroutineMeasurements) -> list[Timeline]:
    waits = {}
    for way, each in found.ways.items():
        at = {(name, what): moment for name, what, moment in each["notes"]}
        style = "good" if found.overlaps(way) else "bad"
        for name in ("short", "long"):
            waits[f"{way}: {name}"] = [Span(at[name, "begins"], at[name, "ends"], style=style)]
    hearts = {}
    for doing, heart in found.hearts.items():
        beats = [Span(beat, beat + heart["lasts_s"] / 100, style="good") for beat in heart["beats"]]
        hearts[doing] = [Span(0, heart["lasts_s"], style="wait" if beats else "bad"), *beats]
    return [
        Timeline(
            "Two waits: side by side, or one after the other",
            waits,
            {"good": "they overlap", "bad": "one has to wait for the other"},
        ),
        Timeline(
            "While one greenlet does this, another wants to beat",
            hearts,
            {"wait": "one is busy with it", "good": "the other gets a turn", "bad": "nobody else gets a turn"},
        ),
    ]
