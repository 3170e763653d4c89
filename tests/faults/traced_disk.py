"""The files of a traced run, call by call: what is on the disk for sure, and what may not be there after a power cut.

A file's content and a directory's names are each on the disk only once that file, that directory was synced; until
then every change waits by itself. So little is what POSIX promises; real file systems promise more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import NamedTuple

from system_calls import Call


class Write(NamedTuple):
    offset: int
    data: bytes


class Resize(NamedTuple):
    size: int


Change = Write | Resize


@dataclass(eq=False)
class File:
    """A file, whatever its name: what is on the disk for sure, and the changes that may not be."""

    synced: bytes = b""
    changes: list[tuple[int, Change]] = field(default_factory=list)
    mapped: bool = False

    @property
    def content(self) -> bytes:
        return changed(self.synced, (change for _, change in self.changes))


@dataclass(eq=False)
class Folder:
    """A directory: the names that are on the disk for sure, and the changes that may not be, each a set of names."""

    synced: dict[str, File | Folder] = field(default_factory=dict)
    changes: list[tuple[int, dict[str, File | Folder | None]]] = field(default_factory=list)

    @property
    def names(self) -> dict[str, File | Folder]:
        return renamed(self.synced, (change for _, change in self.changes))


Node = File | Folder


class Disk:
    """The files of a run, call by call. ``folder`` is the part of the file system that is looked at."""

    def __init__(self, folder: str, answers: str) -> None:
        self._root = PurePosixPath(folder)
        self._answers_path = answers
        self.root = Folder()
        self.answers: list[bytes] = []
        self._positions: dict[tuple[int, str], int] = {}
        self._appending: set[tuple[int, str]] = set()
        self._gone: dict[str, Node] = {}
        self._place = 0

    def happen(self, call: Call, place: int) -> None:
        """Let one call take effect."""
        self._place = place
        action = getattr(self, f"_{call.name}", None)
        if action is None:
            raise NotImplementedError(f"a {call.name} in the traced program is not understood: {call}")
        action(call)

    def is_sync(self, call: Call) -> bool:
        return call.name in {"fsync", "fdatasync"} and self._ours(call.file(0)[1])

    # -- calls ----------------------------------------------------------------------------------------------------

    def _openat(self, call: Call) -> None:
        path, flags = call.path(1), call.arguments[2]
        if not path.startswith("/"):
            path = str(PurePosixPath(call.file(0)[1]) / path)
        self._opened(call, path, flags)

    def _open(self, call: Call) -> None:
        self._opened(call, call.path(0), call.arguments[1])

    def _opened(self, call: Call, path: str, flags: str) -> None:
        number, _, _ = call.opened
        if not self._ours(path):
            return
        parent, name = self._parent(path)
        if "O_CREAT" in flags and name not in parent.names:
            parent.changes.append((self._place, {name: File()}))
        node = parent.names.get(name)
        if "O_TRUNC" in flags and isinstance(node, File):
            node.changes.append((self._place, Resize(0)))
        self._positions[number, path] = 0
        self._appending.discard((number, path))
        if "O_APPEND" in flags:
            self._appending.add((number, path))

    def _lseek(self, call: Call) -> None:
        number, path, _ = call.file(0)
        if (number, path) in self._positions:
            self._positions[number, path] = int(call.result.split()[0])

    def _write(self, call: Call) -> None:
        number, path, _ = call.file(0)
        data = call.content(1)[: int(call.result)]
        if path == self._answers_path:
            self.answers.append(data)
        file = self._file(call)
        if file is None:
            return
        at = self._positions[number, path]
        if (number, path) in self._appending:
            at = len(file.content)
        file.changes.append((self._place, Write(at, data)))
        self._positions[number, path] = at + len(data)

    def _pwrite64(self, call: Call) -> None:
        file = self._file(call)
        if file is not None:
            file.changes.append((self._place, Write(call.number(3), call.content(1)[: int(call.result)])))

    def _ftruncate(self, call: Call) -> None:
        file = self._file(call)
        if file is not None:
            file.changes.append((self._place, Resize(call.number(1))))

    def _fallocate(self, call: Call) -> None:
        file = self._file(call)
        end = call.number(2) + call.number(3)
        if file is not None and call.arguments[1] == "0" and len(file.content) < end:
            file.changes.append((self._place, Resize(end)))

    def _mmap(self, call: Call) -> None:
        if "MAP_SHARED" in call.arguments[3] and "PROT_WRITE" in call.arguments[2]:
            file = self._file(call, 4)
            if file is not None:
                file.mapped = True

    def _fdatasync(self, call: Call) -> None:
        _, path, gone = call.file(0)
        if not self._ours(path):
            return
        node = self._node(path, gone)
        before = [change for place, change in node.changes if place < call.began]
        after = [(place, change) for place, change in node.changes if place >= call.began]
        if isinstance(node, File):
            node.synced = changed(node.synced, before)  # type: ignore[arg-type]
            node.changes = after  # type: ignore[assignment]
        else:
            node.synced = renamed(node.synced, before)  # type: ignore[arg-type]
            node.changes = after  # type: ignore[assignment]

    _fsync = _fdatasync

    def _rename(self, call: Call) -> None:
        self._moved(call.path(0), call.path(1))

    def _renameat(self, call: Call) -> None:
        self._moved(call.path(1), call.path(3))

    _renameat2 = _renameat

    def _moved(self, source: str, target: str) -> None:
        if not self._ours(source):
            return
        (old, name), (new, wanted) = self._parent(source), self._parent(target)
        node = old.names[name]
        self._remember(target)
        if old is new:
            old.changes.append((self._place, {wanted: node, name: None}))
        else:
            new.changes.append((self._place, {wanted: node}))
            old.changes.append((self._place, {name: None}))

    def _link(self, call: Call) -> None:
        self._linked(call.path(0), call.path(1))

    def _linkat(self, call: Call) -> None:
        self._linked(call.path(1), call.path(3))

    def _linked(self, source: str, target: str) -> None:
        if self._ours(source):
            (old, name), (new, wanted) = self._parent(source), self._parent(target)
            new.changes.append((self._place, {wanted: old.names[name]}))

    def _unlink(self, call: Call) -> None:
        self._removed(call.path(0))

    def _unlinkat(self, call: Call) -> None:
        path = call.path(1)
        self._removed(path if path.startswith("/") else str(PurePosixPath(call.file(0)[1]) / path))

    _rmdir = _unlink

    def _removed(self, path: str) -> None:
        if self._ours(path):
            self._remember(path)
            parent, name = self._parent(path)
            parent.changes.append((self._place, {name: None}))

    def _mkdir(self, call: Call) -> None:
        if self._ours(call.path(0)) and call.path(0) != str(self._root):
            parent, name = self._parent(call.path(0))
            parent.changes.append((self._place, {name: Folder()}))

    # -- names ----------------------------------------------------------------------------------------------------

    def _ours(self, path: str) -> bool:
        return PurePosixPath(path).is_relative_to(self._root)

    def _parent(self, path: str) -> tuple[Folder, str]:
        *folders, name = PurePosixPath(path).relative_to(self._root).parts or ("",)
        found: Node = self.root
        for each in folders:
            found = found.names[each] if isinstance(found, Folder) else found
        if not isinstance(found, Folder):
            raise NotADirectoryError(path)
        return found, name

    def _node(self, path: str, gone: bool) -> Node:
        if path == str(self._root):
            return self.root
        if gone:
            return self._gone[path]
        parent, name = self._parent(path)
        return parent.names[name]

    def _remember(self, path: str) -> None:
        """A file that loses its name may still be open, and written to."""
        parent, name = self._parent(path)
        if name in parent.names:
            self._gone[path] = parent.names[name]

    def _file(self, call: Call, index: int = 0) -> File | None:
        if call.arguments[index].startswith("-1"):
            return None
        _, path, gone = call.file(index)
        if not self._ours(path):
            return None
        node = self._node(path, gone)
        return node if isinstance(node, File) else None

    def nodes(self) -> Iterator[tuple[str, Node]]:
        """Every file and directory that may have a name after a cut, the root first."""
        seen: set[Node] = set()
        waiting: list[tuple[str, Node]] = [("", self.root)]
        while waiting:
            path, node = waiting.pop()
            if node in seen:
                continue
            seen.add(node)
            yield path, node
            if isinstance(node, Folder):
                for names in (node.synced, *(change for _, change in node.changes)):
                    waiting += [(f"{path}/{name}", each) for name, each in names.items() if each is not None]


def changed(content: bytes, changes: Iterable[Change]) -> bytes:
    """A content after some changes; what was never written reads as zeros."""
    left = bytearray(content)
    for change in changes:
        if isinstance(change, Resize):
            del left[change.size :]
            left.extend(bytes(change.size - len(left)))
        else:
            left.extend(bytes(max(0, change.offset - len(left))))
            left[change.offset : change.offset + len(change.data)] = change.data
    return bytes(left)


def renamed(names: dict[str, Node], changes: Iterable[dict[str, Node | None]]) -> dict[str, Node]:
    """The names in a directory after some changes."""
    left: dict[str, Node | None] = dict(names)
    for change in changes:
        left |= change
    return {name: node for name, node in left.items() if node is not None}
