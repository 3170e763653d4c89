"""What a program asks of the file system: its system calls under strace, in the order in which they happened.

All the durable stores are seen in the same way, whatever they are written in: SQLite's calls are made by its library,
where nothing of Python could be wrapped. strace stops a thread before and after each call and writes it down before
the thread goes on; so what a program knows to be written, it also finds written down as done before its next step.

A call that another one overtakes is kept twice: where it ``began`` and where it was done. A sync promises nothing
about what was written after it began.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

CALLS = """
    open openat creat write pwrite64 writev pwritev pwritev2 lseek fsync fdatasync sync_file_range rename renameat
    renameat2 link linkat unlink unlinkat rmdir mkdir mkdirat truncate ftruncate fallocate mmap copy_file_range
    sendfile
""".split()  # noqa: SIM905
_PATIENCE_S = 120
_LINE = re.compile(r"(\d+) +(.*)")
_WHOLE = re.compile(r"(\w+)\((.*)\) += (-?\d+|0x[0-9a-f]+)(.*)", re.DOTALL)
_BEGUN = re.compile(r"(\w+)\((.*) <unfinished \.\.\.>$", re.DOTALL)
_RESUMED = re.compile(r"<\.\.\. (\w+) resumed>(.*)", re.DOTALL)
_FD = re.compile(r"(-?\d+|AT_FDCWD)(?:<(.*)>)?(\(deleted\))?$", re.DOTALL)


class NoTracing(Exception):
    """This machine has no strace or does not let us use it; the message says what to do."""


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

    @property
    def opened(self) -> tuple[int, str, bool]:
        """The descriptor that the call gave."""
        return _file(self.result)


@cache
def refuse_without_strace() -> None:
    """Raises ``NoTracing`` where calls cannot be traced."""
    if shutil.which("strace") is None:
        raise NoTracing("the power-cut tests trace system calls and found no strace: `sudo apt-get install strace`")
    tried = subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        raise NoTracing(
            f"strace may not trace here ({tried.stderr.strip()}). In a container: run it with --cap-add=SYS_PTRACE"
        )


def traced(command: Sequence[str], into: Path, *, sync_lasts_ms: int = 0) -> list[Call]:
    """Run a program to its end and give the calls that it and its children made. It must end with status 0.

    Each sync is begun and then held for ``sync_lasts_ms``: so much do others write meanwhile, which it does not cover.
    """
    refuse_without_strace()
    options = ["-f", "-y", "-xx", "-s", "16777216", "-e", "signal=none", "-e", f"trace={','.join(CALLS)}"]
    if sync_lasts_ms:
        options += ["-e", f"inject=fsync,fdatasync:delay_exit={sync_lasts_ms}000"]
    ran = subprocess.run(
        ["strace", *options, "-o", str(into), *command],
        capture_output=True,
        text=True,
        timeout=_PATIENCE_S,
        check=False,
    )
    if ran.returncode:
        raise RuntimeError(f"the traced program ended with status {ran.returncode}:\n{ran.stdout}\n{ran.stderr}")
    return parse(into.read_text())


def parse(text: str) -> list[Call]:
    """The successful calls in a file that strace wrote, by the time at which they were done."""
    calls: list[Call] = []
    begun: dict[str, tuple[str, int]] = {}
    for line in text.splitlines():
        found = _LINE.match(line)
        if found is None:
            raise ValueError(f"strace wrote what is no call: {line[:200]}")
        thread, said = found.groups()
        began = len(calls)
        if half := _BEGUN.match(said):
            begun[thread] = f"{half[1]}({half[2]}", began
            continue
        if rest := _RESUMED.match(said):
            head, began = begun.pop(thread)
            said = head + rest[2]
        whole = _WHOLE.match(said)
        if whole is not None and whole[3] != "-1":
            calls.append(Call(whole[1], list(_arguments(whole[2])), whole[3] + whole[4].strip(), began))
    return calls


def _arguments(text: str) -> Iterator[str]:
    """Split at the commas that stand outside of strings, brackets and paths; all that is quoted is in hexadecimal."""
    depth, start = 0, 0
    for place, letter in enumerate(text):
        if letter in "[{(":
            depth += 1
        elif letter in "]})":
            depth -= 1
        elif letter == "," and not depth:
            yield text[start:place].strip()
            start = place + 1
    if text:
        yield text[start:].strip()


def _file(text: str) -> tuple[int, str, bool]:
    found = _FD.match(text)
    if found is None:
        raise ValueError(f"this is no descriptor: {text[:200]}")
    number = -100 if found[1] == "AT_FDCWD" else int(found[1])
    return number, _bytes(found[2] or "").decode(), bool(found[3])


def _bytes(text: str) -> bytes:
    text = text.strip('"')
    if text.startswith("\\x"):
        return bytes.fromhex(text.replace("\\x", ""))
    if text:
        raise ValueError(f"this is no string in hexadecimal: {text[:200]}")
    return b""
