"""What all tests share: an office in this process, and a real one under gunicorn."""

from __future__ import annotations

import gc
import logging
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import memory
import pytest
import servers
from flask.testing import FlaskClient
from hypothesis import settings as hypothesis_settings
from playwright.sync_api import Browser, sync_playwright
from werkzeug.routing import Rule

from loadtests.lab.servers.engines import ENGINES
from loadtests.lab.servers.office import RunningOffice, Service
from service.app import create_app
from service.settings import Settings

# How long an example takes says something about the machine and nothing about the code.
hypothesis_settings.register_profile("lastseat", deadline=None, print_blob=True)
hypothesis_settings.load_profile("lastseat")

TOKEN = "test-token"

# In the background of a script SIGINT is ignored, by what is started here too; the tests of Ctrl-C need it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

_compile_builder = Rule._compile_builder
_builders: dict[tuple[object, ...], Callable[..., Any]] = {}


def _compile_builder_once(rule: Rule, append_unknown: bool = True) -> Callable[..., Any]:
    """What werkzeug compiles of a rule's text, once for all offices of this process: half of the time to make one."""
    if rule.defaults:  # the function then depends on more than the text
        return _compile_builder(rule, append_unknown)
    key = (rule.rule, append_unknown, *rule._trace)
    if key not in _builders:
        _builders[key] = _compile_builder(rule, append_unknown)
    return _builders[key]


Rule._compile_builder = _compile_builder_once


# Of a run with several processes: what takes longest comes first, so that they end together.
LONGEST_FILES = (
    "test_pairs.py",
    "test_cart_killed.py", "test_nodes.py", "test_clock_faults.py", "test_engine_faults.py", "test_process_faults.py",
    "test_power_faults.py", "test_disk_faults.py",
    "test_hold_killed.py", "test_mixed.py", "test_fault_pause.py",
    "test_installed.py", "test_bench.py", "test_run_nodes.py", "test_buy.py", "test_workers_of_valkey_killed.py",
    "test_worker_killed.py", "test_compare.py", "test_footprint.py", "test_power_cut.py", "test_containers.py",
    "test_demo.py", "test_openapi.py", "test_lesson_worker_classes.py", "test_lesson_html.py",
    "test_every_interleaving.py", "test_exercises_wrong.py", "test_exercises.py",
    "test_locust_files.py", "test_postgres_faults.py", "test_scale_out.py", "test_clerk.py", "test_seats_workload.py",
    "test_workloads.py", "test_one_host.py", "test_backup.py",
    "test_power.py", "test_run.py", "test_office_page.py", "test_explore.py", "test_explore_leases.py",
    "test_explore_planted_bugs.py", "test_killed_at_gates.py", "test_hoard.py",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first. A case of an engine's store needs its server, and is not of the fast part."""
    places = {name: place for place, name in enumerate(LONGEST_FILES)}
    items.sort(key=lambda item: places.get(item.path.name, len(places)))
    for item in items:
        cases = getattr(item, "callspec", None)
        values = list(cases.params.values()) if cases else []
        values += [each for value in values if isinstance(value, tuple) for each in value]
        if {str(getattr(value, "store", value)) for value in values} & set(ENGINES):
            item.add_marker("servers")


def pytest_collection_finish() -> None:
    """Thousands of tests are objects that last: no collection of garbage looks at them, and no child copies them."""
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def engines() -> Iterator[None]:
    """Engines that were started for tests end with the session."""
    with servers.ended_at_the_end():
        yield


@pytest.fixture(autouse=True)
def fresh_log() -> None:
    """The service's log as before any office was made in this process; an office writes it by itself, blotted."""
    logger = logging.getLogger("lastseat")
    logger.handlers, logger.propagate = [], True


@pytest.fixture
def tmp_path(request: pytest.FixtureRequest) -> Iterator[Path]:
    """In memory for a test that starts nothing; pytest's own for the others, which are to wait for a real disk."""
    if request.node.get_closest_marker("servers") or request.node.get_closest_marker("browser"):
        yield request.getfixturevalue("tmp_path")
        return
    with memory.folder() as made:
        yield made


@pytest.fixture
def make_client(tmp_path: Path) -> Iterator[Callable[..., FlaskClient]]:
    """An office in this process with the given settings, as a client of its HTTP interface; closed at the end."""
    made: list[FlaskClient] = []

    def make(**settings: Any) -> FlaskClient:
        given: dict[str, Any] = {"data": tmp_path / "data", "admin_token": TOKEN, "first_event": ("show", 10)}
        given |= settings
        if "store_url" not in given:
            given["store_url"] = servers.address_of(given.get("store", ""), given["data"])
        made.append(create_app(Settings(**given)).test_client())
        return made[-1]

    yield make
    for each in made:
        each.application.extensions["office"].store.close()


@pytest.fixture
def client(make_client: Callable[..., FlaskClient]) -> FlaskClient:
    """An office on the JSON store with the lab event ``show`` of ten tickets."""
    return make_client()


@pytest.fixture
def admin() -> dict[str, str]:
    return {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., RunningOffice]]:
    """Start real gunicorns, each with its own data directory and free port; all are stopped at the end."""
    with ExitStack() as running:
        count = 0

        def start(**service: Any) -> RunningOffice:
            nonlocal count
            count += 1
            return running.enter_context(RunningOffice(Service(**service), tmp_path / f"office-{count}"))

        yield start


CANDIDATES = (os.environ.get("CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """The Chromium that the machine has."""
    path = next((found for name in CANDIDATES if name and (found := shutil.which(name))), None)
    if path is None:
        pytest.fail("no Chromium on PATH: `sudo apt-get install chromium`, or set CHROMIUM to its path")
    return path


@pytest.fixture(scope="module")
def browser(chromium_path: str) -> Iterator[Browser]:
    """A real Chromium; for a module, since Playwright keeps the thread's event loop."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=chromium_path,
            args=["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"],
        )
        yield chromium
        chromium.close()


_UMASK = os.umask(0o022)
os.umask(_UMASK)


@pytest.fixture(autouse=True)
def files_are_made_as_anywhere() -> Iterator[None]:
    """An office that a test opens in this process keeps its files to its user; those of the next test are for all."""
    os.umask(_UMASK)
    yield
    os.umask(_UMASK)
