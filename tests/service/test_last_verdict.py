"""The page's look at what the lab left: whatever lies there, the page comes, and shows the newest that can be read."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from service.http.page import last_verdict

GOOD = b'{"verdict":"invalid","operations":7,"checks":[]}'


def left(results: Path, experiment: str | bytes, age: int) -> Path:
    name = os.fsdecode(experiment)
    (results / name / "run").mkdir(parents=True)
    (results / name / "latest").symlink_to("run")
    path = results / name / "run" / "verdict.json"
    path.write_bytes(GOOD)
    os.utime(path, (1e9 - age, 1e9 - age))
    return path


def put(path: Path, what: str) -> None:
    path.unlink()
    match what:
        case "a pipe":
            os.mkfifo(path)
        case "a folder":
            path.mkdir()
        case "a device":
            path.symlink_to("/dev/zero")
        case "a link to itself":
            path.symlink_to(path.name)
        case "too large":
            with path.open("wb") as file:
                file.truncate(5 << 20)
        case "no UTF-8":
            path.write_bytes(b'{"verdict":"\xff"}')
        case "deep":
            path.write_bytes(b'{"x":' + b"[" * 10_000 + b"]" * 10_000 + b"}")
    if what not in {"a device", "a link to itself"}:
        os.utime(path, (2e9, 2e9))


KINDS = [
    "a pipe", "a folder", "a device", "a link to itself", "too large", "no UTF-8", "deep"
]  # fmt: skip


@pytest.mark.parametrize("what", KINDS)
def test_what_is_no_verdict_is_passed_over(make_client: Callable[..., FlaskClient], tmp_path: Path, what: str) -> None:
    client = make_client()
    results = tmp_path / "results"
    client.application.extensions["results"] = results
    left(results, "good", 100)
    put(left(results, "bad", 0), what)
    found = last_verdict(results)
    assert found is not None
    assert (found.verdict, found.experiment) == ("invalid", "good")
    assert client.get("/").status_code == 200


def test_a_folder_whose_name_is_no_utf_8_is_shown(make_client: Callable[..., FlaskClient], tmp_path: Path) -> None:
    client = make_client()
    results = tmp_path / "results"
    client.application.extensions["results"] = results
    left(results, b"caf\xe9", 0)
    answer = client.get("/")
    assert answer.status_code == 200
    assert "caf�" in answer.text
