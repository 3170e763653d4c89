"""What the command writes where, and how it ends: any charset, closed and full outputs, and faults of its own."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from loadtests.lab.cli import VERBS
from loadtests.lab.exit_status import EXIT_LAB_FAILED, EXIT_NOBODY_READS
from loadtests.lab.servers.office import RunningOffice, Service

ROOT = Path(__file__).resolve().parents[3]
HISTORIES = Path(__file__).parents[1] / "histories"
VALID = HISTORIES / "valid" / "audited"
INVALID = next(HISTORIES.glob("invalid/*/audit*.jsonl")).parent
C_LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
CHARSETS = {
    "PYTHONIOENCODING=ascii": {"PYTHONIOENCODING": "ascii"},
    "LC_ALL=C": C_LOCALE,
    "LC_ALL=POSIX": {"LC_ALL": "POSIX"},
    "latin-1": {"PYTHONIOENCODING": "latin-1"},
}
PROGRAMS = (
    "checker_speed", "overload", "power", "held_payment", "cost_breakdown", "sale_cpu", "limits", "line_fairness",
)  # fmt: skip
MAIN = "from loadtests.lab.cli import main; main()"
IN_TURN = """
import json, sys
def ended(call, *arguments):
    sys.argv[1:] = arguments
    try: call()
    except SystemExit as end: return end.code
"""
"""Many commands in one process, which says of each how it would have ended: an interpreter for each takes long."""


def said(
    directory: Path, *arguments: str, around: dict[str, str] | None = None, program: str = MAIN, **more: Any
) -> subprocess.CompletedProcess[bytes]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONIOENCODING"}
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=directory,
        env=environment | {"PYTHONPATH": str(ROOT)} | (around or {}),
        timeout=150,
        check=False,
        **({"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | more),
    )


@pytest.mark.servers
@pytest.mark.parametrize("around", ["PYTHONIOENCODING=ascii", "LC_ALL=C"])
def test_the_help_of_every_verb_fits_an_output_that_takes_only_ascii(around: str, tmp_path: Path) -> None:
    program = (
        IN_TURN
        + f"""
from loadtests.lab.cli import main
sys.exit(any([ended(main, "--help"), *(ended(main, verb, "--help") for verb in {list(VERBS)})]))
"""
    )
    done = said(tmp_path, around=CHARSETS[around], program=program)
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode("ascii").count("Usage:") == len(VERBS) + 1


@pytest.mark.servers
def test_the_programs_beside_the_command_end_as_it_does(tmp_path: Path) -> None:
    program = (
        IN_TURN
        + f"""
