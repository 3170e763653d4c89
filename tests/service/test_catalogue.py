"""The catalogue says of stores and guards what their classes can do."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest

from loadtests.lab.paths import PACKAGES
from loadtests.lab.servers.engines import ENGINES
from service.catalogue import GUARDS, GUARDS_OF, STORES
from service.guards import guard_class
from service.stores import SharesSwitch, Store, store_class
from service.stores.base import CommitsAtomically, ComparesAndSets, GrantsLeases, Transactional

LAB = PACKAGES / "loadtests" / "lab"
# What a guard calls, and so what each store that it fits must offer.
CALLS: dict[str, type] = {
    "none": Store,
    "thread": Store,
    "immediate": Transactional,
    "row": Transactional,
    "table": Transactional,
    "advisory": Transactional,
    "serializable": Transactional,
    "optimistic": ComparesAndSets,
    "atomic": CommitsAtomically,
    "lease": GrantsLeases,
    "fenced": GrantsLeases,
}
# Their lock is said in an engine's own words.
OF_ENGINE = {
    "immediate": "sqlite",
    "row": "postgres",
    "table": "postgres",
    "advisory": "postgres",
    "serializable": "postgres",
}
# They call nothing of a store, and fit those whose files are in the data directory with the locks.
OF_FILES = {"file", "leaky"}


def test_every_entry_is_a_class_that_knows_its_name() -> None:
    assert [store_class(name).name for name in STORES] == list(STORES)
    assert [guard_class(name).name for name in GUARDS] == list(GUARDS)


@pytest.mark.parametrize("guard", GUARDS)
def test_a_guard_fits_those_stores_that_offer_what_it_calls(guard: str) -> None:
    fit = {store for store in STORES if guard in GUARDS_OF[store]}
    if guard in OF_FILES:
        assert fit == {"json", "journal"}
    else:
        able = {store for store in STORES if issubclass(store_class(store), CALLS[guard])}
        assert fit == (able & {OF_ENGINE[guard]} if guard in OF_ENGINE else able)


def test_a_store_that_has_addresses_is_one_of_an_engine_that_the_lab_can_start() -> None:
    with_addresses = {name for name, store in STORES.items() if store.schemes}
    assert with_addresses == {name for name in STORES if issubclass(store_class(name), SharesSwitch)} == set(ENGINES)
    assert all(store.example.partition("://")[0] in store.schemes for store in STORES.values() if store.schemes)


def test_what_on_stands_for_fits_the_store_and_holds_there() -> None:
    for name, store in STORES.items():
        assert store.safe_guard in GUARDS_OF[name]
        assert guard_class(store.safe_guard).safe(store.scope, 1 if store.scope == "process" else 4)


def test_the_catalogue_imports_nothing_of_ours() -> None:
    program = "import sys, service.catalogue; print(*(name for name in sys.modules if 'service' in name))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["service", "service.catalogue"]


NAMES_OF_GUARDS = {"leaky", "optimistic", "atomic", "lease", "fenced", "advisory", "serializable"}
NAMES_OF_STORES = {"journal", "sqlite", "postgres", "redis"}
"""Names that are everyday words, as ``file`` and ``json``, are not looked for."""
START_ENGINES = {
    "servers/engines.py",
    "servers/postgres.py",
    "faults/engine/full_engine.py",
    "faults/engine/failover.py",
}
MEASURE_ONE_STORE = {"studies/cost_breakdown.py", "studies/limits.py", "studies/line_fairness.py"}
A_VERB = {"cli.py"}


def modules_that_name(names: set[str]) -> set[str]:
    return {
        str(file.relative_to(LAB))
        for file in LAB.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and node.value in names
    }


def test_the_lab_asks_the_catalogue_and_knows_no_guard_by_name() -> None:
    """The pairs that a benchmark measures are traits, too."""
    assert modules_that_name(NAMES_OF_GUARDS) == set()


def test_the_lab_names_stores_only_where_it_starts_an_engine_or_studies_one_store() -> None:
    found = modules_that_name(NAMES_OF_STORES)
    assert "servers/engines.py" in found
    assert found - START_ENGINES - MEASURE_ONE_STORE - A_VERB == set()
