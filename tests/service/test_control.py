"""The switch: it waits for every older transaction, in every process, and no killed process can jam it."""

from __future__ import annotations

import contextlib
import shlex
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from service.errors import Problem, RefusedToStart
from service.runtime.epoch import Mode
from service.switch.control_file import EPOCH, WISH, Slot, Words
from service.switch.shared_memory import Control

FAR = 90.0


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
        "import sys, time, pathlib\nfrom service.switch.shared_memory import Control\n"
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


# -- of two threads, and of who is killed -----------------------------------------------------------------------------


def test_a_new_master_killed_before_its_epoch_is_followed_by_nobody(
    control: Control, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else its next worker would keep the guard that the master before had switched to."""
    control.switch("none", FAR)
    control.close_store()
    with monkeypatch.context() as patched:
        patched.setattr(Words, "__setitem__", killed_before_the_commit)
        with pytest.raises(Killed):
            Control(tmp_path).start("file", "master-2", FAR)
    assert control.closed, "that master never began"
    assert Control(tmp_path).start("file", "master-2", FAR)
    assert (control.mode().guard, control.closed) == ("file", False)


def test_what_another_thread_remembers_of_an_older_epoch_is_given_to_nobody(
    control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = control.mode()
    control.switch("none", FAR)
    # As if another thread, held up since before the switch, put it there again and again.
    monkeypatch.setattr(Control, "_mode", property(lambda _: older, lambda _self, _value: None), raising=False)
    assert (control.mode().guard, control.mode().epoch) == ("none", 2)


def test_a_thread_that_is_held_up_between_two_looks_sees_one_epoch(
    control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two switches later the place of its epoch's guard has another one's."""
    slot = Words.slot
    held_up = iter([True])

    def after_two_switches(words: Words, epoch: int) -> Slot:
        if epoch == 1 and next(held_up, False):
            control.switch("none", FAR)
            control.switch("thread", FAR)
        return slot(words, epoch)

    control._mode = Mode("", -1, -1)
    monkeypatch.setattr(Words, "slot", after_two_switches)
    assert (control.mode().guard, control.mode().epoch) == ("thread", 3)


# -- the file ``control`` is removed or replaced ----------------------------------------------------------------------


def test_a_removed_file_is_made_anew_with_all_it_said(control: Control, tmp_path: Path) -> None:
    control.switch("none", FAR)
    other = Control(tmp_path)
    other.forget_events()
    (tmp_path / "control").unlink()
    with control.transaction(soon()) as mode:
        assert (mode.guard, mode.epoch) == ("none", 2)
    with other.transaction(soon()) as same:
        assert same == mode
    assert control.switch("file", FAR) == other.mode() == Control(tmp_path).mode()


def test_a_switch_is_not_lost_in_a_file_that_was_removed(control: Control, tmp_path: Path) -> None:
    other = Control(tmp_path)
    (tmp_path / "control").unlink()
    assert control.switch("none", FAR).epoch == 2
    with other.transaction(soon()) as mode:
        assert (mode.guard, mode.epoch) == ("none", 2)


def test_who_still_has_the_removed_file_closes_the_store_for_all(control: Control, tmp_path: Path) -> None:
    other = Control(tmp_path)
    (tmp_path / "control").unlink()
    control.look_after()
    other.close_store()
    other.look_after()
    assert control.closed


@pytest.mark.parametrize("older", ["a copy", "the file itself"])
def test_an_older_file_that_is_put_back_is_not_believed(control: Control, tmp_path: Path, older: str) -> None:
    sleeping, aside = Control(tmp_path), tmp_path / "aside"
    if older == "a copy":
        shutil.copy(tmp_path / "control", aside)
    else:
        (tmp_path / "control").rename(aside)
    control.switch("none", FAR)
    control.close_store()
    aside.rename(tmp_path / "control")
    for each in (sleeping, control, Control(tmp_path)):
        with contextlib.suppress(Problem):
            each.look_after(soon())
    for each in (sleeping, control):
        each.look_after(soon())
        assert (each.mode().guard, each.mode().epoch, each.closed) == ("none", 2, True)


def test_a_new_process_waits_for_those_who_have_the_removed_file(control: Control, tmp_path: Path) -> None:
    control.switch("none", FAR)
    (tmp_path / "control").unlink()
    (tmp_path / "guard.json").unlink()
    new = Control(tmp_path)
    waiting: list[bool] = []

    def make_it_anew() -> None:
        waiting.append(not (tmp_path / "control").exists())
        control.look_after()

    threading.Timer(0.2, make_it_anew).start()
    assert not new.start("file", "master-1", FAR, respawned=True)
    assert waiting == [True]
    assert (new.mode().guard, new.mode().epoch) == ("none", 2)


def test_two_that_began_without_knowing_of_each_other_come_together(control: Control, tmp_path: Path) -> None:
    for guard in ("none", "thread"):
        control.switch(guard, FAR)
    for name in ("control", "guard.json"):
        (tmp_path / name).unlink()
    stranger = Control(tmp_path)
    assert stranger.start("file", "master-2", FAR)
    for each in (control, stranger):
        with each.transaction(soon()) as mode:
            assert (mode.guard, mode.epoch) == ("thread", 3)


# -- whose directory it is --------------------------------------------------------------------------------------------


def test_another_store_is_refused_while_anybody_of_the_first_is_here(tmp_path: Path) -> None:
    first = Control(tmp_path, "json")
    first.start("file", "master-1", FAR)
    before = (tmp_path / "guard.json").read_bytes()
    second = Control(tmp_path, "sqlite")
    for refused in (second.refuse_another_store, lambda: second.start("immediate", "master-2", FAR)):
        with pytest.raises(RefusedToStart) as refusal:
            refused()
        assert "'json'" in refusal.value.message
        assert "'sqlite'" in refusal.value.message
    assert (tmp_path / "guard.json").read_bytes() == before
    assert first.mode().epoch == 1
    first.close()
    del first
    assert second.start("immediate", "master-2", FAR)


def test_a_process_of_a_store_that_was_replaced_writes_nothing_more(tmp_path: Path) -> None:
    """It was not seen: its file had been removed, and everybody who had the new one was gone."""
    sleeping = Control(tmp_path, "json")
    sleeping.start("file", "master-1", FAR)
    for name in ("control", "guard.json"):
        (tmp_path / name).unlink()
    other = Control(tmp_path, "sqlite")
    for epoch in (1, 2):
        assert other.start("immediate", f"master-{epoch + 1}", FAR)
    with pytest.raises(Problem) as problem, sleeping.transaction(soon()):
        pass
    assert problem.value.code == "storage_refused"


# A greenlet that excludes everybody, stops, and does not let the hub run while another process asks for the same lock.
_STOPPED_EXCLUDING = """
from gevent import monkey; monkey.patch_all()
import gevent, subprocess, sys
from pathlib import Path
from service.runtime import files
from service.switch import shared_memory

gevent.sleep(0)
if sys.argv[2] == "closed alone":
    shared_memory.close_directory = files.os.close
control = shared_memory.Control(Path(sys.argv[1]))
control.start("none", "master", 30)
run_blocking = monkey.get_original("os", "system")
print(run_blocking(sys.argv[3]))
"""
_FOLLOW = "import fcntl, os, sys; fcntl.flock(os.open(sys.argv[1], os.O_RDONLY), fcntl.LOCK_EX | fcntl.LOCK_NB)"


@pytest.mark.parametrize(("how", "free"), [("closed alone", False), ("as it is", True)])
def test_under_gevent_nobody_is_excluded_after_the_block_though_the_hub_has_not_run(
    tmp_path: Path, how: str, free: bool
) -> None:
    locks = shlex.join([sys.executable, "-c", _FOLLOW, str(tmp_path)]) + " 2>/dev/null"
    command = [sys.executable, "-c", _STOPPED_EXCLUDING, str(tmp_path), how, locks]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=FAR, check=True)
    assert (ran.stdout == "0\n") is free, ran.stdout
