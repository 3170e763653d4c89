"""The switch: it waits for every older transaction, in every process, and no killed process can jam it."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from service.control import Control
from service.control_words import EPOCH, WISH, Words
from service.errors import Problem

FAR = 30.0


@pytest.fixture
def control(tmp_path: Path) -> Iterator[Control]:
    control = Control(tmp_path)
    control.start("file", "master-1", FAR)
    yield control
    control.close()


def soon() -> float:
    return time.monotonic() + FAR


class Killed(BaseException):
    """As ``kill -9`` ends a process: nothing more is done."""


def killed_before_the_commit(words: Words, word: int, value: int) -> None:
    """Instead of setting a word: who sets that of the epoch is killed."""
    if word == EPOCH:
        raise Killed
    set_word(words, word, value)


set_word = Words.__setitem__


def test_a_new_master_begins_the_next_epoch_with_its_own_guard(control: Control, tmp_path: Path) -> None:
    control.switch("none", FAR)
    other = Control(tmp_path)
    assert other.start("file", "master-2", FAR)
    assert (control.mode().guard, control.mode().epoch) == ("file", 3)


def test_a_respawned_worker_follows_the_others(control: Control, tmp_path: Path) -> None:
    control.switch("none", FAR)
    respawned = Control(tmp_path)
    assert not respawned.start("file", "master-1", FAR)
    assert (respawned.mode().guard, respawned.mode().epoch) == ("none", 2)


def test_a_switch_is_seen_by_all_at_once(control: Control, tmp_path: Path) -> None:
    other = Control(tmp_path)
    for guard, epoch in (("none", 2), ("thread", 3), ("file", 4)):
        control.switch(guard, FAR)
        with other.transaction(soon()) as mode:
            assert (mode.guard, mode.epoch) == (guard, epoch)


def test_a_switch_waits_for_a_transaction_of_the_older_epoch(control: Control, tmp_path: Path) -> None:
    other = Control(tmp_path)
    with other.transaction(soon()):
        with pytest.raises(Problem) as problem:
            control.switch("none", 0.05)
        assert problem.value.code == "switch_timeout"
        assert control.mode().guard == "file"
    assert control.switch("none", FAR).guard == "none"


def test_a_switch_waits_for_a_transaction_of_its_own_process(control: Control) -> None:
    with control.transaction(soon()), pytest.raises(Problem) as problem:
        control.switch("none", 0.05)
    assert problem.value.code == "switch_timeout"


def test_new_transactions_wait_for_a_switch_that_is_due(control: Control, tmp_path: Path) -> None:
    other = Control(tmp_path)
    seen: list[int] = []

    def enter() -> None:
        with other.transaction(soon()) as mode:
            seen.append(mode.epoch)

    with control.transaction(soon()):
        switching = threading.Thread(target=lambda: control.switch("none", FAR))
        switching.start()
        until(other._somebody_wishes)
        entering = threading.Thread(target=enter)
        entering.start()
        with pytest.raises(Problem) as problem, other.transaction(time.monotonic()):
            pass
        assert problem.value.code == "switching"
        assert seen == []
    switching.join(FAR)
    entering.join(FAR)
    assert seen == [2]


def test_a_transaction_of_a_killed_process_does_not_hold_up_a_switch(control: Control, tmp_path: Path) -> None:
    program = (
        "import sys, time, pathlib\nfrom service.control import Control\n"
        "with Control(pathlib.Path(sys.argv[1])).transaction(time.monotonic() + 30):\n"
        "    print('inside', flush=True)\n    sys.stdin.read()\n"
    )
    inside = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert inside.stdout is not None
        assert inside.stdout.readline() == b"inside\n"
        with pytest.raises(Problem):
            control.switch("none", 0.05)
    finally:
        inside.kill()
        inside.communicate()
    assert control.switch("none", FAR).epoch == 2


def test_the_wish_of_a_killed_switcher_passes_by_itself(control: Control) -> None:
    control._words[WISH] = time.monotonic_ns() + 50_000_000
    with control.transaction(soon()) as mode:
        assert mode.epoch == 1


def test_a_wish_from_before_a_reboot_is_no_wish(control: Control) -> None:
    control._words[WISH] = time.monotonic_ns() + 10**18
    with control.transaction(time.monotonic()) as mode:
        assert mode.epoch == 1


def test_a_switcher_killed_before_its_commit_has_changed_nothing(
    control: Control, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(Words, "__setitem__", killed_before_the_commit)
        with pytest.raises(Killed):
            control.switch("none", FAR)
    other = Control(tmp_path)
    other.start("file", "master-1", FAR)
    for each in (control, other):
        assert (each.mode().guard, each.mode().epoch) == ("file", 1)


def test_a_closed_store_admits_nobody_in_any_process_until_a_new_master(control: Control, tmp_path: Path) -> None:
    other = Control(tmp_path)
    other.close_store()
    with pytest.raises(Problem) as problem, control.transaction(soon()):
        pass
    assert problem.value.code == "store_closed"
    control.start("file", "master-2", FAR)
    with other.transaction(soon()) as mode:
        assert mode.epoch == 2


def until(condition: Callable[[], bool]) -> None:
    deadline = soon()
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.001)


def test_a_worker_that_respawns_in_the_middle_of_a_purchase_holds_up_nobody(control: Control, tmp_path: Path) -> None:
    with control.transaction(soon()):
        assert not Control(tmp_path).start("file", "master-1", timeout_s=0)
        with control.transaction(time.monotonic()) as mode:
            assert mode.epoch == 1
