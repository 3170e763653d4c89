"""The interpreters of this machine that the lesson on the GIL can ask: the running one, others, free-threaded ones."""

from __future__ import annotations

import contextlib
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from workers.lessons.children import ChildFailed, in_interpreter

PROBE = Path(__file__).with_name("gil_probe.py")
MOST_OTHERS = 6
_MINORS = range(8, 17)
# Where tools that install interpreters put them.
_HOMES = (".pyenv/versions/*/bin", ".local/share/uv/python/*/bin", ".local/share/mise/installs/python/*/bin")


def this_one(threads: int, times: int) -> dict[str, Any]:
    """Everything, from the interpreter that runs the lesson."""
    return _ask(sys.executable, threads, times, "all")


def others(threads: int, times: int) -> Iterator[dict[str, Any]]:
    """One CPython of each other version that is found, free-threaded ones first, then the oldest."""
    for about in sorted(_found(), key=lambda each: (not each["free_threaded"], each["minor"]))[:MOST_OTHERS]:
        with contextlib.suppress(ChildFailed):  # one that cannot run the probe teaches nothing
            yield _ask(about["path"], threads, times, "others")


def _found() -> list[dict[str, Any]]:
    """What each interpreter says of itself, one for each minor version and kind, without the running one's."""
    known = {(sys.version_info[1], not _has_gil())}
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


def _has_gil() -> bool:
    import sysconfig

    return not sysconfig.get_config_var("Py_GIL_DISABLED")


def _ask(python: str, threads: int, times: int, parts: str) -> dict[str, Any]:
    found: dict[str, Any] = in_interpreter(python, PROBE, {"threads": threads, "times": times, "parts": parts})
    return found
