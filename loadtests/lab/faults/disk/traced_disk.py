"""The files of a traced run, call by call: what is on the disk for sure, and what may not be there after a power cut.

A file's content and a directory's names are each on the disk only once that file, that directory was synced; until
then every change waits by itself. So little is what POSIX promises; real file systems promise more.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from loadtests.lab.faults.disk.tracing import SYNCS, Call

SECTOR = 512
"""Bytes that a disk writes whole or not at all."""
Image = dict[str, bytes | None]
"""What stands on a disk: path, relative to the folder, and content; None for a directory."""


class Write(NamedTuple):
    offset: int
    data: bytes


class Resize(NamedTuple):
    size: int


Change = Write | Resize


@dataclass(eq=False)
class File:
    """A file, whatever its name: what is on the disk for sure, and the changes that may not be."""

    synced: bytearray = field(default_factory=bytearray)
    changes: list[tuple[int, Change]] = field(default_factory=list)
    mapped: bool = False

    @property
    def content(self) -> bytes:
        return changed(self.synced, (change for _, change in self.changes))

    @property
    def size(self) -> int:
        size = len(self.synced)
        for _, change in self.changes:
            size = change.size if isinstance(change, Resize) else max(size, change.offset + len(change.data))
        return size


@dataclass(eq=False)
class Folder:
    """A directory: the names that are on the disk for sure, and the changes that may not be, each a set of names."""

    synced: dict[str, File | Folder] = field(default_factory=dict)
    changes: list[tuple[int, dict[str, File | Folder | None]]] = field(default_factory=list)

    @property
    def names(self) -> dict[str, File | Folder]:
        return renamed(self.synced, (change for _, change in self.changes))


Node = File | Folder
Names = dict[str, Node | None]


class Disk:
    """The files of a run, call by call. ``folder`` is the part of the file system that is looked at.

    At the beginning it has the files of ``image``, all of them synced. A path that is not absolute is one in it.
    What is written to the file ``answers`` is kept as it is told. ``names_with_files``: a sync of a file covers its
    name, which is more than POSIX promises.
    """

    def __init__(
        self,
        folder: str,
        answers: str = "",
        *,
        image: Mapping[str, bytes | None] | None = None,
        names_with_files: bool = False,
    ) -> None:
        self._roots = (folder, os.path.realpath(folder))
        self._answers_path = answers
        self.root = Folder()
        self.answers: list[bytes] = []
        self._positions: dict[tuple[int, str | None], int] = {}
        self._appending: set[tuple[int, str | None]] = set()
        self._gone: dict[str | None, Node] = {}
        self._place = 0
        self._names_with_files = names_with_files
        self._names: dict[Node, list[tuple[Folder, Names]]] = {}
        for path, content in sorted((image or {}).items()):
            parent, name = self._parent(f"{folder}/{path}")
            parent.synced[name] = Folder() if content is None else File(bytearray(content))

    def happen(self, call: Call, place: int) -> None:
        """Let one call take effect. Raises ``NotImplementedError`` where that is not known."""
        self._place = place
        action = getattr(self, f"_{call.name}", None)
        if action is not None:
            action(call)
        elif any(map(self._ours, call.paths)):
            raise NotImplementedError(f"a {call.name} in the traced program is not understood: {call}")

    def sync(self, until: int | None = None) -> None:
        """Let everything be on the disk that was changed before a place, or by now."""
        for _, node in [*self.nodes()]:
            self._synced(node, self._place + 1 if until is None else until)

    def is_sync(self, call: Call) -> bool:
        return call.name in SYNCS.split(",") and self._ours(call.file(0)[1])

    # -- calls ----------------------------------------------------------------------------------------------------

    def _openat(self, call: Call) -> None:
        self._opened(call, call.path_at(0), call.arguments[2])

    def _open(self, call: Call) -> None:
        self._opened(call, call.path(0), call.arguments[1])

    def _creat(self, call: Call) -> None:
        self._opened(call, call.path(0), "O_CREAT|O_TRUNC")

    def _opened(self, call: Call, path: str, flags: str) -> None:
        if not self._ours(path):
            return
        parent, name = self._parent(path)
        if "O_CREAT" in flags and name not in parent.names:
            self._rename_in(parent, {name: File()})
        node = parent.names.get(name)
        if "O_TRUNC" in flags and isinstance(node, File):
            node.changes.append((self._place, Resize(0)))
        opened = call.opened[0], self._inside(path)
        self._positions[opened] = 0
        self._appending.discard(opened)
        if "O_APPEND" in flags:
            self._appending.add(opened)

    def _lseek(self, call: Call) -> None:
        number, path, _ = call.file(0)
        if (number, self._inside(path)) in self._positions:
            self._positions[number, self._inside(path)] = int(call.result.split()[0])

    def _write(self, call: Call) -> None:
        data = call.content(1)[: int(call.result)]
        if call.file(0)[1] == self._answers_path:
            self.answers.append(data)
        self._written(call, data)

    def _writev(self, call: Call) -> None:
        self._written(call, call.gathered(1)[: int(call.result)])

    def _written(self, call: Call, data: bytes) -> None:
        number, path, _ = call.file(0)
        opened = number, self._inside(path)
        # What was opened before the trace began, as a log, is none of the program's files.
        file = self._file(call) if opened in self._positions else None
        if file is None:
            return
        at = file.size if opened in self._appending else self._positions[opened]
        file.changes.append((self._place, Write(at, data)))
        self._positions[opened] = at + len(data)

    def _pwrite64(self, call: Call) -> None:
        self._written_at(call, lambda: call.content(1))

    def _pwritev(self, call: Call) -> None:
        self._written_at(call, lambda: call.gathered(1))

    _pwritev2 = _pwritev

    def _written_at(self, call: Call, data: Callable[[], bytes]) -> None:
        file = self._file(call)
        if file is not None:
            file.changes.append((self._place, Write(call.number(3), data()[: int(call.result)])))

    def _ftruncate(self, call: Call) -> None:
        self._resized(self._file(call), call.number(1))

    def _truncate(self, call: Call) -> None:
        if self._ours(call.path(0)):
            node = self._node(call.path(0), gone=False)
            self._resized(node if isinstance(node, File) else None, call.number(1))

    def _resized(self, file: File | None, size: int) -> None:
        if file is not None:
            file.changes.append((self._place, Resize(size)))

    def _fallocate(self, call: Call) -> None:
        file = self._file(call)
        end = call.number(2) + call.number(3)
        if file is not None and call.arguments[1] == "0" and file.size < end:
            self._resized(file, end)

    def _mmap(self, call: Call) -> None:
        if "MAP_SHARED" in call.arguments[3] and "PROT_WRITE" in call.arguments[2]:
            file = self._file(call, 4)
            if file is not None:
                file.mapped = True

    def _sync_file_range(self, call: Call) -> None:
        """It promises nothing."""

    def _fdatasync(self, call: Call) -> None:
        _, path, gone = call.file(0)
        if not self._ours(path):
            return
        self._synced(self._node(path, gone), call.began)

    _fsync = _fdatasync

    def _syncfs(self, call: Call) -> None:
        """Of what is outside of the folder it is not known which file system it is on; so it promises nothing."""
        if self._ours(call.file(0)[1]):
            self.sync(call.began)

    def _synced(self, node: Node, until: int) -> None:
        """Let its changes before a place be on the disk."""
        before = [change for place, change in node.changes if place < until]
        if self._names_with_files:
            self._names_synced(node)
        if isinstance(node, File):
            _change(node.synced, before)  # type: ignore[arg-type]
        else:
            node.synced = renamed(node.synced, before)  # type: ignore[arg-type]
        node.changes = [each for each in node.changes if each[0] >= until]  # type: ignore[assignment]

    def _names_synced(self, node: Node) -> None:
        """Let its names be on the disk. What an earlier change says of the same names does not come back."""
        for folder, names in self._names.pop(node, []):
            changes = [change for _, change in folder.changes]
            place = next((place for place, change in enumerate(changes) if change is names), None)
            if place is None:  # the directory itself was synced since
                continue
            for earlier, name in itertools.product(changes[:place], names):
                earlier.pop(name, None)
            folder.synced = renamed(folder.synced, [names])
            del folder.changes[place]

    def _rename(self, call: Call) -> None:
        self._moved(call.path(0), call.path(1))

    def _renameat(self, call: Call) -> None:
        self._moved(call.path_at(0), call.path_at(2))

    _renameat2 = _renameat

    def _moved(self, source: str, target: str) -> None:
        if not self._ours(source):
            return
        (old, name), (new, wanted) = self._parent(source), self._parent(target)
        node = old.names[name]
        self._remember(target)
        self._remember(source)
        was, becomes = self._inside(source) or "", self._inside(target) or ""
        for number, path in [*self._positions]:
            if path == was or (path or "").startswith(f"{was}/"):
                moved = number, becomes + (path or "").removeprefix(was)
                self._positions[moved] = self._positions[number, path]
                self._appending |= {moved} if (number, path) in self._appending else set()
        if old is new:
            self._rename_in(old, {wanted: node, name: None})
        else:
            self._rename_in(new, {wanted: node})
            self._rename_in(old, {name: None})

    def _link(self, call: Call) -> None:
        self._linked(call.path(0), call.path(1))

    def _linkat(self, call: Call) -> None:
        self._linked(call.path_at(0), call.path_at(2))

    def _linked(self, source: str, target: str) -> None:
        if self._ours(source):
            (old, name), (new, wanted) = self._parent(source), self._parent(target)
            self._rename_in(new, {wanted: old.names[name]})

    def _unlink(self, call: Call) -> None:
        self._removed(call.path(0))

    def _unlinkat(self, call: Call) -> None:
        self._removed(call.path_at(0))

    _rmdir = _unlink

    def _removed(self, path: str) -> None:
        if self._ours(path):
            self._remember(path)
            parent, name = self._parent(path)
            self._rename_in(parent, {name: None})

    def _mkdir(self, call: Call) -> None:
        self._made(call.path(0))

    def _mkdirat(self, call: Call) -> None:
        self._made(call.path_at(0))

    def _made(self, path: str) -> None:
        if self._inside(path):
            parent, name = self._parent(path)
            self._rename_in(parent, {name: Folder()})

    def _rename_in(self, folder: Folder, names: Names) -> None:
        folder.changes.append((self._place, names))
        for node in names.values():
            if node is not None:
                self._names.setdefault(node, []).append((folder, names))

    # -- names ----------------------------------------------------------------------------------------------------

    def _inside(self, path: str) -> str | None:
        """The path in the folder, which itself is the empty one; None for a path outside of it."""
        if not path.startswith("/"):
            path = f"{self._roots[0]}/{path}"
        for root in self._roots:
            if f"{path}/".startswith(f"{root}/"):
                return "/".join(part for part in path[len(root) :].split("/") if part not in {"", "."})
        return None

    def _ours(self, path: str) -> bool:
        return self._inside(path) is not None

    def _parent(self, path: str) -> tuple[Folder, str]:
        *folders, name = (self._inside(path) or "").split("/")
        found: Node = self.root
        for each in folders:
            found = found.names[each] if isinstance(found, Folder) else found
        if not isinstance(found, Folder):
            raise NotADirectoryError(path)
        return found, name

    def _node(self, path: str, gone: bool) -> Node:
        if not self._inside(path):
            return self.root
        parent, name = self._parent(path)
        # Its name is written down at the beginning of a call, and another process may take it away before the end.
        return self._gone[self._inside(path)] if gone or name not in parent.names else parent.names[name]

    def _remember(self, path: str) -> None:
        """A file that loses its name may still be open, and written to."""
        parent, name = self._parent(path)
        if name in parent.names:
            self._gone[self._inside(path)] = parent.names[name]

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
                every: list[Mapping[str, Node | None]] = [node.synced, *(change for _, change in node.changes)]
                for names in every:
                    waiting += [(f"{path}/{name}", each) for name, each in names.items() if each is not None]


def changed(content: bytes | bytearray, changes: Iterable[Change]) -> bytes:
    """A content after some changes; what was never written reads as zeros."""
    left = bytearray(content)
    _change(left, changes)
    return bytes(left)


def _change(left: bytearray, changes: Iterable[Change]) -> None:
    for change in changes:
        if isinstance(change, Resize):
            del left[change.size :]
            left.extend(bytes(change.size - len(left)))
        else:
            left.extend(bytes(max(0, change.offset - len(left))))
            left[change.offset : change.offset + len(change.data)] = change.data


def renamed(names: dict[str, Node], changes: Iterable[dict[str, Node | None]]) -> dict[str, Node]:
    """The names in a directory after some changes."""
    left: dict[str, Node | None] = dict(names)
    for change in changes:
        left |= change
    return {name: node for name, node in left.items() if node is not None}


def image_of(root: Folder, left: Callable[[Node], object]) -> Image:
    """What stands on a disk of whose files and directories each is left as ``left`` says: its content, or its names."""
    image: Image = {}
    _write_down(root, "", left, image)
    return image


def _write_down(node: Node, path: str, left: Callable[[Node], object], image: Image) -> None:
    if isinstance(node, File):
        image[path] = left(node)  # type: ignore[assignment]
        return
    if path:
        image[path] = None
    for name, each in left(node).items():  # type: ignore[attr-defined]
        _write_down(each, f"{path}/{name}" if path else name, left, image)