import runpy
def run(name): return lambda: runpy.run_module(f"loadtests.lab.studies.{{name}}", run_name="__main__")
found = [(ended(run(name), "--help"), ended(run(name), "--no-such-option")) for name in {PROGRAMS}]
sys.exit(f"{{found}}" if set(found) != {{(0, 64)}} else 0)
"""
    )
    done = said(tmp_path, around=C_LOCALE, program=program)
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode("ascii").count("Usage:") == len(PROGRAMS)


RUNS = {
    "run": (("run", "--guard", "none", "--think", "5", "--capacity", "40"), {1}, "the sale went wrong"),
    "demo": (("demo", "--worker", "gevent", "--rounds", "1", "--capacity", "60"), {0}, "gevent x 2"),
    "explore": (("explore", "--most", "2"), {0, 1}, "2 schedules"),
    "lesson": (("lesson",), {0}, "the lessons"),
    "a lesson": (("lesson", "tcp", "--connections", "8", "--rounds", "1", "--html", "lesson.html"), {0, 1}, "claim"),
    "exercise": (("exercise",), {0}, "the exercises"),
    "compare": (("compare", "--worker", "gevent", "--store", "json", "--budget", "1s"), {2}, "budget"),
    "journal": (("journal", "verify"), {64}, "there is no journal"),
    "store": (("store", "init"), {64}, "name the engine"),
    "target": (("target", "new", "no-such-document.json"), {64}, "cannot be read"),
    "lock": (("lock", "status", "--url", "http://127.0.0.1:9"), {70}, "nobody answers"),
}


@pytest.mark.servers
@pytest.mark.parametrize("what", RUNS)
def test_every_verb_works_where_the_output_takes_only_ascii(what: str, tmp_path: Path) -> None:
    arguments, statuses, says = RUNS[what]
    (tmp_path / "data").mkdir()
    done = said(tmp_path, *arguments, around=C_LOCALE)
    text = (done.stdout + done.stderr).decode("ascii")
    assert done.returncode in statuses, text
    assert "Traceback" not in text
    assert says in " ".join(text.split()).lower()
    pages = [*tmp_path.rglob("report.html"), *tmp_path.glob("lesson.html")]
    assert all(not page.read_text(encoding="utf-8").isascii() for page in pages)
    assert bool(pages) == (what in {"run", "demo", "explore", "a lesson", "compare"})


@pytest.mark.servers
@pytest.mark.parametrize("around", CHARSETS)
def test_a_verdict_is_the_same_whatever_the_charset(around: str, tmp_path: Path) -> None:
    for folder, status in ((VALID, 0), (INVALID, 1)):
        done = said(tmp_path, "check", str(folder), around=CHARSETS[around])
        assert (done.returncode, done.stderr) == (status, b"")
        as_json = said(tmp_path, "check", str(folder), "--json", around=CHARSETS[around])
        assert as_json.returncode == status
        assert json.loads(as_json.stdout)["verdict"] == ("valid", "invalid")[status]


@pytest.mark.servers
def test_a_valid_run_in_a_folder_that_the_locale_cannot_read_is_0(tmp_path: Path) -> None:
    done = said(tmp_path, "run", "--capacity", "30", "--buyers", "8", "--results", "é–", "--json", around=C_LOCALE)
    assert done.returncode == 0, done.stderr
    content = json.loads(done.stdout)
    assert (content["verdict"], content["acknowledged"]) == ("valid", 30)
    assert Path(content["folder"]).parent == tmp_path / "é–" / "run"
    assert Path(content["report"]).is_file()


@pytest.mark.servers
def test_a_lock_is_switched_where_the_output_takes_only_ascii(tmp_path: Path) -> None:
    with RunningOffice(Service(processes=1), tmp_path) as office:
        done = said(tmp_path, "lock", "off", "--url", office.url, "--data", str(office.data), around=C_LOCALE)
    assert done.returncode == 0, done.stderr
    assert "it is none now" in done.stdout.decode("ascii")


A_FILE = str(VALID / "history.jsonl")
PLACES = {
    "check": ("loadtests.lab.commands.check", "judge_folder", str(VALID)),
    "run": ("loadtests.lab.report.progress", "run"),
    "demo": ("loadtests.lab.report.progress", "run"),
    "explore": ("loadtests.lab.commands.explore", "_explore"),
    "compare": ("loadtests.lab.commands.output", "open_cache"),
    "faults": ("loadtests.lab.commands.faults", "clean_up"),
    "bench": ("loadtests.lab.commands.bench", "Bench"),
    "lesson": ("workers.lessons.command", "run_lesson", "tcp"),
    "exercise": ("workers.exercises.command", "grade", "check", "."),
    "target": ("loadtests.lab.commands.target", "_look", "new", "http://127.0.0.1:9"),
    "lock": ("loadtests.lab.commands.lock", "find_token", "status"),
    "journal": ("service.commands.journal", "_journals", "verify", "--data", "."),
    "store": ("service.commands.store", "set_up", "init", "redis://nowhere"),
    "serve": ("workers.serve", "refuse_taken_port"),
    "saturate": ("loadtests.lab.report.progress", "run"),
    "record": ("loadtests.lab.commands.options", "read_target", "--target", A_FILE),
    "import": ("loadtests.lab.commands.import_", "read_map", "csv", A_FILE, "--map", A_FILE),
    "where": ("loadtests.lab.commands.where", "places"),
}


@pytest.mark.servers
def test_a_fault_of_the_lab_that_nobody_foresaw_is_70_in_every_verb(tmp_path: Path) -> None:
    assert set(PLACES) == set(VERBS)
    program = (
        IN_TURN
        + f"""
