"""The game: its levels are recorded on the real service, and the page needs nothing but itself."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from loadtests.lab.commands.explore import explore as command
from loadtests.lab.explore.game.levels import HERE, Level, load, named
from loadtests.lab.explore.game.page import recorded_page, recordings_in
from loadtests.lab.explore.game.recording import LevelRecording, Unrecordable, record
from loadtests.lab.explore.game.sentences import chinese_of

PAGE = Path(__file__).parents[3] / "docs" / "game.html"
LEVELS = load()
MOST_BYTES, MOST_NODES = 3_000_000, 5_000
NO_CHINESE = {
    "worker",
    "kill",
    "Redis",
    "SQLite",
    "invoke",
    "acquire",
    "view",
    "append",
    "release",
    "durable",
    "answer",
}


@pytest.fixture(scope="module")
def recordings() -> dict[str, LevelRecording]:
    return recordings_in(PAGE.read_text(encoding="utf-8"))


def small(**changes: object) -> Level:
    return msgspec.structs.replace(LEVELS["last-seat"], gates=("view", "append"), **changes)


def walk(recording: LevelRecording, schedule: str) -> list[int]:
    at = recording.nodes[-1]
    for token in re.findall("-?.", schedule):
        at = recording.nodes[next(move[1] for move in at[2] if move[0] == token)]
    return list(at)


def without_reasons(recording: LevelRecording) -> LevelRecording:
    """A recording without the sentences that explain it, which may be worded in another way one day."""
    results = [msgspec.structs.replace(result, reason=[]) for result in recording.results]
    return msgspec.structs.replace(recording, results=results)


@pytest.mark.servers
def test_a_level_is_recorded_the_same_way_twice_and_its_best_order_breaks_the_real_service() -> None:
    first, second = record(small()), record(small())
    assert first == second
    assert (first.orders, first.broken) == (6, 4)
    assert first.best is not None
    assert (first.best.schedule, first.best.preemptions, first.best.moves) == ("ABBA", 1, 4)
    assert first.results[walk(first, "ABBA")[0]].broken is True
    assert first.results[walk(first, "AABB"[:3])[0]].broken is False
    again = CliRunner().invoke(command, ["--replay", first.replay + first.best.schedule], standalone_mode=False)
    assert again.return_value == 1
    assert "goes wrong" in again.output


@pytest.mark.servers
@pytest.mark.parametrize("level", [name for name, each in LEVELS.items() if each.winnable])
def test_a_level_says_broken_where_the_replay_of_its_best_order_finds_a_violation(
    level: str, recordings: dict[str, LevelRecording]
) -> None:
    made = recordings[level]
    assert made.best is not None
    result = made.results[walk(made, made.best.schedule)[0]]
    again = CliRunner().invoke(command, ["--replay", made.replay + made.best.schedule], standalone_mode=False)
    # The page says "Broken!" for everything but a refusal.
    assert (again.return_value == 1) is (result.anomalies != ["deadlock"])
    assert ("no violation found" in again.output) is (level == "two-carts")
    assert ("is told: lock_timeout" in again.output) is (level == "two-carts")


@pytest.mark.servers
def test_the_recorded_documents_are_what_the_service_held() -> None:
    recorded = record(small())
    (read,) = recorded.documents[walk(recorded, "AB")[0]]
    (written,) = recorded.documents[walk(recorded, "ABB")[0]]
    (replaced,) = recorded.results[walk(recorded, "ABBA")[0]].documents
    assert read == {"left": 1, "records": []}
    assert written == {"left": 0, "records": [[1, "sold", "B", "#1"]]}
    assert replaced == {"left": 0, "records": [[1, "sold", "A", "#1"]]}


@pytest.mark.servers
def test_the_page_in_the_docs_shows_what_the_service_does_now(recordings: dict[str, LevelRecording]) -> None:
    now = record(LEVELS["last-seat"])
    assert without_reasons(now) == without_reasons(recordings["last-seat"]), "record it again: --export docs/game.html"


@pytest.mark.servers
@pytest.mark.parametrize(("guard", "winnable"), [("none", False), ("file", True)])
def test_a_level_whose_words_contradict_its_recording_is_refused(guard: str, winnable: bool) -> None:
    with pytest.raises(Unrecordable, match="whether an order breaks it"):
        record(small(guard=guard, winnable=winnable))


def test_the_page_in_the_docs_has_every_level_as_it_is_now_and_was_built_from_this_code(
    recordings: dict[str, LevelRecording],
) -> None:
    built = "lastseat explore --export docs/game.html --from docs/game.html"
    assert [(name, level.replay, level.tokens) for name, level in LEVELS.items()] == [
        (name, each.replay, each.tokens) for name, each in recordings.items()
    ]
    assert recorded_page(LEVELS, recordings) == PAGE.read_text(encoding="utf-8"), f"build it again: {built}"


def test_at_least_ten_levels_begin_with_ones_that_break_and_end_with_one_that_does_not(
    recordings: dict[str, LevelRecording],
) -> None:
    assert len(recordings) >= 10
    winnable = [each.best is not None for each in recordings.values()]
    assert winnable == [level.winnable for level in LEVELS.values()]
    assert winnable[0]
    assert not winnable[-1]
    assert winnable == sorted(winnable, reverse=True)


def test_every_level_is_small_enough_and_the_page_asks_nobody(recordings: dict[str, LevelRecording]) -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert len(page.encode()) < MOST_BYTES
    assert all(len(each.nodes) < MOST_NODES for each in recordings.values())
    for asking in ("://", "src=", "fetch", "import(", "url(", "XMLHttp", "sendBeacon", "EventSource", "WebSocket"):
        assert asking not in page, asking
    assert "default-src 'none'" in page
    assert "connect-src" not in page


def test_each_sentence_that_was_recorded_is_there_in_chinese(recordings: dict[str, LevelRecording]) -> None:
    said = dict[str, str]()
    for each in recordings.values():
        said |= chinese_of(each.steps, each.results)
    assert len(said) > 50
    english = {word for text in said.values() for word in re.findall(r"[A-Za-z]{3,}", text)} - NO_CHINESE
    assert english == set()


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_each_name_in_a_recording_has_words_in_both_languages(lang: str, recordings: dict[str, LevelRecording]) -> None:
    words = tomllib.loads((HERE / "words.toml").read_text(encoding="utf-8"))[lang]
    results = [result for each in recordings.values() for result in each.results]
    documents = [shown for each in recordings.values() for several in each.documents for shown in several]
    documents += [shown for result in results for shown in result.documents]
    gates = {step["gate"] for each in recordings.values() for step in each.steps} - {"time"}
    assert {told[0] for result in results for told in result.told.values()} <= {"ok", *words["outcomes"]}
    assert {name for result in results for name in result.anomalies} <= set(words["anomalies"])
    assert {record[1] for shown in documents for record in shown["records"]} <= set(words["kinds"])
    assert gates <= set(words["gates"])


def test_from_a_page_the_same_page_is_written_without_a_service(tmp_path: Path) -> None:
    exported = CliRunner().invoke(command, ["--export", str(tmp_path / "again.html"), "--from", str(PAGE)])
    assert exported.exit_code == 0, exported.output
    assert (tmp_path / "again.html").read_bytes() == PAGE.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["again.html"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--export", "game.html", "--guard", "file"], "--guard is decided by the levels"),
        (["--export", "game.html", "--worker", "gthread"], "--worker is decided by the levels"),
        (["--serve", "--replay", "1.json.none.2x1.vp.ABBA"], "--replay is decided by the levels"),
        (["--export", "game.html", "--levels", "last-seat,nothing"], "there is no level 'nothing'"),
        (["--export", "game.html", "--from", __file__], "it is no page that"),
    ],
)
def test_what_does_not_fit_the_game_is_said_and_nothing_is_written(
    arguments: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    refused = CliRunner().invoke(command, arguments)
    assert refused.exit_code != 0
    assert says in refused.output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.servers
def test_ctrl_c_leaves_the_old_page_and_no_half_one(tmp_path: Path) -> None:
    page = tmp_path / "game.html"
    page.write_text("the page before", encoding="utf-8")
    program = [sys.executable, "-c", "from loadtests.lab.cli import main; main()", "explore", "--export", str(page)]
    with subprocess.Popen(program, stderr=subprocess.PIPE, text=True) as exporting:
        assert exporting.stderr is not None
        assert "runs on the real service" in exporting.stderr.readline()
        assert "last-seat: " in exporting.stderr.readline()
        exporting.send_signal(signal.SIGINT)
        assert exporting.wait(60) != 0
    assert [(path.name, path.read_text(encoding="utf-8")) for path in tmp_path.iterdir()] == [
        ("game.html", "the page before")
    ]


def test_levels_are_named_in_the_order_of_the_game() -> None:
    assert list(named(["fenced", "last-seat"])) == ["last-seat", "fenced"]
