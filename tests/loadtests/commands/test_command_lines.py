"""What is typed: addresses without a scheme, places that cannot be written, and the examples of every ``--help``."""

from __future__ import annotations

import itertools
import json
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from loadtests.lab.cli import VERBS, lastseat
from loadtests.lab.commands.places import ADDRESS
from loadtests.lab.report.text import found
from loadtests.lab.servers.office import RunningOffice, Service
from tests.loadtests.commands.test_demo import lastseat as typed
from tests.loadtests.commands.test_output import HISTORIES, ROOT, VALID

TO_BE_WRITTEN = ("--results", "--html", "--junit", "--markdown", "--output", "--picture", "--export")
HAS_ITS_OWN_MESSAGE = ("target new",)
"""It never writes over a file, so it opens the file itself."""


def commands(group: click.Group, name: str = "") -> Iterator[tuple[str, click.Command]]:
    """Every verb and every verb under it, with its whole name."""
    for each in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), each)
        assert command is not None
        yield f"{name}{each}", command
        if isinstance(command, click.Group):
            yield from commands(command, f"{name}{each} ")


EVERY = dict(commands(lastseat))
WRITING = [
    (name, option.opts[0])
    for name, command in EVERY.items()
    for option in command.params
    if set(option.opts) & set(TO_BE_WRITTEN) and name not in HAS_ITS_OWN_MESSAGE
]


def test_every_verb_that_writes_results_or_a_page_is_looked_at() -> None:
    assert {"demo", "run", "explore", "compare", "bench", "saturate", "record"} <= {name for name, _ in WRITING}
    assert {"lesson gil", "lesson all", "import csv", "import jepsen"} & {name for name, _ in WRITING}


@pytest.mark.parametrize(("name", "option"), WRITING, ids=str)
def test_a_place_that_cannot_be_written_is_wrong_usage_before_anything_is_started(
    name: str, option: str, tmp_path: Path
) -> None:
    command = EVERY[name]
    [kind] = [each.type for each in command.params if option in each.opts]
    (tmp_path / "file").touch()
    for place in (tmp_path / "file" / "below", Path("/proc/nothing/is/made/here")):
        with pytest.raises(click.BadParameter, match=r"cannot be written: .*Nothing was started") as refused:
            kind.convert(str(place), None, click.Context(command))
        assert isinstance(refused.value, click.UsageError)  # 64
    kind.convert(str(tmp_path / "new"), None, click.Context(command))  # the negative control
    assert sorted(each.name for each in tmp_path.iterdir()) == ["file"]


