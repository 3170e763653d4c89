"""The GIL: what it protects, what it does not, and at which instructions this interpreter lets another thread run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from workers.lessons.common.figures import BarChart, Span, Table, Timeline, Value
from workers.lessons.common.lesson import LessonResult, Progress, keyed
from workers.lessons.gil.interpreters import others, this_one

CASES = {
    "once": "num -= 1, once, started in a loop",
    "in_one_line": "num -= 1, all at once",
    "with_a_call": "num -= one(), all at once",
    "with_a_call_locked": "num -= one(), with a lock",
    "with_a_pause": "read, pause, write",
    "with_a_pause_locked": "read, pause, write, with a lock",
}
MOST_LANES = 12
LEGEND = {"wait": "waits for the lock", "good": "takes a number nobody had", "bad": "takes one that somebody had"}


def run(settings: Mapping[str, Any], progress: Progress) -> LessonResult:
    threads, times = settings["threads"], settings["times"]
    progress(f"{threads} threads and one number")
    here = this_one(threads, times)
    found = [here]
    if settings["others"] == "yes":
        for other in others(threads, times):
            found.append(other)
            progress(f"Python {other['about']['version']} was asked too")
    tries = {case: here[case] for case in CASES}
    measured: dict[str, Any] = {"version": here["about"]["version"], "gil": here["about"]["gil"]}
    for case, each in tries.items():
        measured |= keyed(case, lost=each["left"], of=threads * each["times"])
    measured |= {
        "once_alive_at_most": tries["once"]["alive"],
        "references_off": here["references"]["found"] - here["references"]["expected"],
        "appends_missing": here["appends"]["expected"] - here["appends"]["found"],
        "switched_inside_one_line": _inside(here["points_in_one_line"]),
        "switched_inside_with_a_call": _inside(here["points_with_a_call"]),
        "interpreters": {_name(each): each["in_one_line"]["left"] for each in found},
        "free_threaded_found": any(each["about"]["free_threaded"] for each in found),
    }
    return LessonResult(
        holds=tries["with_a_call"]["left"] > 0
        and tries["with_a_pause"]["left"] > 0
        and tries["with_a_call_locked"]["left"] == tries["with_a_pause_locked"]["left"] == 0
        and measured["references_off"] == measured["appends_missing"] == 0
        and all(each["with_a_call_locked"]["left"] == 0 for each in found),
        measured=measured,
        tables=[
            Table(
                "Threads that take one from a number until 0 should be left",
                ["what a thread does", "threads", "times each", "alive at once", "left over: lost"],
                [
                    [CASES[case], each["threads"], each["times"], each["alive"], each["left"]]
                    for case, each in tries.items()
                ],
            ),
            Table(
                "What the GIL does protect",
                ["what all threads use", "operations", "should be", "is"],
                [
                    ["the reference count of one object", *here["references"].values()],
                    ["one list, appended to", *here["appends"].values()],
                ],
            ),
            _points("Where num -= 1 stood when another thread ran", here["points_in_one_line"]),
            _points("Where num -= one() stood when another thread ran", here["points_with_a_call"]),
            _interpreters(found),
        ],
        figures=[
            BarChart(
                "Lost decrements, out of a hundred",
                "percent lost",
                {"lost": [(CASES[case], 100 * each["left"] / each["times"] / threads) for case, each in tries.items()]},
            ),
            Timeline("Read, pause, write: who read what", _lanes(tries["with_a_pause"]["spans"]), LEGEND),
            Timeline("The same with a lock", _lanes(tries["with_a_pause_locked"]["spans"]), LEGEND),
        ],
        facts={
            "losing": ", ".join(_name(each) for each in found if each["in_one_line"]["left"]) or "none",
            "keeping": ", ".join(_name(each) for each in found if not each["in_one_line"]["left"]) or "none",
            "references": here["references"]["operations"],
            "free_threaded": _about_free_threaded(found),
        },
    )


def _name(found: Mapping[str, Any]) -> str:
    return f"{found['about']['version']}{'t' if found['about']['free_threaded'] else ''}"


def _body(points: Sequence[Mapping[str, Any]]) -> slice:
    """The instructions after which the number has been read and not yet written."""
    names = [(point["does"], point["with"]) for point in points]
    read, write = ("LOAD_GLOBAL", "num"), ("STORE_GLOBAL", "num")
    return slice(names.index(read), names.index(write)) if read in names and write in names else slice(0)


def _inside(points: Sequence[Mapping[str, Any]]) -> bool:
    """True if the thread was seen switched out with the number read and not yet written."""
    return any(point["seen"] for point in points[_body(points)])


def _points(title: str, points: Sequence[Mapping[str, Any]]) -> Table:
    looks = sum(point["seen"] for point in points) or 1
    body = range(len(points))[_body(points)]
    return Table(
        title,
        ["instruction", "of", "read, not yet written", "seen here (%)"],
        [
            [point["does"], point["with"] or None, number in body, round(100 * point["seen"] / looks, 1)]
            for number, point in enumerate(points)
        ],
    )


def _interpreters(found: Sequence[Mapping[str, Any]]) -> Table:
    rows: list[list[Value]] = []
    for each in found:
        lost = (each[case]["left"] for case in ("in_one_line", "with_a_call", "with_a_call_locked"))
        inside = _inside(each["points_in_one_line"])
        rows.append([_name(each), each["about"]["gil"], inside, *lost, round(each["speed_up"], 2)])
    columns = ["Python", "GIL", "switches inside num -= 1", "num -= 1 lost", "num -= one() lost", "with a lock lost"]
    return Table("The interpreters found here", [*columns, "speed-up of two threads"], rows)


def _lanes(spans: Sequence[tuple[float, float, float, int]]) -> dict[str, list[Span]]:
    """The first threads: the wait of each, the number that it read and the number that it wrote."""
    began = min(asked for asked, *_ in spans)
    taken: set[int] = set()
    styles = {}
    for asked, read_at, wrote, read in sorted(spans, key=lambda each: each[2]):
        styles[asked, read_at, wrote] = "bad" if read in taken else "good"
        taken.add(read)
    return {
        f"thread {number:>2}": [
            Span(asked - began, read_at - began, style="wait"),
            Span(read_at - began, wrote - began, f"{read} → {read - 1}", styles[asked, read_at, wrote]),
        ]
        for number, (asked, read_at, wrote, read) in enumerate(spans[:MOST_LANES], 1)
    }


def _about_free_threaded(found: Sequence[Mapping[str, Any]]) -> str:
    free = next((each for each in found if each["about"]["free_threaded"]), None)
    if free is None:
        return "No free-threaded interpreter was found; put one on the PATH (python3.13t, python3.14t) and run again."
    return (
        f"Free-threaded, two threads computed {free['speed_up']:.1f} times as fast; and num -= one() lost "
        f"{free['with_a_call']['left']} there too."
    )
