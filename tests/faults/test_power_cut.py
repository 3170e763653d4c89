"""A power cut at any moment of a sale: whatever it leaves of what was not synced, every answered purchase is there.

The canaries come first: the same run as a program would have made it that breaks one promise, and that the same
harness has to find out. Claimed is survival of a crash of process and system *if the device honours a flush*.
"""

from __future__ import annotations

import itertools
import json
import random
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest
from cut_states import moments
from reopened import Findings, Left, Run, judges, run_of

from loadtests.lab.faults.disk.traced_disk import Disk
from loadtests.lab.faults.disk.tracing import Call, traced
from service.stores import STORES, store_class
from tests.combinations import shortened

pytestmark = pytest.mark.servers

SALE = Path(__file__).with_name("traced_sale.py")
SEED = 20261123
SLICE = 80
"""States a run in the default tests; all of them, sampled more densely, in ``make soak``."""
_AT_ONCE = 40


def durable_stores() -> list[str]:
    """Those that keep their events on this host's disk themselves; an engine's disk is its own business."""
    return [name for name in STORES if store_class(name).durable and store_class(name).scope == "host"]


class Traced(NamedTuple):
    """A sale that was held, and what it asked of the disk."""

    store: str
    calls: list[Call]
    folder: Path
    mapped: dict[str, bytes]

    @property
    def disk(self) -> str:
        return str(self.folder / "disk")

    @property
    def answers(self) -> str:
        return str(self.folder / "answers")

    def run(self) -> Run:
        return run_of(self.store, Path(self.answers).read_bytes().splitlines())

    def left(self, calls: Sequence[Call], most: int) -> list[Left]:
        """Every state that a cut could leave, or a sample of ``most`` a moment, each once."""
        found: dict[object, Left] = {}
        for moment in moments(calls, self.disk, self.answers, self.mapped, seed=SEED, most=most):
            for image in moment.states:
                left = Left(moment.place, len(moment.answers), image)
                found.setdefault((left.answered, frozenset(image.items())), left)
        return list(found.values())


@pytest.fixture(scope="module")
def sale(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Traced]:
    """A sale on a store, ``alone`` or ``together``; each is held once."""

    @cache
    def hold(store: str, how: str) -> Traced:
        folder = tmp_path_factory.mktemp(f"{store}-{how}")
        disk = folder / "disk"
        disk.mkdir()
        wanted = {
            "data": str(disk / "data"),
            "store": store,
            "answers": str(folder / "answers"),
            "how": how,
            "processes": 2,
            "each": 3,
        }
        slow = 3 if how == "together" else 0
        calls = traced([sys.executable, str(SALE), json.dumps(wanted)], folder / "trace", sync_lasts_ms=slow)
        files = (path for path in disk.rglob("*") if path.is_file())
        return Traced(store, calls, folder, {str(path.relative_to(disk)): path.read_bytes() for path in files})

    return hold


@pytest.fixture(scope="module")
def findings() -> Iterator[Findings]:
    with judges() as find:
        yield find


def sampled(left: list[Left], most: int) -> list[Left]:
    return random.Random(SEED).sample(left, min(most, len(left)))


# -- canaries ---------------------------------------------------------------------------------------------------------


def without_syncs_of_files(sale: Traced) -> Iterator[Call]:
    """As a program that never syncs what it writes."""
    for call in sale.calls:
        if not (is_sync(call) and not is_folder(sale, call)):
            yield call


def answering_before_the_sync(sale: Traced) -> Iterator[Call]:
    """As a program that answers first and syncs then: each answer goes before the syncs right before it."""
    waiting: list[Call] = []
    for call in sale.calls:
        if is_sync(call):
            waiting.append(call)
        elif call.name == "write" and call.file(0)[1] == sale.answers:
            yield call
        else:
            # A sync stays before whatever the program did after it, but for its answer.
            if changes_files(call):
                yield from waiting
                waiting.clear()
            yield call
    yield from waiting


def without_syncs_of_directories(sale: Traced) -> Iterator[Call]:
    """As a program that syncs its files and forgets their names."""
    for call in sale.calls:
        if not (is_sync(call) and is_folder(sale, call)):
            yield call


def is_sync(call: Call) -> bool:
    return call.name in {"fsync", "fdatasync"}


def is_folder(sale: Traced, call: Call) -> bool:
    return Path(call.file(0)[1]).is_dir() or "/.new-" in call.file(0)[1].removeprefix(sale.disk)[-40:]


def changes_files(call: Call) -> bool:
    return call.name not in {"lseek", "mmap", "openat", "open"} or "O_CREAT" in "".join(call.arguments)


CANARIES = [without_syncs_of_files, answering_before_the_sync, without_syncs_of_directories]


