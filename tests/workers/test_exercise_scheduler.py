"""The scheduler of the exercises finds what goes wrong in some order, and calls nothing wrong that is right."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from workers.exercises.common import gates, scheduler, words
from workers.exercises.common.exercise import DrivingPlan, Explored, Finding, Graded
from workers.exercises.common.greenlets import explore_greenlets
from workers.exercises.common.scheduler import explore_processes, explore_threads

pytestmark = [pytest.mark.servers, pytest.mark.usefixtures("nothing_left_running")]

LIMIT_S = 25.0
ORDERS = 40


@pytest.fixture(autouse=True)
def _few_orders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "ENOUGH_ORDERS", dict.fromkeys(scheduler.ENOUGH_ORDERS, ORDERS))


def _explored(
    folder: Path,
    text: str,
    *,
    wrong: Callable[[Any], Finding | None] = lambda _module: None,
    actors: str = "AB",
    concurrent: str = "",
    explore: Callable[[Path, DrivingPlan, float], Explored] = explore_threads,
) -> Explored:
    """Explores a program whose actors call ``act`` with their names."""
    path = folder / "program.py"
    path.write_text(textwrap.dedent(text), encoding="utf-8")

    def setup(module: ModuleType) -> Any:
        module.setup() if hasattr(module, "setup") else None
        return module

    acts = {name: lambda module, name=name: module.act(name) for name in actors}
    return explore(path, DrivingPlan(setup, acts, wrong, concurrent), LIMIT_S)


COUNTER = """
    import threading

    count = 0
    lock = threading.Lock()

    def act(name):
        global count
        seen = count
        count = seen + 1
"""
LOCKED = COUNTER.replace(
    "        seen = count\n        count = seen + 1", "        with lock:\n            count = count + 1"
)


def _counted(expected: int) -> Callable[[Any], Finding | None]:
    return lambda module: None if module.count == expected else Finding("lost", {"count": module.count})


def test_a_program_that_keeps_its_turn_loses_nothing_so_switches_are_what_finds_a_race(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gates.GatedProgram, "has_gate", lambda _program, _frame: False)
    explored = _explored(tmp_path, COUNTER, wrong=_counted(2))
    assert (explored.losing, explored.whole, explored.tried) == (None, True, 2)


@pytest.mark.parametrize("actors", ["AB", "ABC"])
def test_a_lost_update_is_found_and_shown_in_the_programs_own_lines(tmp_path: Path, actors: str) -> None:
    explored = _explored(tmp_path, COUNTER, wrong=_counted(len(actors)), actors=actors)
    assert explored.wrong is not None
    assert explored.wrong.facts["count"] < len(actors)
    assert explored.losing is not None
    assert {(each.actor, each.line, each.source) for each in explored.losing.steps} == {
        (actor, line, source) for actor in actors for line, source in ((9, "seen = count"), (10, "count = seen + 1"))
    }


def test_an_update_on_one_line_is_two_steps(tmp_path: Path) -> None:
    one_line = COUNTER.replace("        seen = count\n        count = seen + 1", "        count = count + 1")
    assert _explored(tmp_path, one_line, wrong=_counted(2)).losing is not None


@pytest.mark.parametrize(
    ("actors", "lock"),
    [("AB", "Lock()"), ("AB", "RLock()"), ("AB", "Condition()"), ("AB", "Semaphore()"), ("ABC", "Lock()")],
)
def test_a_correct_program_is_not_called_wrong(tmp_path: Path, actors: str, lock: str) -> None:
    explored = _explored(tmp_path, LOCKED.replace("Lock()", lock), wrong=_counted(len(actors)), actors=actors)
    assert (explored.wrong, explored.losing) == (None, None)
    assert explored.tried > len(actors)


def test_two_locks_in_two_orders_are_a_deadlock_and_both_lines_are_named(tmp_path: Path) -> None:
    explored = _explored(
        tmp_path,
        """
        import threading

        one, two = threading.Lock(), threading.Lock()

        def act(name):
            first, second = (one, two) if name == "A" else (two, one)
            with first:
                with second:
                    pass
        """,
    )
    assert explored.wrong == Finding("deadlock", {"at": {"A": 9, "B": 9}})
    assert explored.losing is not None
    assert [(each.actor, each.note) for each in explored.losing.steps if each.note] == [
        ("B", "has_to_wait"),
        ("A", "has_to_wait"),
    ]


WAITING = """
    import threading, time

    ready = threading.Event()
    flag = False

    def act(name):
        global flag
        if name == "A":
            {wait}
        else:
            flag = True
            ready.set()
