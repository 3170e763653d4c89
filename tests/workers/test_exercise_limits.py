"""A check says in words what is wrong with a program that cannot be explored, and leaves nothing running."""

from __future__ import annotations

from pathlib import Path

import pytest

from workers.exercises.common import grading, words
from workers.exercises.common.exercise import Graded
from workers.exercises.common.grading import EXPLORE_S, grade

NAME = "check_then_act"
GOOD = (Path(__file__).with_name("exercises") / NAME / "right.py").read_text(encoding="utf-8")
BODY = '        return f"{buyer} likes it here"'

pytestmark = [pytest.mark.servers, pytest.mark.usefixtures("nothing_left_running"), pytest.mark.timeout(120)]


def graded(tmp_path: Path, program: str, limit_s: float = EXPLORE_S) -> Graded:
    (tmp_path / f"{NAME}.py").write_text(program, encoding="utf-8")
    found = grade(tmp_path, limit_s)
    for language in ("en", "zh"):
        assert words.sentence(found, language)
    return found


def finding(tmp_path: Path, program: str) -> str:
    found = graded(tmp_path, program).finding
    return found.name if found else ""


def in_the_middle(statement: str) -> str:
    """A right program that also does this where two may be at once."""
    assert BODY in GOOD
    return GOOD.replace(BODY, f"        {statement}\n{BODY}")


def test_a_folder_without_a_program_or_with_two_is_told_so(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    assert words.as_text(grade(gone), "en").startswith(f"There is no folder {gone}. Nothing was run.")
    assert words.as_text(grade(tmp_path), "en").startswith(f"There is no program of an exercise in {tmp_path}. Nothing")
    for name in (NAME, "pool_exception"):
        (tmp_path / f"{name}.py").write_text("", encoding="utf-8")
    found = grade(tmp_path).finding
    assert found is not None
    assert found.name == "several"


@pytest.mark.parametrize(
    ("program", "name"),
    [
        ("def buy(:\n", "syntax"),
        ("\0", "syntax"),
        ("import nowhere_to_be_found\n", "import"),
        ("raise SystemExit(0)\n", "not_loaded"),
        ("input()\n", "not_loaded"),
        ("class Shop:\n    pass\n", "missing"),
        (GOOD.replace("self.free = seats", "self.free = places"), "not_loaded"),
        (GOOD.replace("def buy(self, buyer: str)", "def buy(self)"), "does_not_fit"),
        (GOOD.replace("seats: int", ""), "does_not_fit"),
        (in_the_middle("threading.Thread(target=print).start()"), "own_thread"),
        (in_the_middle("raise ValueError(buyer)"), "raised"),
        (in_the_middle("self.nothing.to_see"), "raised"),
        ("import os\n" + in_the_middle("os._exit(0)"), "died"),
    ],
)
def test_a_program_that_cannot_be_explored_is_told_why(tmp_path: Path, program: str, name: str) -> None:
    assert finding(tmp_path, program) == name


def test_a_loop_that_nothing_ends_is_named_by_its_line(tmp_path: Path) -> None:
    program = in_the_middle("while True: pass")
    found = graded(tmp_path, program).finding
    assert found is not None
    assert found.name == "endless"
    line = program.splitlines().index("        while True: pass") + 1
    assert line in found.facts["at"].values()


def test_a_loop_that_runs_while_the_program_is_loaded_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grading, "SPARE_S", 1.0)
    found = graded(tmp_path, "while True: pass\n", limit_s=1.0).finding
    assert found is not None
    assert found.name == "time"


def test_a_program_that_takes_all_memory_does_not_get_it(tmp_path: Path) -> None:
    found = graded(tmp_path, in_the_middle("self.much = 'x' * (8 << 30)")).finding
    assert found is not None
    assert found.name == "raised"
    assert "MemoryError" in found.facts["error"]


def test_a_program_that_starts_processes_without_end_is_ended_with_all_of_them(tmp_path: Path) -> None:
    bomb = (
        "import os, time\nfor _ in range(200):\n    if os.fork() == 0:\n        time.sleep(600)\n        os._exit(0)\n"
    )
    assert finding(tmp_path, bomb + "time.sleep(600)\n") == "processes"


def test_a_process_that_has_left_its_group_is_ended_too(tmp_path: Path) -> None:
    leaves = "import os, time\nif os.fork() == 0:\n    os.setsid()\n    time.sleep(600)\ntime.sleep(0.5)\n"
    assert finding(tmp_path, leaves + "nothing\n") == "not_loaded"


def test_a_program_that_floods_its_outputs_is_graded_like_any_other(tmp_path: Path) -> None:
    flood = "import sys\nfor _ in range(100):\n    print('x' * 100_000)\n    print('x' * 100_000, file=sys.stderr)\n"
    assert finding(tmp_path, flood + GOOD) == ""
