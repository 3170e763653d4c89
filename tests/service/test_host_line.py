"""One line for the whole host: the combiner decides what the workers hand to it, says when nothing is definite, and is
killed, replaced and ended without a sale lost or made twice. The combiner is a real process in each of these tests."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest
from servers import address_of
from typed import TOKEN, wait_for

from service.app import create_app
from service.errors import Problem, RefusedToStart
from service.rules.inventory import Event, Record, Refusal, Replay, Sell
from service.rules.records import Cancel, Hold
from service.runtime import gunicorn
from service.runtime.gunicorn import Server, acting_line, refuse_unsafe
from service.sales import command_handler
from service.sales.box_office import BoxOffice, Done
from service.sales.command_handler import told_again
from service.sales.host_line import messages, place
from service.sales.host_line.client import Connection
from service.sales.host_line.combiner import MOST_UNSENT
from service.sales.host_line.messages import Assembly, packets
from service.settings import Settings, from_environment

FAR_S = 60.0
Open = Callable[..., BoxOffice]


def connection_of(office: BoxOffice) -> Connection:
    assert office.host_line is not None
    assert office.host_line._connected is not None
    return office.host_line._connected


def combiner_of(office: BoxOffice) -> int:
    """The process id of the combiner that this worker is connected to."""
    return connection_of(office).pid


def directory_of(office: BoxOffice) -> Path:
    assert office.host_line is not None
    return office.host_line._place._path


def have_a_combiner(office: BoxOffice) -> BoxOffice:
    host_line = office.host_line
    assert host_line is not None

    def connected() -> bool:
        host_line.look_after()
        return host_line._connected is not None

    wait_for(connected, "a connection to a combiner")
    return office


def leave(office: BoxOffice) -> None:
    """What the end of a worker does to its connection."""
    assert office.host_line is not None
    office.host_line.close()


def has_ended(pid: int) -> bool:
    """Whether a process has ended; it may be in the table of processes still."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


@pytest.fixture
def open_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    """Opens a worker of one master, connected to the master's combiner; the combiner has ended at the end."""
    opened: list[BoxOffice] = []
    pids: set[int] = set()

    def make(*, store: str = "journal", data: Path = tmp_path / "data", **variables: str) -> BoxOffice:
        for name in [each for each in os.environ if each.startswith("LASTSEAT_")]:
            monkeypatch.delenv(name)
        given = {"DATA": str(data), "STORE": address_of(store, data) or store, "ADMIN_TOKEN": TOKEN, "LINE": "host"}
        for name, value in (given | variables).items():
            monkeypatch.setenv(f"LASTSEAT_{name}", value)
        office: BoxOffice = create_app(from_environment(os.environ)).extensions["office"]
        opened.append(office)
        have_a_combiner(office)
        pids.add(combiner_of(office))
        return office

    yield make
    for office in opened:
        if office.host_line is not None and office.host_line._connected is not None:
            pids.add(combiner_of(office))
        leave(office)
        office.store.close()
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
        wait_for(lambda pid=pid: has_ended(pid), "the end of the combiner")  # type: ignore[misc]


def buy(office: BoxOffice, key: str, *, event: str = "show", quantity: int = 1) -> Done:
    return office.buy(event, key=key, request="r", quantity=quantity, buyer=None)


def refuse_to_decide(office: BoxOffice, monkeypatch: pytest.MonkeyPatch) -> None:
    def decided_here(*_: Any) -> Any:
        raise AssertionError("this process decided by itself")

    monkeypatch.setattr(office, "_transact", decided_here)


