"""What a power cut can leave on a disk, rebuilt from the system calls of a run.

A disk keeps what was synced, and of the rest whatever it likes: POSIX promises nothing, so nothing is assumed.

- A write that was not synced is kept, or lost, or torn at any byte; each by itself, so a later one may be kept where an
  earlier one is lost. Where the lost one made the file longer, its place holds zeros or the file is short.
- A name that was made, changed or removed is so after a cut, or is as it was, each by itself, until its directory is
  synced. A rename is kept whole or not at all. Syncing a file says nothing about its name.
- What was written through a shared mapping was never synced here: each such file is as it was, or zeros, or as it
  stands at the end of the run, which is the worst, for it then knows of things that are gone. The journal's durable
  mark alone is never ahead of the disk, since it is set after the sync has returned: its last state is that of the cut.
- ``sync`` covers what was done before it began.

The states are all combinations of these where they are few, and otherwise the extremes and a sample drawn with a seed.
Not modelled: a device that says it has flushed and has not; blocks that go bad by themselves.
"""

from __future__ import annotations

import itertools
import math
import random
import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, TypeVar

from loadtests.lab.faults.disk.traced_disk import (
    SECTOR,
    Change,
    Disk,
    File,
    Folder,
    Image,
    Node,
    Resize,
    Write,
    changed,
    image_of,
    renamed,
)
from loadtests.lab.faults.disk.tracing import Call
from service.stores.journal.index import place_of

_MOST_OF_ONE = 48
T = TypeVar("T")


class Moment(NamedTuple):
    """A place of the trace, with all that a cut could leave there."""

    place: int
    answers: list[bytes]
    """What had been answered by then, in order."""
    states: list[Image]
    exhaustive: bool
    """Whether these are all combinations of what each file and directory may have been left as."""


def moments(
    calls: Sequence[Call], folder: str, answers: str, mapped: Mapping[str, bytes], *, seed: int, most: int
) -> Iterator[Moment]:
    """The moments of a run at which a cut leaves the most: before each sync, after each answer, and the end.

    Whatever a cut between them could leave, it could leave there too, where no less has been answered. At most
    ``most`` states a moment. ``mapped``: the files as they stand at the end, by their path in the folder.
    """
    disk = Disk(folder, answers)
    rng = random.Random(seed)

    def moment(place: int) -> Moment:
        states, exhaustive = _states(disk, mapped, rng, most)
        return Moment(place, list(disk.answers), states, exhaustive)

    for place, call in enumerate(calls):
        if disk.is_sync(call):
            yield moment(place)
        told = len(disk.answers)
        disk.happen(call, place)
        if len(disk.answers) > told:
            yield moment(place)
    yield moment(len(calls))


def _states(disk: Disk, mapped: Mapping[str, bytes], rng: random.Random, most: int) -> tuple[list[Image], bool]:
    marks = _marks(disk)
    nodes = [(node, _options(path, node, mapped, marks, rng)) for path, node in disk.nodes()]
    open_ones = [(node, options) for node, options in nodes if len(options) > 1]
    settled: dict[Node, object] = {node: options[0] for node, options in nodes if len(options) == 1}
    exhaustive = math.prod(len(options) for _, options in open_ones) <= most
    chosen = _all(open_ones) if exhaustive else itertools.islice(_some(open_ones, rng), 3 * most)
    distinct: dict[frozenset[tuple[str, bytes | None]], Image] = {}
    for choice in chosen:
        image = image_of(disk.root, (settled | choice).__getitem__)
        distinct[frozenset(image.items())] = image
        if len(distinct) == most:
            break
    return list(distinct.values()), exhaustive


def _marks(disk: Disk) -> dict[Node, bytes]:
    """Each durable mark as it knows, at most, what was synced by now of the newest segment beside it."""
    marks: dict[Node, bytes] = {}
    for _, folder in disk.nodes():
        if isinstance(folder, Folder):
            every = (folder.synced, *(change for _, change in folder.changes))
            marked = next((node for names in every for name, node in names.items() if node and name == "durable"), None)
            # Not of a segment whose name may be lost yet: the mark goes on to it when its directory was synced.
            segments = {name: node for name, node in folder.synced.items() if re.fullmatch(r"\d{8}\.jsonl", name)}
            synced = {int(name[:8]): node for name, node in segments.items()}
            newest = synced[max(synced)] if synced else None
            if isinstance(marked, File) and isinstance(newest, File):
                # A sync may come in the middle of another one's append: of that the mark knows nothing.
                place = place_of(max(synced), newest.synced.rfind(b"\n") + 1)
                marks[marked] = struct.pack("=qqq", 1, place, place)
    return marks


