"""The project installed from its wheel, with no checkout in sight: what a user may type works in any folder."""

from __future__ import annotations

import os
import subprocess
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from typed import Typed, environment, free_port, wait_for
from wheels import PACKAGES, ROOT, installed, wheel

from loadtests.lab.servers import process

pytestmark = pytest.mark.servers
__all__ = ["installed", "wheel"]

Type = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def typed(installed: Path, tmp_path: Path) -> Type:
    """Type a command in an empty folder."""
    folder = tmp_path / "empty"
    folder.mkdir()

    def run(command: str) -> subprocess.CompletedProcess[str]:
        kept = environment(tmp_path, {"PATH": f"{installed}:{os.environ['PATH']}"})
        del kept["LASTSEAT_ADMIN_TOKEN"]
        return subprocess.run(
            ["bash", "-c", command], cwd=folder, env=kept, capture_output=True, text=True, check=False, timeout=170
        )

    return run


def test_every_file_of_the_packages_is_installed_and_no_test_is(installed: Path, typed: Type) -> None:
    [site] = installed.parent.glob("lib/python*/site-packages")
    there = [*(ROOT / "examples").rglob("*"), *(path for each in PACKAGES for path in (ROOT / each).rglob("*"))]
    files = [path for path in there if path.is_file() and "__pycache__" not in path.parts]
    # examples/ is installed below loadtests/, where a link to it stands.
    names = {str(path.relative_to(ROOT)) for path in files}
    names = {f"loadtests/{name}" if name.startswith("examples/") else name for name in names}
    assert {name for name in names if not (site / name).is_file()} == set()
    said = typed("python -c 'import service, workers, loadtests; print(service.__file__, workers.__file__)'").stdout
    assert said.split() == [str(site / "service/__init__.py"), str(site / "workers/__init__.py")]
    assert "No module named 'tests'" in typed("python -c 'import tests'").stderr


TINY_BENCH = "--worker gthread --clients 4 --pairs 1 --seconds 0.3"
TYPED: dict[str, tuple[str, int, str]] = {
    "demo": ("lastseat demo --worker gevent --rounds 1 --capacity 50", 0, "sale to the last seat"),
    "run, check": (
        "lastseat run --guard none --think 5 >log 2>&1; test $? = 1 && lastseat check results/run/latest", 1, "invalid",
    ),
    "target": ('lastseat run --target "$(lastseat where examples)/last_seat.toml"', 0, "valid"),
    "explore": ("lastseat explore", 0, "none"),
    "lesson": (
        "lastseat lesson semaphore --html page.html --lang zh && grep -q 停车场 page.html && test -s page-answers.html",
        0, "这个说法在这里成立",
    ),
    "exercise": (
        "lastseat exercise start check_then_act && lastseat exercise check check_then_act", 1, "This one loses",
    ),
    # Whether its claim holds is a matter of speed, and not asserted here.
    "lesson with an office": (
        "lastseat lesson worker-classes --purchases 1 --think-ms 5 --json || true", 0, '"measured": {',
    ),
    "compare": (
        "lastseat compare --store json --guard file --worker gevent --processes 2 --think none --buyers 8"
        " --seconds 0.2 --repeats 1", 0, "json",
    ),
    "bench": (f"lastseat bench --plain --store sqlite {TINY_BENCH}", 0, "sqlite + immediate"),
    "bench without HTTP": ("lastseat bench --only in-process --store json --seconds 0.05", 0, "json"),
    "the list of places": ("lastseat where && ls $(lastseat where | cut -c11-)", 0, "corner_shop.toml"),
}  # fmt: skip


@pytest.mark.parametrize("name", TYPED)
def test_what_is_typed_in_an_empty_folder_does_what_it_does_in_the_checkout(name: str, typed: Type) -> None:
    command, status, says = TYPED[name]
    done = typed(command)
    assert done.returncode == status, f"{done.stdout}\n{done.stderr}"
    assert says in done.stdout


@pytest.mark.parametrize("arguments", ["-k gevent service:app", "-c python:workers.gunicorn_conf service:app"])
def test_gunicorn_sells_and_buyers_are_sent_from_the_printed_path(
    arguments: str, installed: Path, typed: Type, tmp_path: Path
) -> None:
    with Typed(arguments, tmp_path / "office", program=(str(installed / "gunicorn"),)) as server:
        assert server.buy().json["tickets"] == [1]
        where = f"-H http://127.0.0.1:{server.port} --admin-token test-token"
        done = typed(f'locust -f "$(lastseat where buy)" --headless -u 4 --capacity 20 {where}')
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        assert "valid: no violation found" in done.stdout
        assert len(server.workers()) == (4 if "python:" in arguments else 1)


@pytest.mark.parametrize("verb", ["serve", "explore --serve"])
def test_what_serves_shows_its_page(verb: str, installed: Path, tmp_path: Path) -> None:
    port = free_port()
    folder = tmp_path / "empty"
    folder.mkdir()
    server = process.start(
        [str(installed / "lastseat"), *verb.split(), "--port", str(port)],
        log=tmp_path / "log",
        environment=environment(tmp_path, {"PATH": f"{installed}:{os.environ['PATH']}"}),
        directory=folder,
    )

    def page() -> bytes:
        assert server.poll() is None, (tmp_path / "log").read_text()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
                return bytes(answer.read())
        except OSError:
            return b""

    try:
        assert b"</html>" in wait_for(page, "the page")
    finally:
        process.end(server, grace_s=15)