@pytest.mark.servers
@pytest.mark.parametrize(
    "line", ["run --results file/results", "demo --results file/results", "lesson event --html file/page.html"]
)
def test_its_exit_status_is_64_and_no_traceback(line: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = typed(tmp_path, *line.split())
    assert (done.returncode, done.stdout) == (64, "")
    assert "cannot be written: Not a directory" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_address_without_a_scheme_is_one_with_http() -> None:
    for given, meant in {
        "127.0.0.1:8123": "http://127.0.0.1:8123",
        "localhost:8000/": "http://localhost:8000/",
        "[::1]:8000": "http://[::1]:8000",
        "https://a.example": "https://a.example",
    }.items():
        assert ADDRESS.convert(given, None, None) == meant


@pytest.mark.servers
def test_every_verb_that_takes_an_address_takes_one_without_a_scheme(tmp_path: Path) -> None:
    with RunningOffice(Service(processes=1), tmp_path / "office") as office:
        place = office.url.removeprefix("http://")
        status = typed(tmp_path, "lock", "status", "--url", place)
        assert status.returncode == 0, status.stderr
        begun = typed(tmp_path, "target", "new", place)
    assert begun.returncode == 0, begun.stderr
    assert office.url in begun.stdout


def examples() -> list[str]:
    """The command lines in the help of every verb, as they stand."""
    lines = []
    for command in [lastseat, *EVERY.values()]:
        typed_there = [line.strip() for line in f"{command.help}\n{command.epilog}".splitlines()]
        lines += [re.split(r"\s{2,}", line)[0] for line in typed_there if line.startswith("lastseat ")]
        lines += re.findall(r"`(lastseat [^`]+)`", command.epilog or "")
    return list(dict.fromkeys(lines))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with all the files that examples name."""
    monkeypatch.chdir(tmp_path)
    for number, history in enumerate([VALID, next(HISTORIES.glob("invalid/oversold.*"))]):
        shutil.copytree(history, tmp_path / "results" / "demo" / "2026" / "cells" / f"cell-{number}")
    (tmp_path / "results" / "demo" / "latest").symlink_to("2026")
    for name in ("run", "record"):
        (tmp_path / "results" / name / "latest").mkdir(parents=True)
    (tmp_path / "data").mkdir()
    (tmp_path / "results" / "run" / "latest" / "experiment.json").write_text("{}")
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    (tmp_path / "store" / "latest").mkdir(parents=True)
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    for name in [
        "sale.toml",
        "shop.toml",
        "map.toml",
        "results.jtl",
        "history.jsonl",
        "history.jsonl.gz",
        "audit.jsonl",
    ]:
        (tmp_path / name).touch()
    (tmp_path / "store" / "latest" / "history.edn").touch()
    return tmp_path


def test_there_are_examples() -> None:
    assert len(examples()) > 50
    assert {each.split()[1] for each in examples()} >= set(VERBS) - {"where"}


@pytest.mark.parametrize("line", examples())
def test_an_example_is_understood_as_it_stands(line: str, folder: Path) -> None:
    """Typed in a folder that has the files it names. What it starts is tried by the tests of its verb."""
    words = shlex.split(line.replace("$(lastseat where examples)", "examples"))
    arguments = list(itertools.takewhile(lambda word: word not in ("|", ">"), words))[1:]
    command, context = lastseat, click.Context(lastseat)
    while isinstance(command, click.Group) and arguments and not arguments[0].startswith("-"):
        found = command.get_command(context, arguments[0])
        assert found is not None, f"{line}: there is no {arguments[0]}"
        command, arguments = found, arguments[1:]  # type: ignore[assignment]
    with command.make_context(command.name, arguments, parent=context):
        pass


def test_a_line_that_is_not_understood_would_be_noticed(folder: Path) -> None:
    """The negative control."""
    with pytest.raises(click.UsageError):
        EVERY["check"].make_context("check", ["results/demo/latest", "--no-such-option"])


@pytest.mark.servers
def test_a_folder_of_several_cells_is_judged_cell_by_cell(folder: Path) -> None:
    done = typed(folder, "check", "results/demo/latest")
    assert done.returncode == 1, done.stderr
    assert re.search("cell-0\nVALID .*cell-1\nINVALID .*INVALID 1 valid, 1 invalid of 2 cells", done.stdout, re.DOTALL)
    as_json = json.loads(typed(folder, "check", "results/demo/latest", "--json").stdout)
    assert (as_json["verdict"], as_json["why"]) == ("invalid", "1 valid, 1 invalid of 2 cells")
    assert {name: cell["verdict"] for name, cell in as_json["cells"].items()} == {
        "cell-0": "valid",
        "cell-1": "invalid",
    }


def test_where_lost_sales_are_not_all_orders_the_difference_is_said() -> None:
    from loadtests.lab.checks.files import judge_folder

    order = judge_folder(HISTORIES / "invalid" / "lost_sale.the_last_record")
    assert (order.lost, [each for each in found(order) if "lost sale 1 (" in each]) == (1, [])
    cancellation = judge_folder(HISTORIES / "invalid" / "lost_sale.a_cancellation")
    assert cancellation.lost == 0
    assert any("lost sale 1 (0 orders, and 1 cancelled, held or released)" in each for each in found(cancellation))
