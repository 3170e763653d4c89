"""What the office keeps is its own user's alone, whatever the umask: a stranger can neither lock nor read any of it."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from typed import Typed

NOBODY = 65_534
OPEN_TO_ALL = ("sh", "-c", 'umask 0; exec "$@"', "sh")
TOUCH = """
for path; do
    flock --exclusive --nonblock "$path" true 2>/dev/null && echo "locked $path"
    { cat "$path" || ls "$path/"; } >/dev/null 2>&1 && echo "read $path"
done
exit 0
"""

pytestmark = pytest.mark.servers
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")


@pytest.fixture
def reachable() -> Iterator[Path]:
    """A directory that everybody can enter; pytest's own are closed."""
    folder = Path(tempfile.mkdtemp(prefix="lastseat-private-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def everything_in(folder: Path) -> list[Path]:
    return [folder, *sorted(folder.rglob("*"))]


def touched_by_a_stranger(paths: list[Path]) -> str:
    """What another user could lock or read of it."""
    done = subprocess.run(
        ["sh", "-c", TOUCH, "sh", *map(str, paths)],
        user=NOBODY, group=NOBODY, extra_groups=[], cwd="/", capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout


def trade(office: Typed) -> None:
    """Let every kind of file come to be."""
    office.call("POST", "/events", {"event": "gala", "capacity": 9})
    assert office.buy().status == office.buy("gala").status == 201
    assert office.call("POST", "/events/show/holds", {"quantity": 1}).status == 201
    office.call("POST", "/carts", {"items": [{"event": "gala", "quantity": 1}, {"event": "show", "quantity": 1}]})
    assert office.call("PUT", "/guard", {"guard": "off"}).status == 200
    assert office.buy().status == 201


@pytest.mark.parametrize("store", ["json", "journal", "sqlite"])
def test_all_that_the_office_makes_is_its_users_alone_whatever_the_umask(store: str, tmp_path: Path) -> None:
    variables = {"LASTSEAT_STORE": store, "LASTSEAT_DATA": str(tmp_path / "new" / "data")}
    with Typed("-w 2 service:app", tmp_path / "office", through=OPEN_TO_ALL, **variables) as office:
        trade(office)
        wide = [
            f"{path} {stat.filemode(path.stat().st_mode)}"
            for path in everything_in(office.data)
            if path.stat().st_mode & 0o077
        ]
        assert not wide
        assert "chmod" not in office.said


@as_root
@pytest.mark.parametrize("store", ["json", "journal", "sqlite"])
def test_a_stranger_can_neither_lock_nor_read_anything_of_the_office(store: str, reachable: Path) -> None:
    public = reachable / "public"
    public.write_text("everybody's")
    public.chmod(0o644)
    assert touched_by_a_stranger([public]) == f"locked {public}\nread {public}\n"  # the positive control
    with Typed("service:app", reachable / "office", through=OPEN_TO_ALL, LASTSEAT_STORE=store) as office:
        trade(office)
        assert not touched_by_a_stranger(everything_in(office.data))


@as_root
def test_in_a_directory_that_is_open_to_others_the_files_are_not_and_the_start_says_how_to_close_it(
    reachable: Path,
) -> None:
    data = reachable / "it's data"
    data.mkdir()
    data.chmod(0o755)
    with Typed("-w 2 service:app", reachable / "office", through=OPEN_TO_ALL, LASTSEAT_DATA=str(data)) as office:
        trade(office)
        assert data.stat().st_mode & 0o777 == 0o755  # whoever opened it may have meant it
        inside = [path for path in everything_in(data) if path != data]
        assert not touched_by_a_stranger(inside)
        [warning] = [line for line in office.said.splitlines() if "chmod" in line]
        command = warning[warning.index("chmod") :]
    subprocess.run(["sh", "-c", command], check=True)
    assert data.stat().st_mode & 0o777 == 0o700
    with Typed("service:app", reachable / "again", LASTSEAT_DATA=str(data)) as office:
        assert "chmod" not in office.said
        assert not touched_by_a_stranger(everything_in(data))
