"""The shops in ``examples/`` that a target file describes: right as they are, wrong by one word."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, jsonify, request

from loadtests.lab.target.file import read_target
from tests.loadtests.target.stranger import served

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
LASTSEAT = [sys.executable, "-c", "from loadtests.lab.cli import main; main()"]
SHOPS = {"member_shop": 50, "seat_shop": 50, "queue_shop": 50, "graphql_shop": 100}


def judged(shop: str, folder: Path, *, env: str = "", wrong: bool = False) -> dict[str, Any]:
    """The verdict on a shop, with what its environment is to have beside."""
    for path in EXAMPLES.glob("*_shop.*"):
        shutil.copy(path, folder)
    path = folder / f"{shop}.toml"
    text = path.read_text()
    assert 'SHOP = "right"' in text
    path.write_text(text.replace('SHOP = "right"', f'SHOP = "{"wrong" if wrong else "right"}"{env}'))
    return run(path.name, folder)


def run(file: str, folder: Path) -> dict[str, Any]:
    """The verdict of ``lastseat run`` on a target file."""
    done = subprocess.run(
        [*LASTSEAT, "run", "--target", file, "--limit", "30", "--json"],
        cwd=folder, capture_output=True, text=True, timeout=150, check=False,
    )  # fmt: skip
    assert done.stdout, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == {"valid": 0, "invalid": 1, "unknown": 2}[said["verdict"]]
    return said


@pytest.mark.parametrize("shop", SHOPS)
def test_its_file_is_right(shop: str) -> None:
    assert read_target(EXAMPLES / f"{shop}.toml").capacity == SHOPS[shop]


@pytest.mark.servers
@pytest.mark.parametrize("shop", SHOPS)
def test_without_its_lock_it_is_caught(shop: str, tmp_path: Path) -> None:
    said = judged(shop, tmp_path, wrong=True)
    assert said["verdict"] == "invalid", said["why"]
    assert ("seat sold twice" if shop == "seat_shop" else "oversold") in said["why"]


@pytest.mark.servers
@pytest.mark.parametrize("shop", SHOPS)
def test_with_its_lock_no_violation_is_found_and_everything_is_sold(shop: str, tmp_path: Path) -> None:
    said = judged(shop, tmp_path)
    assert (said["verdict"], said["oversold"]) == ("valid", 0), said["why"]
    assert said["acknowledged"] == SHOPS[shop]
    assert said["lost"] == (0 if shop == "seat_shop" else None)
    record = (Path(said["folder"]) / "experiment.json").read_text()
    assert "open-sesame" not in record
    assert "YWRtaW46b3Blbi1zZXNhbWU=" not in record
    report = Path(said["report"]).read_text()
    assert [word for word in ("Worker processes", "guard", "think", "open-sesame") if word in report] == []


def remembering(tickets: int) -> Flask:
    """Sells what there is, and repeats its answer to a key that it knows; the set-up forgets the sales, no key."""
    app, lock = Flask(__name__), threading.Lock()
    answers: dict[str, tuple[dict[str, int], int]] = {}
    left = [0]

    @app.post("/reset")
    def reset() -> Any:
        left[0] = tickets
        return "", 204

    @app.post("/buy")
    def buy() -> Any:
        with lock:
            key = request.headers["Idempotency-Key"]
            if key not in answers:
                left[0] -= left[0] > 0
                answers[key] = ({"left": left[0]}, 201) if left[0] else ({"left": 0}, 409)
            body, status = answers[key]
            return jsonify(body), status

    return app


@pytest.mark.servers
def test_a_service_that_remembers_keys_is_judged_alike_in_every_run(tmp_path: Path) -> None:
    with served(remembering(41)) as url:
        (tmp_path / "shop.toml").write_text(
            f'capacity = 40\nurl = "{url}"\n[setup]\npath = "/reset"\n[buy]\npath = "/buy"\n'
            'headers = { Idempotency-Key = "{key}" }\nsold_out = { status = 409 }\n'
        )
        for _ in range(2):
            said = run("shop.toml", tmp_path)
            assert (said["verdict"], said["acknowledged"]) == ("valid", 40), said["why"]


@pytest.mark.servers
def test_seats_that_were_given_back_after_a_refused_payment_are_sold_again(tmp_path: Path) -> None:
    said = judged("seat_shop", tmp_path, env=', CARDS = "some refused"')
    assert (said["verdict"], said["oversold"], said["double_booked"], said["lost"]) == ("unknown", 0, 0, 0), said["why"]
    assert '"op":"release"' in (Path(said["folder"]) / "history.jsonl").read_text()
