"""The process that explores a learner's program within limits: ``python -m … NAME FILE SECONDS RESULT``.

It writes what it found into the file RESULT as JSON: ``Explored``, or the ``Finding`` that made exploring impossible.
"""

from __future__ import annotations

import operator
import os
import resource
import sys
import traceback
from pathlib import Path
from types import ModuleType

import msgspec

from workers.exercises import load
from workers.exercises.common.exercise import Explored, Finding
from workers.exercises.common.program import Program
from workers.lessons.common.processes import die_with_parent

MOST_BYTES = 1 << 30
"""Address space of each process: interpreter, explorer, and some hundred megabytes for the program."""
MOST_FILE_BYTES = 64 << 20


def main(name: str, path: Path, limit_s: float) -> Explored | Finding:
    """Explores a program. Whatever is wrong with it comes back as a finding."""
    try:
        program = Program(path)
    except SyntaxError as error:
        return Finding("syntax", {"line": error.lineno or 0, "source": (error.text or "").strip(), "error": error.msg})
    except (OSError, ValueError) as error:
        return Finding("unreadable", {"file": path.name, "error": str(error)})
    exercise = load(name)
    try:
        module = program.load()
        missing = [each for each in exercise.needs if not _has(module, each)]
        if missing:
            return Finding("missing", {"name": missing[0]})
        return exercise.explore(path, exercise.plan, limit_s)
    except ModuleNotFoundError as error:
        return Finding("import", {"module": error.name})
    except (Exception, SystemExit) as error:
        return program.raised(error)


def _has(module: ModuleType, name: str) -> bool:
    try:
        return callable(operator.attrgetter(name)(module))
    except AttributeError:
        return False


def set_limits(limit_s: float) -> None:
    """What this process, and each that it starts, may use at most."""
    die_with_parent()
    for kind, most in (
        (resource.RLIMIT_AS, MOST_BYTES),
        (resource.RLIMIT_CPU, int(limit_s) + 1),
        (resource.RLIMIT_FSIZE, MOST_FILE_BYTES),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(kind)
        least = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (least, least))


if __name__ == "__main__":
    name, path, limit_s, result = sys.argv[1:]
    set_limits(float(limit_s))
    try:
        found = main(name, Path(path), float(limit_s))
    except MemoryError:
        found = Finding("memory", {"megabytes": MOST_BYTES >> 20})
    except BaseException:
        found = Finding("check_failed", {"error": traceback.format_exc()})
    Path(result).write_bytes(msgspec.json.encode({type(found).__name__: found}))
    os._exit(0)  # threads of an order that does not end are left behind