"""


@pytest.mark.parametrize(
    "wait", ["ready.wait()", "ready.wait(1)", "while not flag: time.sleep(0.1)", "while not flag: pass"]
)
def test_who_waits_for_another_waits_until_that_one_has_gone_on(tmp_path: Path, wait: str) -> None:
    explored = _explored(
        tmp_path, WAITING.format(wait=wait), wrong=lambda module: None if module.flag else Finding("no")
    )
    assert (explored.wrong, explored.whole) == (None, True)


def test_a_wait_ends_by_its_timeout_where_nobody_can_go_on_otherwise(tmp_path: Path) -> None:
    text = WAITING.format(wait="ready.wait(1)").replace("ready.set()", "ready.wait(1)")
    assert _explored(tmp_path, text).wrong is None


def test_a_wait_in_the_kernel_that_the_gates_do_not_know_lets_the_other_go_on(tmp_path: Path) -> None:
    pipe = WAITING.replace("import threading, time", "import os, threading\n\n    out, into = os.pipe()").replace(
        "ready.set()", "os.write(into, b'x')"
    )
    explored = _explored(tmp_path, pipe.format(wait="os.read(out, 1)"))
    assert explored.wrong is None
    assert explored.tried > 1


@pytest.mark.parametrize(
    ("body", "finding"),
    [
        (
            "raise ValueError('no seat')",
            Finding(
                "raised",
                {"actor": "A", "line": 5, "source": "raise ValueError('no seat')", "error": "ValueError: no seat"},
            ),
        ),
        ("os._exit(3)", Finding("ended", {"actor": "A", "line": 5})),
        ("while True: time.monotonic()", Finding("endless", {"at": {"A": 5}})),
        ("while True: pass", Finding("endless", {"at": {"A": 5}})),
        ("os.fork()", Finding("own_thread", {"actor": "A"})),
        ("subprocess.Popen(['sleep', '600'], start_new_session=True)", Finding("own_thread", {"actor": "A"})),
        ("threading.Thread(target=time.sleep, args=(600,)).start()", Finding("own_thread", {"actor": "A"})),
    ],
)
def test_a_program_that_breaks_is_a_finding_with_its_line(tmp_path: Path, body: str, finding: Finding) -> None:
    text = f"import os, subprocess, threading\nimport time\n\ndef act(name):\n    {body}\n"
    explored = _explored(tmp_path, text, actors="A", explore=explore_processes)
    assert explored.wrong == finding


FILE = """
    import fcntl, threading, multiprocessing
    from pathlib import Path

    lock = {lock}

    def setup():
        Path("count").write_text("0")

    def act(name):
        {take}
            left = int(Path("count").read_text())
            Path("count").write_text(str(left + 1))
"""
FLOCK = "with open('lock', 'a') as file:\n            fcntl.{}(file, fcntl.LOCK_EX)"


def _in_file(expected: int) -> Callable[[Any], Finding | None]:
    def wrong(_module: object) -> Finding | None:
        count = Path("count").read_text(encoding="utf-8")
        return None if count == str(expected) else Finding("lost", {"count": count})

    return wrong


@pytest.mark.parametrize("lock", ["threading.Lock()", "threading.RLock()", "multiprocessing.Lock()"])
def test_a_lock_that_each_process_makes_for_itself_keeps_nobody_out(tmp_path: Path, lock: str) -> None:
    text = FILE.format(lock=lock, take="with lock:")
    explored = _explored(tmp_path, text, wrong=_in_file(2), explore=explore_processes)
    assert explored.losing is not None


@pytest.mark.parametrize("call", ["flock", "lockf"])
def test_a_lock_on_a_file_keeps_processes_out(tmp_path: Path, call: str) -> None:
    text = FILE.format(lock=None, take=FLOCK.format(call))
    explored = _explored(tmp_path, text, wrong=_in_file(2), explore=explore_processes)
    assert (explored.wrong, explored.losing) == (None, None)
    assert explored.tried > 2


@pytest.mark.parametrize(("enough", "interruptions"), [(1, 1), (10_000, 2)])
def test_it_says_up_to_how_many_interruptions_all_orders_were_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, enough: int, interruptions: int
) -> None:
    monkeypatch.setattr(scheduler, "ENOUGH_ORDERS", {"threads": enough})
    explored = _explored(tmp_path, CONCURRENT.format("pass", "pass"))
    assert (explored.whole, explored.interruptions, explored.at_random) == (True, interruptions, 0)
    for language in ("en", "zh"):
        assert str(explored.tried) in words.sentence(Graded("lease_without_a_fence", None, explored), language)


CONCURRENT = """
    import threading, time

    lock = threading.Lock()

    def printed(name):
        time.sleep(1)

    def act(name):
        {0}
        printed(name)
        {1}
"""


def test_two_are_inside_at_once_unless_a_lock_is_around_it(tmp_path: Path) -> None:
    open_to_two = _explored(tmp_path, CONCURRENT.format("pass", "pass"), concurrent="printed")
    one_by_one = _explored(tmp_path, CONCURRENT.format("lock.acquire()", "lock.release()"), concurrent="printed")
    assert (open_to_two.overlapped, one_by_one.overlapped) == (True, False)
    assert one_by_one.wrong is None


@pytest.mark.parametrize(
    ("body", "finding"),
    [
        ("while True: gevent.sleep(1)", Finding("endless", {"at": {"A": 6, "B": 6}})),
        ("while True: name = name", Finding("endless", {"at": {"A": 6, "B": 0}})),
        ("event.wait()", Finding("deadlock", {"at": {"A": 6, "B": 6}})),
    ],
)
def test_greenlets_that_do_not_end_are_named_with_their_lines(tmp_path: Path, body: str, finding: Finding) -> None:
    text = f"import gevent\nfrom gevent.event import Event\n\nevent = Event()\ndef act(name):\n    {body}\n"
    explored = _explored(tmp_path, text, explore=explore_greenlets)
    assert explored.wrong == finding


def test_each_greenlet_is_the_first_once_and_one_that_yields_lets_the_other_go_on(tmp_path: Path) -> None:
    text = """
        import gevent

        said = []

        def act(name):
            said.append(name)
            gevent.sleep(0)
            said.append(name)
    """
    wrong = lambda module: None if module.said in (list("ABAB"), list("BABA")) else Finding("no")  # noqa: E731
    explored = _explored(tmp_path, text, wrong=wrong, explore=explore_greenlets)
    assert (explored.wrong, explored.whole, explored.tried) == (None, True, 2)
    unyielding = text.replace("gevent.sleep(0)", "pass")
    assert _explored(tmp_path, unyielding, wrong=wrong, explore=explore_greenlets).wrong == Finding("no")
