"""The server of ``lastseat explore --serve``: nobody but its own page on this machine is let in."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from typing import Any, cast

import pytest

from loadtests.lab.explore.game.server import COOKIE, _server
from loadtests.lab.explore.game.session import Session, Sessions

MOVES = b'{"level":"last-seat","moves":["A","B"]}'


class Played:
    """Counts what a game would have been asked."""

    def __init__(self) -> None:
        self.moves: list[tuple[str, list[str]]] = []
        self.players: list[str] = []

    def of(self, player: str) -> Session:
        self.players.append(player)
        return cast(Session, self)

    def play(self, level: str, moves: list[str]) -> dict[str, Any]:
        if level != "last-seat":
            raise KeyError(level)
        self.moves.append((level, moves))
        return {}


@pytest.fixture
def game() -> Iterator[tuple[Played, int]]:
    played = Played()
    with _server(cast(Sessions, played), "the page", 0) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        assert server.server_address[0] == "127.0.0.1"
        yield played, int(server.server_address[1])
        server.shutdown()


def send(port: int, method: str, path: str, body: bytes = b"", **headers: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request(method, path, body or None, {name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer


def test_its_own_page_plays_and_a_script_too(game: tuple[Played, int]) -> None:
    played, port = game
    ours = {"Origin": f"http://127.0.0.1:{port}", "Sec_Fetch_Site": "same-origin"}
    assert send(port, "POST", "/play", MOVES, Content_Type="application/json", **ours).status == 200
    assert send(port, "POST", "/play", MOVES, Content_Type="application/json").status == 200
    assert send(port, "GET", "/", Host=f"localhost:{port}").status == 200
    assert played.moves == [("last-seat", ["A", "B"])] * 2


def test_a_browser_is_told_apart_by_a_cookie_that_no_script_and_no_other_site_reads(
    game: tuple[Played, int],
) -> None:
    played, port = game
    first, second = (send(port, "GET", "/").headers["Set-Cookie"] for _ in range(2))
    assert first.endswith("; HttpOnly; Path=/; SameSite=Strict")
    assert first != second
    for cookie in (first, second, first):
        send(port, "POST", "/play", MOVES, Content_Type="application/json", Cookie=cookie.partition(";")[0])
    a, b, again = played.players
    assert (a == again, a == b, f"{COOKIE}={a}" in first) == (True, False, True)
    assert send(port, "GET", "/", Cookie=first.partition(";")[0]).headers["Set-Cookie"] is None


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
    ],
)
def test_another_sites_page_makes_no_move(game: tuple[Played, int], headers: dict[str, str]) -> None:
    played, port = game
    answer = send(port, "POST", "/play", MOVES, Content_Type="application/json", **headers)
    assert answer.status in {403, 421}
    assert played.moves == []


@pytest.mark.parametrize("path", ["/", "/alive", "/nothing"])
def test_a_rebound_name_reads_nothing_and_no_site_frames_it(game: tuple[Played, int], path: str) -> None:
    _, port = game
    assert send(port, "GET", path, Host=f"evil.example:{port}").status == 421
    answer = send(port, "GET", path)
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    "body",
    [
        b"[",
        b"[]",
        b"[" * 900,
        b'{"level":"last-seat","moves":7}',
        b'{"level":"last-seat","moves":["\xff"]}',
        b'{"level":"of another game","moves":[]}',
        json.dumps({"level": "last-seat", "moves": ["A"] * 100}).encode(),
        b"7",
    ],
)
def test_what_is_no_move_is_answered_and_ends_nothing(game: tuple[Played, int], body: bytes) -> None:
    played, port = game
    assert send(port, "POST", "/play", body, Content_Type="application/json").status in {400, 422}
    for length in ("-1", "many", "9" * 5000, "²"):
        headers = {"Content-Type": "application/json", "Content-Length": length}
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.request("POST", "/play", None, headers)
        assert connection.getresponse().status == 415
        connection.close()
    assert played.moves == []
