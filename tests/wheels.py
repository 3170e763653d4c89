"""The project's wheel, and an environment that has it and nothing of the checkout; import the two fixtures."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("service", "workers", "loadtests")
DEPENDENCIES = sysconfig.get_path("purelib")
_BUILD = "from setuptools import build_meta; print(build_meta.build_{kind}({out!r}))"


def _built(kind: str, source: Path, out: Path) -> Path:
    """An sdist or a wheel as pip builds it, with the backend that ``pyproject.toml`` names."""
    done = subprocess.run(
        [sys.executable, "-c", _BUILD.format(kind=kind, out=str(out))],
        cwd=source, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return out / done.stdout.split()[-1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, made from the source distribution."""
    place = tmp_path_factory.mktemp("wheel")
    source = place / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in (*PACKAGES, "examples", "docs/lessons", "tests"):
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.unpack_archive(_built("sdist", source, place), place)
    return _built("wheel", place / "lastseat-0.1.0", place)


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment that has the project from the wheel, and the dependencies from this one.

    A folder that a ``.pth`` names is only searched: what makes this environment find the checkout is not run.
    """
    place = tmp_path_factory.mktemp("bare")
    place.chmod(0o755)
    venv.create(place, with_pip=False, symlinks=True)
    programs = place / "bin"
    [site] = place.glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(f"{DEPENDENCIES}\n")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(programs / "python"), "install"]
    done = subprocess.run(
        [*pip, "--quiet", "--no-deps", "--no-index", str(wheel)],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for name in ("gunicorn", "locust"):
        script = Path(sys.executable).with_name(name).read_text()
        (programs / name).write_text(re.sub(r"\A#!.*", f"#!{programs / 'python'}", script))
        (programs / name).chmod(0o755)
    return programs
