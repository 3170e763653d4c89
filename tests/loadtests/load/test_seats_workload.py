"""Buyers who choose their seats, beside a real office: the map, the wishes of each taste, the sale to the last seat.

What is asserted of a sale is counted here from the buyers' answers alone, whatever the verdict says.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest

from loadtests.lab.experiment.halls import HallName, known_halls, read_hall
from loadtests.lab.experiment.knobs import TASTES
from loadtests.lab.experiment.run_options import SettingsError, experiment_of, read_settings
from loadtests.lab.experiment.runner import run
from loadtests.lab.history.recorder import Operation
from loadtests.lab.load.seat_choice import ANY_SEAT, choose
from loadtests.lab.protocol.halls import FREE, HELD, SOLD, Hall
from loadtests.lab.protocol.office import OfficeAdapter
from loadtests.lab.protocol.seat_map import SeatMap
from loadtests.lab.servers.office import RunningOffice, Service
from service.catalogue import STORES
from tests.loadtests.commands.test_run import history
from tests.loadtests.target.test_target import judged
from workers import WORKER_MODELS

STUDIO = Hall.of({"sections": [{"name": "stalls", "rows": [{"name": row, "seats": 12} for row in "ABCDE"]}]})

DURABLE = [name for name, traits in STORES.items() if traits.durable]


def owners(lines: list[dict[str, Any]]) -> Counter[str]:
    """How many orders each seat is in, by the answers: a key counts once, and what was given back does not count."""
    orders = {
        line["order"]: line["seats"] for line in lines if line["op"] in {"buy", "confirm"} and line["outcome"] == "ok"
    }
    for line in lines:
        if line["op"] == "cancel" and line["outcome"] in {"ok", "unknown"}:
            orders.pop(line["order"], None)
    return Counter(seat for seats in orders.values() for seat in seats)


@pytest.mark.servers
def test_without_a_lock_seats_are_sold_twice(tmp_path: Path) -> None:
    status, said = judged(tmp_path, "--workload", "seats", "--guard", "none", "--worker", "gthread")
    assert (status, said["verdict"], said["capacity"]) == (1, "invalid", 60)
    twice = [seat for seat, orders in owners(history(said)).items() if orders > 1]
    assert twice
    assert said["seats_sold_twice"] >= len(twice)
    assert said["seats_sold"] == len(owners(history(said)))
    [seats] = [check for check in said["checks"] if check["name"] == "seats"]
    assert seats["violations"]["seat sold twice"] >= len(twice)


@pytest.mark.servers
@pytest.mark.parametrize("taste", ["front", "together"])
def test_with_the_lock_every_seat_of_the_house_is_sold_once(taste: str, tmp_path: Path) -> None:
    status, said = judged(tmp_path, "--workload", "seats", "--taste", taste, "--worker", "gthread")
    assert (status, said["verdict"], said["acknowledged"]) == (0, "valid", 60), said["why"]
    lines = history(said)
    assert owners(lines) == Counter(STUDIO.ids)
    assert (said["seats_sold"], said["seats_sold_twice"], said["lost"]) == (60, 0, 0)
    asked = [line for line in lines if line["op"] in {"buy", "hold"}]
    refused = [line for line in asked if line["outcome"] == "seat_taken"]
    assert refused
    assert all(line["taken"] and set(line["taken"]) <= set(line["wanted"]) for line in refused)
    assert all(line["seats"] == line["wanted"] for line in asked if line["outcome"] == "ok" and "wanted" in line)
    maps = [line for line in lines if "map" in line]
    assert all(
        line["op"] == "read" and line["remaining"] == (STUDIO.states(line["map"]) == FREE).sum() for line in maps
    )
    assert {line["remaining"] for line in maps} >= {60, 0}
    if taste == "together":
        parties = [line["seats"] for line in asked if line.get("together") and line["outcome"] == "ok"]
        assert parties
        assert all(STUDIO.are_neighbours([STUDIO.index[seat] for seat in seats]) for seats in parties)
        assert any(line["quantity"] == 1 and line["outcome"] == "ok" for line in asked)


@pytest.mark.servers
def test_arrivals_look_and_choose_too(tmp_path: Path) -> None:
    options = ("--taste", "spread", "--rate", "60", "--worker", "gthread", "--hold-share", "0")
    status, said = judged(tmp_path, "--workload", "seats", *options)
    assert (status, said["acknowledged"]) == (0, 60), said["why"]
    assert owners(history(said)) == Counter(STUDIO.ids)
    assert all("intended_ns" in line for line in history(said) if line["op"] == "buy" and line.get("attempt", 1) == 1)


@pytest.mark.servers
@pytest.mark.parametrize(
    ("store", "worker"),
    [
        pytest.param(store, worker, marks=[] if (store, worker) == ("json", "gthread") else [pytest.mark.soak])
        for store in DURABLE
        for worker in WORKER_MODELS
    ],
)
def test_workers_that_are_killed_in_the_sale_lose_no_seat(store: str, worker: str, tmp_path: Path) -> None:
    options = ("--fault", "kill-worker", "--retries", "6", "--store", store, "--worker", worker)
    status, said = judged(tmp_path, "--workload", "seats", *options)
    assert (status, said["verdict"], said["lost"], said["seats_sold_twice"]) == (0, "valid", 0, 0), said["why"]
    assert "workers killed" in said["faults"][0]["text"]
    lines = history(said)
    # Of a killed worker's buyers each asked again, until there was an answer.
    assert any(line["outcome"] == "unknown" for line in lines)
    assert owners(lines) == Counter(STUDIO.ids)


@pytest.mark.soak
@pytest.mark.servers
@pytest.mark.parametrize(
    ("store", "worker", "taste"),
    [(store, worker, "front") for store in DURABLE for worker in WORKER_MODELS]
    + [("json", "gthread", taste) for taste in TASTES[1:]],
)
@pytest.mark.parametrize("guard", ["none", "on"])
def test_seats_are_sold_twice_without_a_lock_and_never_with_it(
    guard: str, store: str, worker: str, taste: str, tmp_path: Path
) -> None:
    settings = {"workload": "seats", "store": store, "guard": guard, "worker": worker, "taste": taste, "rounds": 3}
    result = run(experiment_of({}, settings), tmp_path)
    lines = [json.loads(line) for line in (result.folder / "history.jsonl").read_text().splitlines()]
    rounds = [owners([line for line in lines if line["event"] == event]) for event in result.verdict.events]
    if guard == "none":
        assert result.verdict.verdict == "invalid"
        assert result.rounds_wrong == 3
        assert all(max(round_.values()) > 1 for round_ in rounds)
    else:
        assert result.verdict.verdict == "valid", result.verdict.why
        assert rounds == [Counter(STUDIO.ids)] * 3


@pytest.mark.soak
@pytest.mark.servers
def test_nodes_that_share_no_store_sell_the_house_twice(tmp_path: Path) -> None:
    status, said = judged(tmp_path, "--workload", "seats", "--nodes", "2", "--apart", "true")
    assert (status, said["verdict"]) == (1, "invalid")
    sold = owners(history(said))
    assert set(sold) == set(STUDIO.ids)
    assert sum(sold.values()) > 60


# -- halls ------------------------------------------------------------------------------------------------------------


@pytest.mark.servers
def test_an_office_takes_the_halls_of_the_examples(tmp_path: Path) -> None:
    sizes = {}
    with RunningOffice(Service(worker="gthread", processes=1), tmp_path) as running:
        for name in known_halls():
            running.office.create_event(name, 0, hall=read_hall(name).content)
            sizes[name] = len(Hall.of(running.office.hall(name)))
    assert sizes == {"studio": 60, "theatre": 1_200, "arena": 20_000}
    assert sizes == {name: read_hall(name).seats for name in known_halls()}


def test_a_hall_may_stand_in_a_file_and_its_seats_are_the_capacity(tmp_path: Path) -> None:
    (tmp_path / "my.json").write_text('{"sections": [{"name": "pit", "rows": [{"name": "A", "seats": 7}]}]}')
    (tmp_path / "sale.toml").write_text('workload = "seats"\nhall = "my.json"\ntaste = "together"\n')
    workload = experiment_of(read_settings(tmp_path / "sale.toml"), {}).workload
    assert (workload.hall, workload.capacity, workload.taste) == (str(tmp_path / "my.json"), 7, "together")
    assert experiment_of({}, {"workload": "seats"}).workload.capacity == 60
    assert experiment_of({}, {"workload": "seats", "hall": "theatre", "capacity": 1200}).workload.capacity == 1200


def test_the_office_takes_some_time_between_looking_and_writing_where_nobody_says_otherwise() -> None:
    # Within microseconds two who want one seat meet only by chance, and a sale without a lock must always go wrong.
    assert experiment_of({}, {"workload": "seats"}).service.think == "2"
    assert experiment_of({}, {"workload": "seats", "think": "0"}).service.think == "0"
    assert experiment_of({}, {"workload": "buy"}).service.think == "0"


def test_another_capacity_than_the_halls_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"the 60 seats of the hall studio are on sale"):
        experiment_of({}, {"workload": "seats", "capacity": 200})


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (None, "is neither one of arena, studio, theatre nor a file that can be read"),
        ("{", "it is no hall"),
        ('{"sections": []}', "it is no hall"),
        ('{"sections": [{"name": "pit", "rows": 3}]}', "each section has some; it has 0"),
        ('{"sections": [{"name": "pit", "rows": 1000, "seats": 101}]}', "1 to 100,000 seats"),
    ],
)
def test_what_is_no_hall_is_refused(content: str | None, wanted: str, tmp_path: Path) -> None:
    path = tmp_path / "my.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(click.BadParameter, match=wanted):
        HallName().convert(str(path), None, None)


# -- the map ----------------------------------------------------------------------------------------------------------


def look() -> Operation:
    return Operation(process=1, op="read", event="x", invoke_ns=0, return_ns=None, outcome="unknown")


def answered(seat_map: SeatMap, status: int = 200, **content: Any) -> Operation:
    operation = look()
    seat_map.understand(operation, status, json.dumps(content).encode(), {})
    return operation


def test_a_buyer_asks_for_the_whole_map_first_and_then_for_what_has_changed() -> None:
    seats, adapter = SeatMap(STUDIO), OfficeAdapter()
    assert adapter.request(look(), "b", seats).path == "/events/x/seats"
    states = np.full(60, FREE, np.uint8)
    states[[3, 59]] = HELD, SOLD
    first = answered(seats, version=4, free=58, born="a b", states=STUDIO.packed(states))
    assert (first.outcome, first.version, first.remaining, first.map) == ("ok", 4, 58, STUDIO.packed(states))
    assert adapter.request(look(), "b", seats).path == "/events/x/seats?since=4&born=a%20b"
    states[[3, 7]] = FREE, SOLD
    second = answered(seats, version=6, free=58, born="a b", changes=[[3, FREE], [7, SOLD]])
    assert (second.outcome, second.map) == ("ok", STUDIO.packed(states))
    assert seats.free.tolist() == [seat for seat in range(60) if seat not in {7, 59}]
    assert adapter.request(look(), "b").path == "/events/x"


@pytest.mark.parametrize(
    "content",
    [{}, {"changes": [[1, 2]]}, {"states": "AAAA"}, {"states": "no base64"}],
)
def test_an_answer_without_a_map_that_can_be_read_is_unknown(content: dict[str, Any]) -> None:
    seats = SeatMap(STUDIO)
    operation = answered(seats, version=1, free=60, **content)
    assert (operation.outcome, operation.map) == ("unknown", None)
    assert len(seats.free) == 60


def test_who_sees_that_the_changes_are_not_all_asks_for_the_whole_map() -> None:
    seats, adapter = SeatMap(STUDIO), OfficeAdapter()
    answered(seats, version=1, free=60, states="A" * 20)
    answered(seats, version=2, free=58, changes=[[0, SOLD]])
    assert adapter.request(look(), "b", seats).path == "/events/x/seats"


@pytest.mark.parametrize("change", [[60, FREE], [0, 3]])
def test_a_change_of_what_does_not_exist_is_unknown(change: list[int]) -> None:
    seats = SeatMap(STUDIO)
    answered(seats, version=1, free=60, states="A" * 20)
    assert answered(seats, version=2, free=59, changes=[change]).outcome == "unknown"


def test_of_a_large_hall_the_history_has_the_map_now_and_then() -> None:
    hall = Hall.of({"sections": [{"name": "pit", "rows": [{"name": "A", "seats": 1000}]}]})
    seats = SeatMap(hall)
    answered(seats, version=0, free=1000, states=hall.packed(seats.states))
    kept = [answered(seats, version=0, free=1000, changes=[]).map is not None for _ in range(10)]
    assert kept.count(True) == 2


# -- the wishes -------------------------------------------------------------------------------------------------------


def with_free(*free: str) -> SeatMap:
    seats = SeatMap(STUDIO)
    seats.states[:] = SOLD
    seats.states[[STUDIO.index[seat] for seat in free]] = FREE
    return seats


def test_who_wants_the_front_wants_the_best_that_are_free() -> None:
    seats = with_free("stalls-B-1", "stalls-B-6", "stalls-B-7", "stalls-C-6")
    wishes = {tuple(choose("front", seats, 4, random.Random(seed)).wanted or ()) for seed in range(50)}
    best = ("stalls-B-6", "stalls-B-7", "stalls-B-1", "stalls-C-6")
    assert wishes == {best[:quantity] for quantity in range(1, 5)}


def test_who_wants_any_seat_may_get_every_one() -> None:
    seats = with_free("stalls-A-1", "stalls-B-6", "stalls-E-12")
    wishes = [choose("spread", seats, 2, random.Random(seed)).wanted or [] for seed in range(50)]
    assert {seat for wish in wishes for seat in wish} == {"stalls-A-1", "stalls-B-6", "stalls-E-12"}
    assert all(len(set(wish)) == len(wish) <= 2 for wish in wishes)


def test_who_wants_to_sit_together_names_neighbours_or_leaves_it_to_the_office() -> None:
    seats = with_free("stalls-A-12", "stalls-B-1", "stalls-C-2", "stalls-C-3", "stalls-C-9", "stalls-C-10")
    wishes = [choose("together", seats, 4, random.Random(seed)) for seed in range(50)]
    assert {wish.quantity for wish in wishes} == {2}, "three are nowhere side by side"
    # Both pairs are free, and the one that is nearer to the middle is better.
    assert {tuple(wish.wanted) for wish in wishes if wish.wanted} == {("stalls-C-9", "stalls-C-10")}
    assert {(wish.together, wish.section) for wish in wishes if not wish.wanted} == {(True, None), (True, "stalls")}


def test_the_best_neighbours_that_a_buyer_names_are_those_of_the_hall() -> None:
    rng = random.Random(7)
    for _ in range(300):
        seats = with_free(*rng.sample(STUDIO.ids, rng.randint(1, 40)))
        wish = choose("together", seats, 3, rng)
        if wish.wanted:
            found = [STUDIO.index[seat] for seat in wish.wanted]
            assert found == STUDIO.best(seats.states == FREE, len(found), together=True, section=None)


@pytest.mark.parametrize("free", [["stalls-A-12", "stalls-B-1", "stalls-C-3"], []])
def test_where_nobody_can_sit_together_a_single_seat_is_taken(free: list[str]) -> None:
    assert choose("together", with_free(*free), 4, random.Random(1)) == ANY_SEAT
    assert choose("together", with_free("stalls-A-1", "stalls-A-2"), 1, random.Random(1)) == ANY_SEAT


@pytest.mark.parametrize("taste", TASTES)
def test_a_buyer_who_sees_no_free_seat_asks_all_the_same(taste: str) -> None:
    assert choose(taste, with_free(), 4, random.Random(1)) == ANY_SEAT