import importlib
from loadtests.lab.cli import main
def fail(*_, **__): raise ZeroDivisionError("unforeseen")
for verb, (module, function, *arguments) in {PLACES}.items():
    setattr(importlib.import_module(module), function, fail)
    print(verb, ended(main, verb, *arguments))
"""
    )
    done = said(tmp_path, program=program)
    assert done.stdout.decode().splitlines() == [f"{verb} {EXIT_LAB_FAILED}" for verb in PLACES], done.stderr
    assert done.stderr.count(b"The lab itself failed, which says nothing about the service") == len(PLACES)
    assert done.stderr.count(b": ZeroDivisionError: unforeseen") == len(PLACES)
    for verb in ("run", "demo", "bench"):
        assert f"is kept in results/{verb}/".encode() in done.stderr


FAULTS = (
    "RuntimeError('1')", "KeyError('2')", "OSError(28, '3')", "BrokenPipeError(32, '4')", "EOFError('5')",
    "SystemExit(0)", "SystemExit(1)", "UnicodeEncodeError('ascii', '→', 0, 1, '8')", "RecursionError('9')",
)  # fmt: skip


@pytest.mark.servers
def test_every_kind_of_unforeseen_fault_is_70(tmp_path: Path) -> None:
    program = (
        IN_TURN
        + f"""
from loadtests.lab.commands import check
from loadtests.lab.cli import main
faults = [{", ".join(FAULTS)}]
def fail(*_, **__): raise faults[0]
check.show = fail
while faults:
    print(ended(main, "check", {str(VALID)!r}))
    faults.pop(0)
"""
    )
    done = said(tmp_path, program=program, around=CHARSETS["PYTHONIOENCODING=ascii"])
    statuses = done.stdout.decode().split()
    assert statuses == ["70"] * len(FAULTS), done.stderr


@pytest.mark.servers
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    ("arguments", "into"),
    [
        (("lesson",), "stdout"),
        (("check", str(VALID), "--json"), "stdout"),
        (("--help",), "stdout"),
        (("check", "nowhere"), "stderr"),
    ],
)
def test_a_reader_that_has_left_is_141_and_no_verdict(
    arguments: tuple[str, ...], into: str, unbuffered: str, tmp_path: Path
) -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        done = said(tmp_path, *arguments, around={"PYTHONUNBUFFERED": unbuffered}, **{into: write})
    finally:
        os.close(write)
    assert done.returncode == EXIT_NOBODY_READS, done.stderr
    assert not done.stderr


@pytest.mark.servers
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_an_output_that_is_full_is_70_and_no_verdict(unbuffered: str, tmp_path: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        done = said(tmp_path, "check", str(VALID), around={"PYTHONUNBUFFERED": unbuffered}, stdout=full)
    assert done.returncode == EXIT_LAB_FAILED
    assert b"No space left on device" in done.stderr


@pytest.mark.servers
def test_a_verdict_is_given_where_there_is_no_output_at_all(tmp_path: Path) -> None:
    for folder, status in ((VALID, 0), (INVALID, 1)):
        command = f'exec "$0" -c "$1" check {folder} >&- 2>&-'
        done = subprocess.run(["sh", "-c", command, sys.executable, MAIN], cwd=tmp_path, check=False)
        assert done.returncode == status


def test_text_files_have_the_same_encoding_whatever_the_locale() -> None:
    without = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in [*ROOT.glob("loadtests/**/*.py"), *ROOT.glob("workers/**/*.py")]
        if path.name != "start.py"  # a learner's program, whose subject is another
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and _is_text(node) and "encoding" not in {each.arg for each in node.keywords}
    ]
    assert without == []


def _is_text(call: ast.Call) -> bool:
    """Whether a call opens a file, or a pipe, as text."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    modes = [arg.value for arg in call.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
    match name:
        case "read_text" | "write_text":
            return True
        case "open" | "fdopen":
            return any(mode in {"r", "w", "a", "x"} for mode in modes)
        case "run" | "Popen":
            return any(each.arg in {"text", "universal_newlines"} for each in call.keywords)
    return False
