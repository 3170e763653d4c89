"""What a program asks of the file system: its system calls under strace, in the order in which they happened.

All programs are seen in the same way, whatever they are written in: SQLite's calls are made by its library, where
nothing of Python could be wrapped. strace stops a thread before and after each call and writes it down before the
thread goes on; so what a program knows to be written, it also finds written down as done before its next step.

A call that another one overtakes is kept twice: where it ``began`` and where it was done. A sync promises nothing
about what was written after it began.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath

from loadtests.lab.faults.base import NotInjected

CALLS = """
    open openat creat write pwrite64 writev pwritev pwritev2 lseek fsync fdatasync syncfs sync_file_range rename
    renameat renameat2 link linkat unlink unlinkat rmdir mkdir mkdirat truncate ftruncate fallocate mmap copy_file_range
    sendfile
""".split()  # noqa: SIM905
SYNCS = "fsync,fdatasync,syncfs"
REMEDY = (
    "install strace (apt-get install strace) and take root, or let users trace their own processes "
    "(sysctl kernel.yama.ptrace_scope=0); in a container: --cap-add=SYS_PTRACE."
)
_PATIENCE_S = 120
_OPTIONS = ("-f", "-qq", "-y", "-xx", "-s", "16777216", "-e", "signal=none", "-e", f"trace={','.join(CALLS)}")
_LINE = re.compile(r"(\d+) +(.*)")
_WHOLE = re.compile(r"(\w+)\((.*)\) += (-?\d+|0x[0-9a-f]+)(.*)", re.DOTALL)
_BEGUN = re.compile(r"(\w+)\((.*) <unfinished \.\.\.>$", re.DOTALL)
_RESUMED = re.compile(r"<\.\.\. (\w+) resumed>(.*)", re.DOTALL)
_FD = re.compile(r"(-?\d+|AT_FDCWD)(?:<(.*)>)?(\(deleted\))?$", re.DOTALL)
_GATHERED = re.compile(r'iov_base="([^"]*)"')
_BORDER = re.compile(r"[][{}(),]")


class NoTracing(NotInjected):
    """This machine does not let us trace a process; the message says why, and what to do."""


@dataclass(slots=True)
class Call:
    """A call that succeeded. ``began`` is the place in the list of calls at which it was begun."""

    name: str
    arguments: list[str]
    result: str
    began: int

    def number(self, index: int) -> int:
        return int(self.arguments[index], 0)

    def content(self, index: int) -> bytes:
        """An argument that is a string, as bytes."""
        return _bytes(self.arguments[index])

    def path(self, index: int) -> str:
        return self.content(index).decode()

    def file(self, index: int) -> tuple[int, str, bool]:
        """An argument that is a descriptor: its number, the path it was opened by, and whether that is gone."""
        return _file(self.arguments[index])

    def path_at(self, index: int) -> str:
        """Two arguments, a descriptor of a directory and a path from there, as one path."""
        path = self.path(index + 1)
        return path if path.startswith("/") else str(PurePosixPath(self.file(index)[1]) / path)

    def gathered(self, index: int) -> bytes:
        """An argument that is a list of strings, as bytes."""
        return b"".join(_bytes(piece) for piece in _GATHERED.findall(self.arguments[index]))

    @property
    def paths(self) -> Iterator[str]:
        """The absolute paths among the arguments, and those by which its descriptors were opened."""
        for each in self.arguments:
            if found := _FD.match(each):
                yield _place(found[2] or "")
            elif each.startswith('"\\x2f'):
                yield _bytes(each).decode()

    @property
    def opened(self) -> tuple[int, str, bool]:
        """The descriptor that the call gave."""
        return _file(self.result)


def prefix(*, sync_waits_ms: int = 0) -> tuple[str, ...]:
    """What stands before the name of a file and a program's command, so that its calls are written into the file, and
    those of all that it starts.

    Each sync waits for ``sync_waits_ms`` before it begins. The program keeps the process id and the group that it would
    have without. strace is in that group, too.
    """
    waits = ("-e", f"inject={SYNCS}:delay_enter={sync_waits_ms}000") if sync_waits_ms else ()
    return (shutil.which("strace") or "strace", "-D", "--seccomp-bpf", *_OPTIONS, *waits, "-o")


@cache
def why_not() -> str:
    """Why programs cannot be traced from their start here, and what to do; empty where they can."""
    try:
        strace()
    except NoTracing as error:
        return str(error)
    tried = subprocess.run(
        [*prefix(), "/dev/null", "true"], capture_output=True, text=True, encoding="utf-8", check=False
    )
    return f"strace may not trace here ({tried.stderr.strip()}): {REMEDY}" if tried.returncode else ""


def traced(command: Sequence[str], into: Path, *, sync_lasts_ms: int = 0) -> list[Call]:
    """Run a program to its end and give the calls that it and its children made. It must end with status 0.

    Each sync is begun and then held for ``sync_lasts_ms``: so much do others write meanwhile, which it does not cover.
    Raises ``NoTracing``.
    """
    options = [*_OPTIONS, "-e", f"inject={SYNCS}:delay_exit={sync_lasts_ms}000"] if sync_lasts_ms else [*_OPTIONS]
    ran = subprocess.run(
        [strace(), *options, "-o", str(into), *command],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=_PATIENCE_S,
        check=False,
    )
    if ran.returncode:
        raise RuntimeError(f"the traced program ended with status {ran.returncode}:\n{ran.stdout}\n{ran.stderr}")
    with into.open(encoding="ascii") as lines:
        return list(parse(lines))


def parse(lines: Iterable[str]) -> Iterator[Call]:
    """The successful calls in a file that strace wrote, by the time at which they were done.

    A last line that is not whole is of a call that was not done: its program was killed, and strace with it.
    """
    done = 0
    begun: dict[str, tuple[str, int]] = {}
    for line in lines:
        if not line.endswith("\n"):
            break
        found = _LINE.match(line)
        if found is None:
            raise ValueError(f"strace wrote what is no call: {line[:200]}")
        thread, said = found.groups()
        began = done
        if half := _BEGUN.match(said):
            begun[thread] = f"{half[1]}({half[2]}", began
            continue
        if rest := _RESUMED.match(said):
            head, began = begun.pop(thread)
            said = head + rest[2]
        whole = _WHOLE.match(said)
        if whole is not None and whole[3] != "-1":
            yield Call(whole[1], list(_arguments(whole[2])), whole[3] + whole[4].strip(), began)
            done += 1


def strace() -> str:
    """The path of strace. Raises ``NoTracing``."""
    if (found := shutil.which("strace")) is None:
        raise NoTracing(f"there is no strace: {REMEDY}")
    return found


def _arguments(text: str) -> Iterator[str]:
    """Split at the commas that stand outside of strings, brackets and paths; all that is quoted is in hexadecimal."""
    depth, start = 0, 0
    for border in _BORDER.finditer(text):
        letter = border[0]
        if letter in "[{(":
            depth += 1
        elif letter in "]})":
            depth -= 1
        elif not depth:
            yield text[start : border.start()].strip()
            start = border.end()
    if text:
        yield text[start:].strip()


def _file(text: str) -> tuple[int, str, bool]:
    found = _FD.match(text)
    if found is None:
        raise ValueError(f"this is no descriptor: {text[:200]}")
    number = -100 if found[1] == "AT_FDCWD" else int(found[1])
    return number, _place(found[2] or ""), bool(found[3])


def _place(text: str) -> str:
    """The path of an open file; what is no file, as a pipe, gets one that no file has."""
    path = _bytes(text).decode()
    return path if path.startswith("/") else f"//{path}"


def _bytes(text: str) -> bytes:
    text = text.strip('"')
    if text.startswith("\\x"):
        return bytes.fromhex(text.replace("\\x", ""))
    if text:
        raise ValueError(f"this is no string in hexadecimal: {text[:200]}")
    return b""