@contextlib.contextmanager
def guard_taken(data: Path, event: str = "show") -> Iterator[None]:
    """As if another process were inside and did not end."""
    with (data / "locks" / f"{event}.lock").open("r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def next_number(connection: Connection) -> int:
    return int(repr(connection._numbers).partition("(")[2].rstrip(")"))


# -- what the combiner decides ----------------------------------------------------------------------------------------


def test_the_combiner_interrupts_no_worker(open_worker: Open) -> None:
    office = open_worker()
    assert os.sched_getscheduler(combiner_of(office)) == os.SCHED_BATCH
    assert os.sched_getscheduler(0) == os.SCHED_OTHER
    assert buy(office, "a").record.remaining == 99


def test_a_worker_without_a_combiner_decides_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The negative control: what the tests below forbid a worker to do is done here."""
    monkeypatch.setenv("LASTSEAT_DATA", str(tmp_path))
    office = create_app(Settings(data=tmp_path, store="journal", admin_token=TOKEN)).extensions["office"]
    assert office.host_line is None
    refuse_to_decide(office, monkeypatch)
    with pytest.raises(AssertionError, match="decided by itself"):
        buy(office, "a")


@pytest.mark.servers
@pytest.mark.parametrize("store", ["json", "journal", "sqlite", "postgres", "redis"])
def test_every_kind_of_command_is_decided_by_the_combiner_as_in_a_process(
    open_worker: Open, monkeypatch: pytest.MonkeyPatch, store: str
) -> None:
    office = open_worker(store=store, EVENT="show:10")
    refuse_to_decide(office, monkeypatch)
    sold = buy(office, "a", quantity=2)
    assert (sold.record.tickets, sold.record.remaining, sold.replayed) == ((1, 2), 8, False)
    assert sold.times.epoch == office.control.mode().epoch
    assert sold.times.wait_ms > 0
    assert sold.times.store_ms > 0
    again = buy(office, "a", quantity=2)
    assert (again.record, again.replayed) == (sold.record, True)
    held = office.hold("show", key="h", request="r", quantity=3, seconds=60.0, buyer="ada")
    assert (held.record.tickets, held.record.buyer) == ((3, 4, 5), "ada")
    confirmed = office.confirm("show", held.record.hold, key="c", request="r")
    assert (confirmed.record.kind, confirmed.record.tickets) == ("confirmed", (3, 4, 5))
    other = office.hold("show", key="h2", request="r", quantity=1, seconds=60.0, buyer=None)
    assert office.release("show", other.record.hold, key="r", request="r").record.kind == "released"
    assert office.cancel("show", sold.record.order, key="d", request="r").record.remaining == 7
    with pytest.raises(Problem) as refused:
        buy(office, "b", quantity=8)
    assert (refused.value.code, refused.value.extra["remaining"]) == ("sold_out", 7)
    with pytest.raises(Problem, match="key_reused"):
        office.buy("show", key="a", request="another", quantity=1, buyer=None)
    office.hold("show", key="h3", request="r", quantity=1, seconds=0.001, buyer=None)
    wait_for(lambda: office.sweep("show"), "a hold that is due")
    assert [each.kind for each in office.audit("show")[1]][-1] == "expired"


@pytest.mark.servers
def test_what_comes_while_the_guard_is_waited_for_is_decided_together_whoever_sent_it(open_worker: Open) -> None:
    workers = [open_worker(EVENT="show:10") for _ in range(3)]
    assert len({combiner_of(each) for each in workers}) == 1
    data = workers[0]._settings.data
    buy(workers[0], "before")
    with ThreadPoolExecutor(3) as pool:
        with guard_taken(data):
            first = pool.submit(buy, workers[0], "first")
            wait_for(lambda: is_read(workers[0], 2), "the first command at the combiner")
            others = [pool.submit(buy, worker, f"k{number}") for number, worker in enumerate(workers[1:])]
            for worker in workers[1:]:
                wait_for(lambda worker=worker: is_read(worker), "the others' commands")  # type: ignore[misc]
        alone, *together = [each.result(FAR_S) for each in (first, *others)]
    assert {each.record.version for each in (alone, *together)} == {2, 3, 4}
    assert together[0].times[1:] == together[1].times[1:]
    assert alone.times[1:] != together[0].times[1:]
    text = workers[0].metrics.text().decode()
    assert "lastseat_batch_commands_count 3.0" in text
    assert 'lastseat_tickets_total{kind="sold"} 4.0' in text
    assert "lastseat_workers 3.0" in text


def unread_bytes(office: BoxOffice) -> int:
    """What this worker has sent and the combiner has not received (SIOCOUTQ)."""
    return int.from_bytes(fcntl.ioctl(connection_of(office)._socket, 0x5411, bytes(4)), "little")


def is_sent(office: BoxOffice) -> bool:
    return unread_bytes(office) > 0


def is_read(office: BoxOffice, questions: int = 1) -> bool:
    """Whether the combiner has received that many questions."""
    return next_number(connection_of(office)) >= questions and not unread_bytes(office)


@pytest.mark.servers
def test_an_order_whose_answer_is_longer_than_a_packet_comes_whole(
    open_worker: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    office = open_worker(EVENT="")
    office.create(Event("big", "Big", 400_000, max_per_order=300_000))
    refuse_to_decide(office, monkeypatch)
    assert buy(office, "a", event="big", quantity=300_000).record.tickets == tuple(range(1, 300_001))


def test_a_message_is_whole_only_with_its_last_packet() -> None:
    message = os.urandom(3 * messages.PACKET + 17)
    parts = list(packets(message))
    assert max(map(len, parts)) <= messages.PACKET + 1
    assembly = Assembly()
    assert [assembly.add(part) for part in parts[:-1]] == [None] * 3
    assert assembly.add(parts[-1]) == message
    with pytest.raises(OSError, match="too long"):
        list(map(Assembly(messages.PACKET).add, parts))


# -- who is combined --------------------------------------------------------------------------------------------------


@pytest.mark.servers
@pytest.mark.parametrize(
    ("store", "unsafe"), [("journal", "none"), ("journal", "thread"), ("journal", "leaky"), ("redis", "lease")]
)
def test_under_a_guard_that_lets_two_processes_in_each_process_decides(
    open_worker: Open, monkeypatch: pytest.MonkeyPatch, store: str, unsafe: str
) -> None:
    office = open_worker(store=store, EVENT="show:10")
    office.switch(unsafe)
    refuse_to_decide(office, monkeypatch)
    with pytest.raises(AssertionError, match="decided by itself"):
        buy(office, "a")
    office.switch("on")
    assert buy(office, "a").times.epoch == office.control.mode().epoch


def test_by_default_an_experiment_and_a_lone_process_have_a_line_of_their_own() -> None:
    four = Server("m", processes=4, worker_class="sync")
    assert acting_line(from_environment({"LASTSEAT_STORE": "journal"}), four) == "host"
    for variables in (
        {"LASTSEAT_THINK_MS": "5"},
        {"LASTSEAT_GATES": "/gates"},
        {"LASTSEAT_GUARD_SCOPE": "request"},
        {"LASTSEAT_LINE": "process"},
        {"LASTSEAT_BATCH": "1"},
        {"LASTSEAT_STORE": "memory"},
    ):
        assert acting_line(from_environment({"LASTSEAT_STORE": "journal"} | variables), four) == "process"
    lone = Server("m", worker_class="sync")
    assert acting_line(from_environment({"LASTSEAT_STORE": "journal"}), lone) == "process"
    asked = from_environment({"LASTSEAT_LINE": "host", "LASTSEAT_GATES": "/gates"})
    assert acting_line(asked, lone) == "host"


def test_who_thinks_decides_one_purchase_after_the_other(make_client: Any) -> None:
    assert make_client(store="journal").application.extensions["office"].limit == 64
    thinking = from_environment({"LASTSEAT_THINK_MS": "5"}).think
    assert make_client(store="journal", think=thinking).application.extensions["office"].limit == 1
    assert make_client(store="journal", think=thinking, batch=8).application.extensions["office"].limit == 8


@pytest.mark.parametrize("settings", [Settings(line="host", store="memory"), Settings(line="host", request_scope=True)])
def test_a_combiner_that_could_not_be_right_is_refused_at_start(settings: Settings) -> None:
    scope = "process" if settings.store == "memory" else "host"
    with pytest.raises(RefusedToStart, match="LASTSEAT_LINE"):
        refuse_unsafe(settings, "file", scope, "file", Server("m"))


# -- definite means definite ------------------------------------------------------------------------------------------


@pytest.mark.servers
def test_silence_past_the_deadline_is_unknown_and_the_one_that_hangs_is_killed(
    open_worker: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    office = open_worker(EVENT="show:10", LOCK_TIMEOUT_S="0.2")
    monkeypatch.setattr(command_handler, "ANSWER_PATIENCE_S", 0.3)
    buy(office, "before")
    hung = combiner_of(office)
    os.kill(hung, signal.SIGSTOP)
    with pytest.raises(Problem) as unknown:
        buy(office, "a")
    assert (unknown.value.code, unknown.value.kind.definite) == ("outcome_unknown", False)
    wait_for(lambda: has_ended(hung), "the end of the one that hangs")
    have_a_combiner(office)
    assert combiner_of(office) != hung
    assert buy(office, "a").record.version == 2
    assert [each.key for each in office.audit("show")[1]] == ["before", "a"]


@pytest.mark.servers
def test_a_guard_that_is_not_free_in_time_is_the_combiners_definite_word(open_worker: Open) -> None:
    office = open_worker(EVENT="show:10", LOCK_TIMEOUT_S="0.2")
    with guard_taken(office._settings.data), pytest.raises(Problem) as refused:
        buy(office, "a")
    assert (refused.value.code, refused.value.kind.definite) == ("lock_timeout", True)
    assert buy(office, "a").record.version == 1


@pytest.mark.servers
def test_when_the_combiner_is_killed_its_commands_are_asked_again_and_sold_once(open_worker: Open) -> None:
    office = open_worker(EVENT="show:10")
    killed = combiner_of(office)
    with ThreadPoolExecutor(1) as pool:
        with guard_taken(office._settings.data):
            sale = pool.submit(buy, office, "a")
            wait_for(lambda: is_read(office), "the command at the combiner")
            os.kill(killed, signal.SIGKILL)
            wait_for(lambda: has_ended(killed), "its end")
        done = sale.result(FAR_S)
    assert (done.record.version, done.replayed) == (1, False)
    assert [each.key for each in office.audit("show")[1]] == ["a"]
    assert combiner_of(have_a_combiner(office)) != killed


@pytest.mark.servers
def test_a_connection_that_a_living_combiner_ends_leaves_the_outcome_unknown(open_worker: Open) -> None:
    office, _another = open_worker(EVENT="show:10"), open_worker(EVENT="show:10")
    pid = combiner_of(office)
    with ThreadPoolExecutor(1) as pool, guard_taken(office._settings.data):
        sale = pool.submit(buy, office, "a")
        wait_for(lambda: is_read(office), "the command at the combiner")
        connection_of(office)._socket.shutdown(socket.SHUT_RDWR)
        error = sale.exception(FAR_S)
    assert isinstance(error, Problem)
    assert error.code == "outcome_unknown"
    assert buy(have_a_combiner(office), "a").record.version == 1
    assert combiner_of(office) == pid


SOLD = Record(1, "sold", "k", "mine", 1, (1,), 9)


def test_what_was_committed_before_the_answer_was_lost_is_the_first_answer_and_no_replay() -> None:
    mine, others = Sell("k", "r", "mine", 1), Sell("k", "r", "another", 1)
    assert told_again(mine, Replay(SOLD), of_an_engine=True) == SOLD
    assert told_again(others, Replay(SOLD), of_an_engine=False) == Replay(SOLD)
    held = Record(1, "held", "k", "", 1, (1,), 9, hold="mine")
    assert told_again(Hold("k", "r", "mine", 1, 1.0), Replay(held), of_an_engine=False) == held
    cancelled = Record(2, "cancelled", "k", "mine", 1, (1,), 10, operation="x1")
    assert told_again(Cancel("k", "r", "mine", operation="x1"), Replay(cancelled), of_an_engine=False) == cancelled
    again = Cancel("k", "r", "mine", operation="x2")
    assert told_again(again, Replay(cancelled), of_an_engine=False) == Replay(cancelled)


def test_a_refusal_that_is_asked_again_is_definite_only_where_nothing_can_arrive_late() -> None:
    refusal, sell = Refusal("sold_out", 1, 0), Sell("k", "r", "mine", 1)
    assert told_again(sell, refusal, of_an_engine=False) == refusal
    with pytest.raises(Problem, match="outcome_unknown"):
        told_again(sell, refusal, of_an_engine=True)


# -- the switch -------------------------------------------------------------------------------------------------------


@pytest.mark.servers
def test_a_worker_that_waits_for_the_combiner_holds_up_no_switch_and_decides_again_under_the_new_guard(
    open_worker: Open,
) -> None:
    office = open_worker(EVENT="")
    office.create(Event("show", "Show", 10, lab=True))
    buy(office, "before")
    before = office.control.mode().epoch
    os.kill(combiner_of(office), signal.SIGSTOP)
    with ThreadPoolExecutor(1) as pool:
        sale = pool.submit(buy, office, "a")
        wait_for(lambda: is_sent(office), "a command that waits for the combiner")
        assert office.switch("none").epoch == before + 1
        os.kill(combiner_of(office), signal.SIGCONT)
        assert sale.result(FAR_S).times.epoch == before + 1


# -- whose combiner ---------------------------------------------------------------------------------------------------


def test_another_configuration_master_or_version_has_another_combiner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def name(master: str = "m", processes: int = 4, **variables: str) -> str:
        return place.fingerprint_of(from_environment(variables), master, processes)

    assert name() == name()
    others = [
        name(master="n"),
        name(processes=3),
        name(LASTSEAT_BATCH="8"),
        name(LASTSEAT_STORE="sqlite"),
        name(LASTSEAT_STORE="postgresql://a/b"),
        name(LASTSEAT_STORE="postgresql://a/c"),
    ]
    (tmp_path / "code.py").write_text("another version")
    monkeypatch.setattr(place, "_sources", lambda: [tmp_path / "code.py"])
    assert len({name(), *others, "0"}) == len(others) + 2


@pytest.mark.servers
def test_a_combiner_whose_code_or_settings_are_others_than_its_workers_refuses_and_the_worker_sells(
    open_worker: Open, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    office = open_worker(EVENT="show:10")
    killed = combiner_of(office)
    os.kill(killed, signal.SIGKILL)
    monkeypatch.setenv("LASTSEAT_BATCH", "7")
    host_line = office.host_line
    assert host_line is not None
    wait_for(lambda: has_ended(killed), "the end of the combiner")
    before = host_line._launched
    assert buy(office, "a").record.version == 1
    host_line._launched_at = -FAR_S
    wait_for(lambda: (host_line._start(), host_line._launched is not before)[1], "another combiner")
    launched = host_line._launched
    assert launched is not None
    wait_for(lambda: launched.status() is not None, "its end")
    assert launched.status() == 1
    assert buy(office, "b").record.version == 2
    assert "refused to start" in capfd.readouterr().err


# -- it never waits for a worker, and ends with the last --------------------------------------------------------------


@pytest.mark.servers
def test_a_worker_that_does_not_read_loses_its_own_answers_and_no_other_waits_for_it(open_worker: Open) -> None:
    office = open_worker(EVENT="")
    office.create(Event("big", "Big", 10_000_000, max_per_order=200_000))
    assert office.host_line is not None
    opened = office.host_line._place.connect(1.0)
    assert opened is not None
    stopped = Connection(opened, office.host_line._place.fingerprint)
    opened.settimeout(FAR_S)
    # Each answer has the numbers of all its tickets, five bytes a number.
    ask = [
        messages.encode(
            messages.Ask(n, "big", [messages.Asked(messages.written(Sell(f"s{n}", "r", f"o{n}", 200_000)), 0, 1e9)])
        )
        for n in range(MOST_UNSENT // 1_000_000 + 4)
    ]
    for each in ask:
        for packet in packets(each):
            opened.send(packet)
    for number in range(3):
        assert buy(office, f"k{number}", event="big").record.quantity == 1
    received = 0
    while packet := opened.recv(messages.PACKET + 1):
        received += len(packet)
    assert 0 < received < MOST_UNSENT + 4_000_000
    stopped.close()


@pytest.mark.servers
def test_it_is_deaf_to_the_signals_of_its_workers_end_and_ends_with_the_last_of_them(open_worker: Open) -> None:
    first, last = open_worker(EVENT="show:10"), open_worker(EVENT="show:10")
    pid, directory = combiner_of(first), directory_of(first)
    for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        os.kill(pid, each)
    leave(first)
    assert buy(last, "a").record.version == 1
    assert combiner_of(last) == pid
    leave(last)
    wait_for(lambda: has_ended(pid), "its end")
    assert not directory.exists()


# -- the socket -------------------------------------------------------------------------------------------------------


@pytest.mark.servers
def test_its_socket_is_its_users_alone_however_long_the_path_is(open_worker: Open, tmp_path: Path) -> None:
    office = open_worker(EVENT="show:10", data=tmp_path / ("long" * 30))
    named = directory_of(office) / "socket"
    assert len(os.fspath(named)) > 108
    assert stat.S_IMODE(named.stat().st_mode) == 0o600
    assert stat.S_IMODE(directory_of(office).stat().st_mode) == 0o700
    assert stat.S_IMODE(directory_of(office).parent.stat().st_mode) == 0o700


@pytest.mark.servers
def test_a_socket_that_a_killed_combiner_left_is_nobodys_and_is_replaced(open_worker: Open) -> None:
    office = open_worker(EVENT="show:10")
    killed, directory = combiner_of(office), directory_of(office)
    os.kill(killed, signal.SIGKILL)
    wait_for(lambda: has_ended(killed), "its end")
    assert (directory / "socket").exists()
    assert buy(office, "a").record.version == 1
    assert combiner_of(have_a_combiner(office)) != killed
    assert buy(office, "b").record.version == 2


@pytest.mark.servers
def test_who_answers_with_another_name_is_not_asked(open_worker: Open, tmp_path: Path) -> None:
    office = open_worker(EVENT="show:10")
    mine, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with mine, its:
        its.send(b"." + messages.encode(messages.Hello("another")))
        with pytest.raises(OSError, match="another configuration"):
            Connection(mine, directory_of(office).name)
        its.close()
    mine, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with mine, its:
        its.send(b"." + msgspec.msgpack.encode("nonsense"))
        with pytest.raises(ConnectionError):
            Connection(mine, directory_of(office).name)


@pytest.mark.servers
def test_the_next_master_removes_what_a_killed_combiner_left(
    open_worker: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    office = open_worker(EVENT="show:10")
    killed, directory = combiner_of(office), directory_of(office)
    os.kill(killed, signal.SIGKILL)
    wait_for(lambda: has_ended(killed), "its end")
    assert directory.exists()
    monkeypatch.setattr(gunicorn, "current_server", lambda: Server("the next"))
    following = open_worker(EVENT="show:10")
    assert directory_of(following) != directory
    assert not directory.exists()


@pytest.mark.servers
def test_while_somebody_keeps_the_guard_of_one_event_the_others_are_sold(open_worker: Open) -> None:
    first, second = open_worker(EVENT="show:10"), open_worker(EVENT="show:10")
    first.create(Event("other", "Other", 10))
    with ThreadPoolExecutor(2) as pool:
        with guard_taken(first._settings.data):
            kept_out = pool.submit(buy, first, "a")
            wait_for(lambda: is_read(first), "the command at the combiner")
            assert [buy(second, f"k{n}", event="other").record.version for n in range(3)] == [1, 2, 3]
            behind = pool.submit(buy, second, "b")
            wait_for(lambda: is_read(second, 4), "the next command at the combiner")
            assert not kept_out.done()
        assert [kept_out.result(FAR_S).record.version, behind.result(FAR_S).record.version] == [1, 2]


@pytest.mark.servers
def test_threads_of_one_worker_share_its_connection(open_worker: Open) -> None:
    office = open_worker(EVENT="show:100")
    barrier = threading.Barrier(8)

    def several(number: int) -> None:
        barrier.wait(FAR_S)
        for turn in range(5):
            buy(office, f"{number}-{turn}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(several, range(8)))
    assert office.look("show")[0].sold == 40
    opened = [os.fspath(each.readlink()) for each in Path(f"/proc/{combiner_of(office)}/fd").iterdir()]
    assert sum(each.startswith("socket:") for each in opened) == 2  # the one that it listens on, and one worker's
