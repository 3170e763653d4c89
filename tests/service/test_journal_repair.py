"""`lastseat journal repair`: whatever becomes of a few lines of a real journal, no place is sold twice behind it."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from click import ClickException
from click.testing import CliRunner, Result
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from service.commands.journal import journal
from service.errors import Problem
from service.rules.halls import Hall, Plan, Row, Section
from service.rules.inventory import Cancel, Command, Confirm, Event, Hold, Record, Release, Sell, decide_all
from service.settings import Settings
from service.stores.journal import ledger
from service.stores.journal.lines import encode
from service.stores.journal.store import Journal

START = datetime(2026, 11, 23, 8, tzinfo=UTC)
SHOW = Event("show", "Show", 12, max_per_order=4)
HALL = Hall(Plan((Section("stalls", (Row("A", 5), Row("B", 7))),)))
HOUSE = msgspec.structs.replace(SHOW, hall=HALL.name, born="b1")


class Office:
    """One process on the journal of ``show``, with a clock of its own."""

    def __init__(self, data: Path) -> None:
        self.store = Journal(Settings(data=data))
        self.now = START

    def ask(self, command: Command) -> list[Record]:
        """What was written for a command, ended holds included; durable."""
        view = self.store.view("show", [command], self.now)
        decide_all(view, [command], self.now)
        if view.fresh:
            [position] = self.store.append([view])
            self.store.make_durable("show", position)
        return view.fresh

    def sell(self, key: str, quantity: int = 1) -> list[Record]:
        return self.ask(Sell(key, "r", f"o-{key}", quantity))

    @property
    def remaining(self) -> int:
        return self.store.view("show").remaining

    def records(self) -> list[Record]:
        return list(self.store.audit("show")[1])


@pytest.fixture
def data(tmp_path: Path) -> Path:
    Journal(Settings(data=tmp_path)).create(SHOW)
    return tmp_path


@pytest.fixture
def office(data: Path) -> Office:
    return Office(data)


def segments(data: Path) -> list[Path]:
    return sorted((data / "journal" / "show").glob("*.jsonl"))


def run(data: Path, *arguments: str) -> Result:
    return CliRunner().invoke(journal, [*arguments, "--data", str(data)], standalone_mode=False)


def lines_of(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)


def scramble(data: Path, *lines: int) -> None:
    [path] = segments(data)
    content = lines_of(path)
    for line in lines:
        content[line] = content[line].replace(b'"', b"#")
    path.write_bytes(b"".join(content))


def repaired(data: Path) -> Office:
    """The office that opens after a repair; it says that it is one."""
    ran = run(data, "repair", "show", "--yes")
    assert ran.exception is None
    assert (ran.return_value, ran.output.splitlines()[-1].startswith("show: repaired")) == (0, True), ran.output
    assert run(data, "verify").return_value == 0
    return Office(data)


def sell_out(office: Office) -> int:
    """How many places can still be had, one by one."""
    return sum(len(office.sell(f"after{number}")) for number in range(SHOW.capacity + 10))


# -- one line gone ----------------------------------------------------------------------------------------------------


def test_a_lost_sale_before_its_cancellation_frees_no_place_that_it_had_not_taken(data: Path, office: Office) -> None:
    office.sell("a", 4)
    office.ask(Cancel("c", "r", "o-a"))
    office.sell("b", 2)
    scramble(data, 1)
    after = repaired(data)
    view = after.store.view("show")
    assert (view.sold, view.held, view.remaining) == (2, 0, 10)
    assert sell_out(after) == 10


def test_a_lost_hold_before_its_confirmation_is_counted_once(data: Path, office: Office) -> None:
    office.ask(Hold("h", "r", "h1", 4, 60))
    office.ask(Confirm("c", "r", "h1", "o1"))
    scramble(data, 1)
    after = repaired(data)
    view = after.store.view("show")
    assert (view.sold, view.held, view.remaining) == (4, 0, 8)
    assert sell_out(after) == 8


def test_a_lost_cancellation_is_not_made_a_second_time(data: Path, office: Office) -> None:
    office.sell("a", 4)
    office.ask(Cancel("c", "r", "o-a"))
    for key in "bcd":
        office.sell(key, 4)  # the house is full
    scramble(data, 2)
    after = repaired(data)
    assert after.remaining == 0
    assert after.ask(Cancel("c", "r", "o-a")) == []
    assert after.store.view("show", order="o-a").orders["o-a"].status == "sold"
    assert [each.kind for each in after.ask(Cancel("x", "r", "o-d"))] == ["cancelled"]
    assert after.remaining == 4


def test_a_hold_whose_end_may_be_lost_is_neither_ended_nor_confirmed_a_second_time(data: Path, office: Office) -> None:
    office.ask(Hold("h", "r", "h1", 4, 60))
    office.ask(Confirm("c", "r", "h1", "o1"))
    office.sell("a", 4)
    office.sell("b", 4)
    scramble(data, 2)
    after = repaired(data)
    assert after.remaining == 0
    after.now += timedelta(hours=1)
    assert after.ask(Confirm("c", "r", "h1", "o2")) == []
    assert after.remaining == 0


def test_where_one_sale_is_lost_all_else_goes_on_as_before(data: Path, office: Office) -> None:
    office.sell("a", 2)
    office.ask(Hold("h", "r", "h1", 3, 60))
    office.sell("b", 4)
    office.sell("c")
    scramble(data, 3)
    after = repaired(data)
    assert after.remaining == 2
    assert [each.kind for each in after.ask(Confirm("x", "r", "h1", "o1"))] == ["confirmed"]
    assert [each.kind for each in after.ask(Cancel("y", "r", "o-a"))] == ["cancelled"]
    assert after.remaining == 4


def test_what_the_last_line_may_have_taken_stays_taken_and_its_numbers_are_not_given_out_again(
    data: Path, office: Office
) -> None:
    office.sell("a", 2)
    [lost] = office.sell("b", 4)
    scramble(data, 2)
    after = repaired(data)
    assert after.remaining <= 12 - 6
    [sold] = after.sell("c")
    assert sold.version > lost.version
    assert min(sold.tickets) > max(lost.tickets)


def test_a_single_flipped_bit_is_put_right_wherever_it_is(data: Path, office: Office) -> None:
    office.sell("a", 2)
    office.ask(Hold("h", "r", "h1", 3, 60))
    office.sell("b", 4)
    [path] = segments(data)
    whole, before = path.read_bytes(), office.records()
    for at in range(0, len(whole), 7):
        content = bytearray(whole)
        content[at] ^= 1 << at % 8
        path.write_bytes(content)
        after = repaired(data)
        assert after.records() == before
        assert after.remaining == 3
        for each in path.parent.iterdir():
            if each != path:
                each.unlink()
    path.write_bytes(whole)


def test_a_cancellation_copied_behind_lost_lines_gives_its_places_back_once(data: Path, office: Office) -> None:
    office.sell("a", 4)
    office.sell("b", 4)
    office.ask(Cancel("c", "r", "o-a"))
    office.sell("d", 4)
    office.sell("e", 4)  # the house is full
    [path] = segments(data)
    content = lines_of(path)
    path.write_bytes(b"".join([*content, content[3]]))
    scramble(data, 2, 3)
    assert sell_out(repaired(data)) == 0


def test_a_last_line_that_is_gone_behind_a_copy_as_long_is_missed(data: Path, office: Office) -> None:
    for key in "abc":
        office.sell(key, 4)
    [path] = segments(data)
    content = lines_of(path)
    path.write_bytes(b"".join([*content[:3], content[1]]))
    assert sell_out(repaired(data)) == 0


def test_a_lost_cancellation_with_a_true_head_behind_it_is_repaired(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "SEGMENT_RECORDS", 4)
    office = Office(data)
    office.sell("a", 4)
    office.ask(Cancel("c", "r", "o-a"))
    for key in "bdef":
        office.sell(key)
    first, second = segments(data)
    content = lines_of(first)
    first.write_bytes(b"".join([*content[:2], b"#\n", *content[3:]]))
    after = repaired(data)
    assert after.ask(Cancel("x", "r", "o-a")) == []
    assert after.remaining == 4
    # Its head too, and then all that the repair knew: what the records say of themselves is true all the same.
    second.write_bytes(b"".join(lines_of(second)[1:]))
    assert repaired(data).remaining == 4
    for path in segments(data)[2:]:
        path.unlink()
    second.write_bytes(second.read_bytes() + b"#\n")
    assert repaired(data).remaining < 4


def test_a_head_of_a_repair_that_is_lost_takes_nothing_of_what_it_knew_with_it(data: Path, office: Office) -> None:
    office.sell("a")
    for key in "bcd":
        office.sell(key)
        office.ask(Cancel(f"c{key}", "r", f"o-{key}"))
    given_out = office.records()[-1].tickets[-1]
    newest = office.records()[-1].version
    scramble(data, *range(2, 8))
    repaired(data)
    path = segments(data)[-1]
    path.write_bytes(b"#")
    office = repaired(data)
    view = office.store.view("show")
    assert view.next_ticket > given_out
    assert view.version >= newest
    assert office.ask(Cancel("x", "r", "o-a")) == []


# -- the rest of what a journal is ------------------------------------------------------------------------------------


def test_a_whole_journal_has_nothing_to_repair_and_a_repaired_one_neither(data: Path, office: Office) -> None:
    for key in "abc":
        office.sell(key)
    assert "nothing to repair; nothing was written" in run(data, "repair", "show", "--yes").output
    scramble(data, 2)
    repaired(data).sell("d")
    before = {path: path.read_bytes() for path in (data / "journal" / "show").iterdir()}
    ran = run(data, "repair", "show", "--yes")
    assert (ran.return_value, "nothing to repair" in ran.output) == (0, True)
    assert {path: path.read_bytes() for path in (data / "journal" / "show").iterdir()} == before


def test_damage_after_a_repair_is_repaired_too_and_each_copy_is_kept(
    data: Path, office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key in "abc":
        office.sell(key)
    scramble(data, 2)
    repaired(data)
    first = segments(data)[0]
    content = lines_of(first)
    first.write_bytes(b"".join([content[0], content[1].replace(b'"', b"#"), *content[2:]]))
    after = repaired(data)
    assert len(list(first.parent.glob("00000001.damaged*"))) == 2
    assert after.remaining <= 9


def test_what_is_lost_behind_a_repair_before_anybody_sold_on_is_missed(data: Path, office: Office) -> None:
    for key in "abc":
        office.sell(key, 4)
    scramble(data, 3)
    repaired(data)
    first, last = segments(data)
    last.unlink()
    first.write_bytes(b"".join(lines_of(first)[:2]))
    with pytest.raises(Problem, match="it had been synced"):
        Office(data).remaining  # noqa: B018
    assert run(data, "verify").return_value == 1
    after = repaired(data)
    assert sell_out(after) == 0
    assert [record.key for record in after.records()] == ["a"]


def test_a_line_that_is_lost_between_an_older_gap_and_the_repairs_head_is_missed(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "SEGMENT_RECORDS", 2)
    office = Office(data)
    office.sell("a", 4)
    office.sell("b", 4)
    office.ask(Cancel("c", "r", "o-b"))
    first, second = segments(data)
    first.write_bytes(b"".join([lines_of(first)[0], b"#\n", *lines_of(first)[2:]]))
    repaired(data)
    second.write_bytes(b"".join([lines_of(second)[0], *lines_of(second)[2:]]))
    assert run(data, "verify").return_value == 1
    after = repaired(data)
    assert after.ask(Cancel("x", "r", "o-b")) == []
    assert sell_out(after) == 8


@pytest.mark.parametrize("at", [1, 3])
def test_a_gap_that_changes_places_with_a_record_is_seen_and_every_key_is_found_behind_a_repair(
    data: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    """``at`` the beginning of a segment, where its head was lost, and at its end, where a record was."""
    monkeypatch.setattr(ledger, "SEGMENT_RECORDS", 3)
    office = Office(data)
    for key in "abcdefg":
        office.sell(key)
    second = segments(data)[1]
    lose = 0 if at == 1 else 3
    content = lines_of(second)
    second.write_bytes(b"".join([*content[:lose], b"#\n", *content[lose + 1 :]]))
    kept = [record.key for record in repaired(data).records()]
    content = lines_of(second)
    gap, other = at, 2 if at == 1 else 1
    assert content[gap].startswith(b'{"gap"')
    content[gap], content[other] = content[other], content[gap]
    second.write_bytes(b"".join(content))
    assert run(data, "verify").return_value == 1
    after = repaired(data)
    assert [record.key for record in after.records()] == kept
    for key in kept:
        assert after.sell(key) == []


def test_a_damaged_head_with_another_one_is_made_anew_and_the_only_one_is_left_as_it_is(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "SEGMENT_RECORDS", 3)
    office = Office(data)
    for key in "ab":
        office.sell(key)
    scramble(data, 0)
    before = segments(data)[0].read_bytes()
    ran = run(data, "repair", "show", "--yes")
    assert isinstance(ran.exception, ClickException)
    assert "no head of show can be read" in ran.exception.message
    assert "Nothing was written" in ran.exception.message
    assert segments(data)[0].read_bytes() == before
    assert run(data, "verify").return_value == 1
    # The same with a second segment beside it.
    segments(data)[0].write_bytes(before.replace(b"#", b'"'))
    for key in "cde":
        office.sell(key)
    for path in segments(data):
        content = lines_of(path)
        path.write_bytes(b"".join([content[0].replace(b'"', b"#"), *content[1:]]))
        after = repaired(data)
        assert after.remaining == 7
        assert [record.key for record in after.records()] == list("abcde")


def test_a_segment_that_is_gone_is_a_gap_and_what_it_sold_stays_sold(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "SEGMENT_RECORDS", 2)
    office = Office(data)
    for key in "abcdef":
        office.sell(key)
    segments(data)[1].unlink()
    with pytest.raises(Problem, match=r"2\.jsonl is missing"):
        Office(data).remaining  # noqa: B018
    assert "00000002.jsonl is missing" in run(data, "verify").output
    after = repaired(data)
    assert [record.key for record in after.records()] == list("abef")
    assert after.remaining == 6
    assert after.ask(Cancel("x", "r", "o-a")) == []
    after.sell("g")
    # The last one, of which the durable mark alone knows.
    segments(data)[-1].unlink()
    after = repaired(data)
    assert after.remaining == 0


def test_verify_sees_an_older_repairs_gap_and_what_does_not_add_up(data: Path, office: Office) -> None:
    office.sell("a", 4)
    office.ask(Cancel("c", "r", "o-a"))
    [path] = segments(data)
    content = lines_of(path)
    gap = b'{"gap":"byte 9: its checksum is wrong"'
    import zlib

    path.write_bytes(b"".join([content[0], gap + b',"crc":"%08x"}\n' % zlib.crc32(gap), *content[2:]]))
    (path.parent / "durable").unlink()
    assert run(data, "verify").return_value == 1
    assert sell_out(repaired(data)) == 12


@pytest.mark.parametrize("wrong", ["twice", "remaining", "kinds", "numbers", "overrun"])
def test_verify_sees_lines_that_are_whole_and_cannot_be_true(data: Path, office: Office, wrong: str) -> None:
    from msgspec.structs import replace

    office.sell("a", 4)
    office.sell("b", 4)
    [path] = segments(data)
    content = lines_of(path)
    last = office.records()[-1]
    more = {
        "twice": last,
        "remaining": replace(last, version=3, key="k", order="o", tickets=(9, 10, 11, 12), remaining=3),
        "kinds": replace(last, version=3, key="k", kind="cancelled", order="nobody's", remaining=8),
        "numbers": replace(last, version=3, key="k", order="o", remaining=0),
        "overrun": replace(last, version=3, key="k", order="o", quantity=5, tickets=(9, 10, 11, 12, 13), remaining=-1),
    }[wrong]
    path.write_bytes(b"".join([*content, encode(more)]))
    ran = run(data, "verify")
    assert (ran.exception, ran.return_value) == (None, 1)


# -- whatever happens to the lines ------------------------------------------------------------------------------------

wishes = st.lists(
    st.tuples(st.sampled_from(["sell", "sell", "hold", "cancel", "confirm", "release", "later"]), st.integers(0, 7)),
    min_size=3,
    max_size=25,
)
damages = st.lists(
    st.tuples(
        st.sampled_from(["delete", "flip", "scramble", "duplicate", "truncate", "swap", "lose a segment"]),
        st.integers(0, 40),
        st.integers(0, 4000),
    ),
    min_size=1,
    max_size=3,
)


def commands(wanted: Sequence[tuple[str, int]], office: Office, prefix: str = "") -> list[Record]:
    """Ask for what is wanted, of whatever there is; everything that was written."""
    written: list[Record] = []
    for number, (what, which) in enumerate(wanted):
        key = f"{prefix}k{number}"
        orders = [each.order for each in written if each.kind in ("sold", "confirmed")] or ["none"]
        holds = [each.hold for each in written if each.kind == "held"] or ["none"]
        if what == "later":
            office.now += timedelta(seconds=20 * which)
        else:
            written += office.ask({
                "sell": Sell(key, "r", f"o-{key}", which % 4 + 1),
                "hold": Hold(key, "r", f"h-{key}", which % 4 + 1, 30 + which),
                "cancel": Cancel(key, "r", orders[which % len(orders)]),
                "confirm": Confirm(key, "r", holds[which % len(holds)], f"o-{key}"),
                "release": Release(key, "r", holds[which % len(holds)]),
            }[what])  # fmt: skip
    return written


def do_damage(data: Path, what: str, which: int, where: int) -> None:
    paths = segments(data)
    path = paths[where % len(paths)]
    lines = lines_of(path)
    if what == "lose a segment":
        if len(paths) > 1:
            path.unlink()
        return
    if not lines:
        return
    at = which % len(lines)
    line = lines[at]
    if what == "delete":
        lines[at : at + 1] = []
    elif what == "flip":
        content = bytearray(line)
        content[where % len(line)] ^= 1 << which % 8
        lines[at] = bytes(content)
    elif what == "scramble":
        lines[at] = line.replace(b'"', b"#")
    elif what == "duplicate":
        lines.insert(where % (len(lines) + 1), line)
    elif what == "truncate":
        lines[at:] = [line[: where % len(line)]]
    elif what == "swap":
        other = where % len(lines)
        lines[at], lines[other] = lines[other], line
    path.write_bytes(b"".join(lines))


def open_orders(records: Sequence[Record]) -> dict[str, int]:
    """The orders that are not cancelled, with their places, and the holds that nobody has ended."""
    found: dict[str, int] = {}
    for record in records:
        if record.kind in ("cancelled", "released", "expired"):
            found.pop(record.order or record.hold, None)
        else:
            if record.kind == "confirmed":
                found.pop(record.hold, None)
            found[record.order or record.hold] = record.quantity
    return found


@settings(max_examples=150, phases=[Phase.explicit, Phase.generate])
# A sale is lost, and the next line gives out no number.
@example(
    [("later", 7), ("hold", 1), ("cancel", 5), ("sell", 4), ("sell", 6), ("release", 1)],
    [[("flip", 27, 558), ("scramble", 33, 23), ("swap", 2, 487)]],
    [("later", 3), ("sell", 3), ("sell", 0), ("cancel", 0), ("cancel", 1)],
)
# A copy hides in the length of the file that the last line is gone.
@example(
    [("sell", 3), ("sell", 4), ("confirm", 6)],
    [[("truncate", 17, 2622), ("delete", 38, 421), ("duplicate", 21, 454)]],
    [("sell", 4), ("hold", 0)],
)
# The readable sales are more than there are places: a cancellation between them is lost.
@example(
    [("sell", 7), ("sell", 6), ("sell", 7), ("cancel", 1), ("sell", 3)],
    [[("truncate", 16, 472)]],
    [("sell", 2), ("later", 2), ("sell", 5), ("sell", 3)],
)
# What a repair's head knew is lost with it.
@example(
    [("sell", 3), ("sell", 3), ("sell", 3)],
    [[("scramble", 3, 0)], [("lose a segment", 0, 1), ("truncate", 2, 0)]],
    [("sell", 3)],
)
def open_seats(records: Sequence[Record]) -> list[str]:
    """The seats of all orders and holds that stand open, those of the holds that nobody ended included."""
    seats: dict[str, tuple[str, ...]] = {}
    for record in records:
        if record.kind in ("confirmed", "released", "expired"):
            seats.pop(record.hold, None)
        if record.kind == "cancelled":
            seats.pop(record.order, None)
        if record.kind in ("sold", "held", "confirmed"):
            seats[record.order or record.hold] = record.seats
    return [seat for each in seats.values() for seat in each]


@pytest.mark.slow
@pytest.mark.parametrize("about", [SHOW, HOUSE], ids=["numbers", "seats"])
@given(wishes, st.lists(damages, min_size=1, max_size=2), wishes)
def test_whatever_happens_to_some_lines_a_repair_sells_no_place_twice(
    tmp_path_factory: pytest.TempPathFactory,
    about: Event,
    before: list[tuple[str, int]],
    harms: list[list[tuple[str, int, int]]],
    after: list[tuple[str, int]],
) -> None:
    data = tmp_path_factory.mktemp("repair")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(ledger, "SEGMENT_RECORDS", 4)
        store = Journal(Settings(data=data))
        store.halls.keep(HALL)
        store.create(about)
        office = Office(data)
        truth = commands(before, office)
        for harm in harms:
            for each in harm:
                do_damage(data, *each)
            ran = run(data, "repair", "show", "--yes")
            if ran.return_value != 0:
                # Not even a head is left: it says so, and nothing opens what it left as it was.
                assert isinstance(ran.exception, ClickException), ran.output
                assert "no head of show can be read" in ran.exception.message
                with pytest.raises(Problem):
                    Office(data).remaining  # noqa: B018
                shutil.rmtree(data)
                return
            assert run(data, "verify").return_value == 0
            files = {path: path.read_bytes() for path in (data / "journal" / "show").iterdir()}
            assert "nothing to repair" in run(data, "repair", "show", "--yes").output
            assert {path: path.read_bytes() for path in (data / "journal" / "show").iterdir()} == files
        later = Office(data)
        later.now = office.now
        kept = later.records()
        # Whoever was answered asks for everything once more: cancels, confirms, and the rest is sold out.
        again = [Cancel(f"c-{each.order}", "r", each.order) for each in truth if each.kind in ("sold", "confirmed")]
        holds = [each.hold for each in truth if each.kind == "held"]
        confirms = [Confirm(f"d-{hold}", "r", hold, f"p-{hold}") for hold in holds]
        new = [record for command in (*confirms, *again[::2]) for record in later.ask(command)]
        new += commands(after, later, "x")
        new += [record for number in range(20) for record in later.sell(f"y{number}")]
        occupied = open_orders([*truth, *new])
        assert sum(occupied.values()) <= SHOW.capacity, (truth, kept, new)
        assert later.remaining >= 0
        seats = open_seats([*truth, *new])
        assert len(seats) == len(set(seats)) == (sum(occupied.values()) if about.hall else 0), (truth, kept, new)
        given_out = {ticket for record in truth for ticket in record.tickets}
        fresh = [ticket for record in new if record.kind in ("sold", "held") for ticket in record.tickets]
        assert len(fresh) == len(set(fresh))
        assert not given_out & set(fresh)
        newest = max((record.version for record in truth), default=0)
        assert all(record.version > newest for record in new)
        assert run(data, "verify").return_value == 0
    shutil.rmtree(data)
