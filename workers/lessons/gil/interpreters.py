"""The Python interpreters of this machine: the running one, others, free-threaded ones; each runs the probe."""

from __future__ import annotations

import contextlib
import shutil
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from workers.lessons.common.processes import ChildFailed, run_script

PROBE = Path(__file__).with_name("probe.py")
MOST_OTHERS = 6
_MINORS = range(8, 17)
# Where tools that install interpreters put them.
_HOMES = (".pyenv/versions/*/bin", ".local/share/uv/python/*/bin", ".local/share/mise/installs/python/*/bin")


def this_one(threads: int, times: int) -> dict[str, Any]:
    """All measurements, by the interpreter that runs the lesson."""
    return _ask(sys.executable, threads, times, "all")


def others(threads: int, times: int) -> Iterator[dict[str, Any]]:
    """The measurements of one CPython of each other version, free-threaded ones first, then the oldest."""
    for about in sorted(_found(), key=lambda each: (not each["free_threaded"], each["minor"]))[:MOST_OTHERS]:
        with contextlib.suppress(ChildFailed):  # an interpreter that cannot run the probe is left out
            yield _ask(about["path"], threads, times, "others")


def _found() -> list[dict[str, Any]]:
    """The answers of the other interpreters about themselves, one for each minor version and kind."""
    known = {(sys.version_info[1], bool(sysconfig.get_config_var("Py_GIL_DISABLED")))}
    found = []
    for python in _candidates():
        try:
            about = _ask(str(python), 1, 1, "ask")["about"]
        except ChildFailed:
            continue
        kind = (about["minor"][1], about["free_threaded"])
        if about["implementation"] == "cpython" and about["minor"][0] == 3 and kind not in known:
            known.add(kind)
            found.append(about)
    return found


def _candidates() -> Iterator[Path]:
    names = [f"python3.{minor}{suffix}" for minor in _MINORS for suffix in ("t", "")]
    for home in _HOMES:
        for folder in sorted(Path.home().glob(home)):
            yield from (folder / name for name in names if (folder / name).exists())
    for name in names:
        path = shutil.which(name)
        if path is not None:
            yield Path(path)


def _ask(python: str, threads: int, times: int, parts: str) -> dict[str, Any]:
    found: dict[str, Any] = run_script(python, PROBE, {"threads": threads, "times": times, "parts": parts})
    return found
