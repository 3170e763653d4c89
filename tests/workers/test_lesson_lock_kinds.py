"""The lesson on kinds of locks: what a lock covers decides who waits; without one the seat is sold twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from workers.lessons import load
from workers.lessons.common.lesson import run_lesson
from workers.lessons.lock_kinds.lesson import TICKETS, events_in_tables
from workers.lessons.lock_kinds.sale import sell, who_must_wait
from workers.lessons.lock_kinds.sqlite_shop import BEGINNINGS, MustWait, SqliteShop, last_ticket

LESSON = load("lock-kinds")

pytestmark = pytest.mark.usefixtures("nothing_left_running")

TABLES = events_in_tables(5)  # three concerts, two plays


def test_without_a_lock_the_same_seats_are_sold_to_several(tmp_path: Path) -> None:
    sale = sell(SqliteShop("none", TABLES, TICKETS, tmp_path), TABLES, 4, 0.02)
    assert sale.sold > TICKETS * len(TABLES)


@pytest.mark.parametrize(("kind", "most_inside"), [("row", 5), ("table", 2), ("database", 1)])
def test_with_a_lock_each_seat_is_sold_once(kind: str, most_inside: int, tmp_path: Path) -> None:
    sale = sell(SqliteShop(kind, TABLES, TICKETS, tmp_path), TABLES, 3, 0.005)
    assert (sale.sold, sale.refused) == (TICKETS * len(TABLES), 2 * len(TABLES))
    assert sale.most_inside <= most_inside


@pytest.mark.parametrize(
    ("kind", "same_event", "same_table", "other_table"),
    [("none", 0, 0, 0), ("row", 1, 0, 0), ("table", 1, 2, 0), ("database", 1, 2, 2)],
)
def test_who_must_wait_is_who_shares_what_the_lock_covers(
    kind: str, same_event: int, same_table: int, other_table: int, tmp_path: Path
) -> None:
    assert who_must_wait(SqliteShop(kind, TABLES, TICKETS, tmp_path), TABLES) == {
        "same event": (same_event, 1),
        "same table": (same_table, 2),
        "other table": (other_table, 2),
    }


def test_a_buyer_who_is_kept_out_has_written_nothing_and_may_come_again(tmp_path: Path) -> None:
    shop = SqliteShop("database", TABLES, TICKETS, tmp_path)
    event, other = list(TABLES)[:2]

    def meanwhile() -> None:
        with pytest.raises(MustWait):
            shop.buy(other, lambda: None, 0)

    assert shop.buy(event, meanwhile, 0)
    assert shop.buy(other, lambda: None, 0)
    assert not shop.buy(other, lambda: None, 0)


def test_a_purchase_that_fails_gives_its_lock_back(tmp_path: Path) -> None:
    shop = SqliteShop("row", TABLES, TICKETS, tmp_path)
    event = next(iter(TABLES))

    def fail() -> None:
        raise OSError("the network is gone")

    with pytest.raises(OSError, match="network"):
        shop.buy(event, fail, 0)
    assert shop.buy(event, lambda: None, 0)


@pytest.mark.parametrize(
    ("beginning", "expected"),
    [
        ("no transaction", ("sells it too", "sees it", 2)),
        ("BEGIN", ("refused when it writes", "sees it", 1)),
        ("BEGIN IMMEDIATE", ("must wait", "sees it", 1)),
        ("BEGIN EXCLUSIVE", ("must wait", "must wait", 1)),
        ("BEGIN EXCLUSIVE, WAL", ("must wait", "sees it", 1)),
    ],
)
def test_what_sqlite_offers(beginning: str, expected: tuple[str, str, int], tmp_path: Path) -> None:
    assert last_ticket(beginning, tmp_path) == expected
    assert beginning in BEGINNINGS


def test_the_lesson_holds() -> None:
    findings = run_lesson(LESSON, {"events": 5, "buyers": 3, "think_ms": 10})
    measured = findings.measured
    assert measured["none_oversold"] > 0
    assert {kind: measured[f"{kind}_sold"] for kind in ("row", "table", "database")} == dict.fromkeys(
        ("row", "table", "database"), measured["tickets"]
    )
    assert [measured[f"{kind}_others_must_wait"] for kind in ("none", "row", "table", "database")] == [0, 0, 2, 4]
    assert findings.holds


@pytest.mark.parametrize("wrong", [{"events": 2}, {"buyers": 1}, {"think_ms": -1}, {"tickets": 5}])
def test_parameters_that_make_no_sense_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        LESSON.settings(wrong)
