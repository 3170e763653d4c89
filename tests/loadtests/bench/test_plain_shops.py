"""The shops in ``examples/plain`` sell exactly, or a benchmark would hold the office against what does less."""

from __future__ import annotations

from pathlib import Path

import pytest
import servers

from loadtests.lab.bench.cells import PLAIN, BenchCell
from loadtests.lab.bench.load_client import Load, LoadGenerator
from loadtests.lab.bench.servers import PlainSubject, WrongAnswer
from loadtests.lab.paths import EXAMPLES

pytestmark = pytest.mark.servers

WITHOUT = {
    "file_lock": ('lock = FileLock("shop.lock")', "import contextlib\nlock = contextlib.nullcontext()"),
    "sqlite": ('"BEGIN IMMEDIATE"', '"SELECT 1"'),
    "postgres_row": (" FOR UPDATE", ""),
    "postgres_statement": (" AND sold + %s <= capacity", " AND %s > 0"),
    "redis_script": ("if remaining < 0 then return {} end", ""),
}
"""What makes each program exact, and the same without it."""
CAPACITY, CLIENTS = 100, 32


def shop(program: str, worker: str, folder: Path) -> PlainSubject:
    address = ""
    if program.startswith("postgres"):
        address = servers.server("postgres").fresh_database()
    elif program.startswith("redis"):
        address = servers.server("redis").url
    return PlainSubject(BenchCell(worker, PLAIN, program), folder / "shop", address)


def sell(running: PlainSubject, generator: LoadGenerator) -> tuple[dict[int, int], int]:
    """What three times as many buyers as there are tickets were told, and how many sales were kept."""
    path = running.fresh(CAPACITY)
    window = generator.window(Load(port=running.port, path=path, clients=CLIENTS, count=3 * CAPACITY))
    return window.told, running.kept(path)


def test_every_plain_shop_is_tried() -> None:
    assert {path.stem for path in (EXAMPLES / "plain").glob("*.py")} == set(WITHOUT)


@pytest.mark.parametrize("program", WITHOUT)
def test_without_what_excludes_a_plain_shop_sells_a_ticket_that_is_not_there_or_forgets_one(
    program: str, tmp_path: Path
) -> None:
    text = (EXAMPLES / "plain" / f"{program}.py").read_text()
    exact, careless = WITHOUT[program]
    assert exact in text
    (tmp_path / f"{program}.py").write_text(text.replace(exact, careless))
    running = shop(program, "sync", tmp_path)
    running.programs = tmp_path
    with running, LoadGenerator(tmp_path) as generator:
        for _ in range(30):
            try:
                told, kept = sell(running, generator)
            except WrongAnswer:  # two wrote the file at once, and it cannot be read any more
                return
            if told[201] > CAPACITY or kept < told[201]:
                return
    pytest.fail("no sale too many was seen")


@pytest.mark.parametrize("worker", ["sync", "gthread", "gevent"])
@pytest.mark.parametrize("program", WITHOUT)
def test_a_plain_shop_sells_every_ticket_once(program: str, worker: str, tmp_path: Path) -> None:
    with shop(program, worker, tmp_path) as running, LoadGenerator(tmp_path) as generator:
        assert sell(running, generator) == ({201: CAPACITY, 409: 2 * CAPACITY}, CAPACITY)