def _all(open_ones: list[tuple[Node, list[object]]]) -> Iterator[dict[Node, object]]:
    for choice in itertools.product(*(options for _, options in open_ones)):
        yield dict(zip((node for node, _ in open_ones), choice, strict=True))


def _some(open_ones: list[tuple[Node, list[object]]], rng: random.Random) -> Iterator[dict[Node, object]]:
    """The extremes first, everything lost and everything kept; then one node's options between them; then by chance."""
    lost: dict[Node, object] = {node: options[0] for node, options in open_ones}
    kept: dict[Node, object] = {node: options[-1] for node, options in open_ones}
    yield lost
    yield kept
    single = [(others, node, option) for others in (kept, lost) for node, options in open_ones for option in options]
    rng.shuffle(single)
    for turn, (others, node, option) in enumerate(single):
        yield others | {node: option}
        if turn % 2:
            yield {each: rng.choice(options) for each, options in open_ones}
    while True:
        yield {each: rng.choice(options) for each, options in open_ones}


def _options(
    path: str, node: Node, mapped: Mapping[str, bytes], marks: Mapping[Node, bytes], rng: random.Random
) -> list[object]:
    """What a cut may leave of one node: the first is all lost, the last all kept."""
    if isinstance(node, Folder):
        changes = [change for _, change in node.changes]
        return [renamed(node.synced, some) for some in _subsets(changes, rng)]
    if node.mapped:
        whole = node.content
        return _distinct(
            [bytes(node.synced), bytes(len(whole)), marks.get(node) or mapped.get(path.lstrip("/"), whole)]
        )
    changes = [change for _, change in node.changes]
    contents = [changed(node.synced, some) for some in _subsets(changes, rng)]
    torn = [changed(node.synced, some) for some in _torn(changes, rng)]
    if len(torn) > _MOST_OF_ONE:
        torn = rng.sample(torn, _MOST_OF_ONE)
    return _distinct([contents[0], *torn, *contents[1:]], last=contents[-1])


def _distinct(contents: list[bytes], last: bytes | None = None) -> list[object]:
    found = list(dict.fromkeys(contents))
    if last is not None:
        found.remove(last)
        found.append(last)
    return list(found)


def _subsets(changes: Sequence[T], rng: random.Random) -> list[list[T]]:
    """Which of the changes are kept: all choices of a few; of many the first so many, all but one, and a sample."""
    count = len(changes)
    if 2**count <= _MOST_OF_ONE:
        masks = list(range(2**count))
    else:
        prefixes = [(1 << length) - 1 for length in range(count + 1)]
        but_one = [((1 << count) - 1) ^ (1 << place) for place in range(count)]
        by_chance = [rng.getrandbits(count) for _ in range(8)]
        some = rng.sample(prefixes + but_one, min(len(prefixes + but_one), _MOST_OF_ONE - 10)) + by_chance
        masks = [0, *some, (1 << count) - 1]
    return [[change for place, change in enumerate(changes) if mask >> place & 1] for mask in masks]


def _torn(changes: Sequence[Change], rng: random.Random) -> Iterator[list[Change]]:
    """Each write torn, with those before it kept and those after it kept or lost."""
    for place, change in enumerate(changes):
        if isinstance(change, Resize):
            continue
        for piece in _pieces(change, rng):
            yield [*changes[:place], *piece]
            if place + 1 < len(changes):
                yield [*changes[:place], *piece, *changes[place + 1 :]]


def _pieces(write: Write, rng: random.Random) -> Iterator[list[Change]]:
    """What may be left of one write: its beginning up to some byte, all sectors but one, zeros in its place."""
    offset, data = write
    sectors = range(SECTOR - offset % SECTOR, len(data), SECTOR)
    for cut in {1, len(data) // 2, len(data) - 1, rng.randrange(len(data)), *rng.sample(sectors, min(3, len(sectors)))}:
        yield [Write(offset, data[:cut])]
        yield [Write(offset, data[:cut] + bytes(len(data) - cut))]
    if sectors:
        gone = rng.choice(sectors)
        yield [Write(offset, data[:gone]), Write(offset + gone + SECTOR, data[gone + SECTOR :])]
    yield [Write(offset, bytes(len(data)))]