def without_intents(sale: Traced) -> Iterator[Call]:
    """As a program that writes one event of a cart after the other."""
    for call in sale.calls:
        named = " ".join(call.arguments) + (call.file(0)[1] if is_sync(call) else "")
        if not re.search(r"/data/(journal-)?carts\b", named):
            yield call


def naming_pages_before_they_are_synced(sale: Traced) -> Iterator[Call]:
    """As a document whose head names a page that is not on the disk yet."""
    for call in sale.calls:
        if not (is_sync(call) and ".pages" in call.file(0)[1]):
            yield call


@pytest.mark.parametrize("broken", CANARIES, ids=lambda broken: broken.__name__)
@pytest.mark.parametrize("store", durable_stores())
def test_a_program_that_breaks_a_promise_is_found_out(
    sale: Callable[[str, str], Traced], findings: Findings, store: str, broken: Callable[[Traced], Iterator[Call]]
) -> None:
    held = sale(store, "alone")
    calls = [replace(call, began=place) for place, call in enumerate(broken(held))]
    left = held.left(calls, most=2)
    random.Random(SEED).shuffle(left)
    found = (findings(held.run(), left[start : start + _AT_ONCE]) for start in range(0, len(left), _AT_ONCE))
    assert any(found)


def test_a_document_that_names_a_page_before_it_is_synced_is_found_out(
    sale: Callable[[str, str], Traced], findings: Findings
) -> None:
    held = sale("json", "together")
    calls = [replace(call, began=place) for place, call in enumerate(naming_pages_before_they_are_synced(held))]
    found = findings(held.run(), sampled(held.left(calls, most=4), SLICE))
    assert any("show.pages" in finding and "is refused" in finding for finding in found)


@pytest.mark.parametrize("store", shortened(durable_stores(), "journal"))
def test_a_program_that_answers_for_a_hold_before_it_is_durable_is_found_out(
    sale: Callable[[str, str], Traced], findings: Findings, store: str
) -> None:
    held = sale(store, "holds")
    calls = [replace(call, began=place) for place, call in enumerate(answering_before_the_sync(held))]
    assert findings(held.run(), sampled(held.left(calls, most=2), SLICE))


@pytest.mark.parametrize("store", shortened(["json", "journal"], "json"))
def test_a_program_that_writes_a_cart_without_an_intent_is_found_out(
    sale: Callable[[str, str], Traced], findings: Findings, store: str
) -> None:
    held = sale(store, "carts")
    calls = [replace(call, began=place) for place, call in enumerate(without_intents(held))]
    found = findings(held.run(), sampled(held.left(calls, most=4), SLICE))
    assert any("half a cart" in finding for finding in found)


# -- the claim --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("store", "how"),
    shortened(
        itertools.product(durable_stores(), ["alone", "together", "holds"]),
        ("json", "alone"), ("journal", "together"), ("sqlite", "holds"),
    ),
)  # fmt: skip
def test_after_a_power_cut_at_any_moment_every_answer_still_holds(
    sale: Callable[[str, str], Traced], findings: Findings, store: str, how: str
) -> None:
    held = sale(store, how)
    left = held.left(held.calls, most=16)
    assert len(left) > SLICE
    assert findings(held.run(), sampled(left, SLICE)) == []


@pytest.mark.parametrize("store", shortened(durable_stores(), "journal"))
def test_after_a_power_cut_at_any_moment_every_cart_is_in_all_of_its_events_or_in_none(
    sale: Callable[[str, str], Traced], findings: Findings, store: str
) -> None:
    held = sale(store, "carts")
    left = held.left(held.calls, most=16)
    assert len(left) > SLICE
    assert findings(held.run(), sampled(left, SLICE)) == []


@pytest.mark.soak
@pytest.mark.parametrize("how", ["alone", "together", "holds"])
@pytest.mark.parametrize("store", durable_stores())
def test_after_a_power_cut_at_any_moment_every_answer_still_holds_in_thousands_of_states(
    sale: Callable[[str, str], Traced], findings: Findings, store: str, how: str
) -> None:
    held = sale(store, how)
    left = held.left(held.calls, most=200)
    assert len(left) > 1000
    assert findings(held.run(), sampled(left, 4000)) == []


# -- the harness itself -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["alone", "together"])
@pytest.mark.parametrize("store", durable_stores())
def test_the_calls_of_a_run_played_again_make_the_files_that_it_left(
    sale: Callable[[str, str], Traced], store: str, how: str
) -> None:
    """Else a cut would be simulated of another run."""
    held = sale(store, how)
    disk = Disk(held.disk, held.answers)
    for place, call in enumerate(held.calls):
        disk.happen(call, place)
    played = {path.lstrip("/"): node for path, node in disk.nodes() if hasattr(node, "mapped")}
    for path, content in held.mapped.items():
        assert played[path].mapped or played[path].content == content, path
    assert [json.loads(line) for line in b"".join(disk.answers).splitlines()] == list(held.run().answers)
