"""The nginx of this machine, started with a configuration of a test's own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typed import wait_for

from loadtests.lab.servers import process


def find_nginx() -> str:
    found = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if found is None:
        pytest.fail("there is no nginx: sudo apt-get install nginx-light")
    return found


def around(site: str, folder: Path) -> str:
    """What the distribution's ``nginx.conf`` has around a site, with all that nginx writes in a folder of the test."""
    # Else its processes become another user, who may not enter a test's folder.
    user = "user root;\n" if os.geteuid() == 0 else ""
    parts = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "\n".join(f"{part}_temp_path {folder}/{part};" for part in parts)
    return f"{user}pid {folder}/pid;\nerror_log {folder}/error.log;\nevents {{}}\nhttp {{\n{temporary}\n{site}\n}}\n"


def test(conf: Path) -> subprocess.CompletedProcess[str]:
    """``nginx -t``."""
    command = [find_nginx(), "-t", "-p", str(conf.parent), "-c", str(conf)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@contextmanager
def running(conf: Path, port: int) -> Iterator[None]:
    """nginx with this configuration, inside this block; it has begun when somebody listens on ``port``."""
    log = conf.with_suffix(".log")
    started = process.start(
        [find_nginx(), "-p", str(conf.parent), "-c", str(conf), "-g", "daemon off;"],
        log=log,
        environment={"PATH": os.environ["PATH"]},
        directory=conf.parent,
    )

    def listens() -> bool:
        assert started.poll() is None, log.read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    try:
        wait_for(listens, "nginx listens")
        yield
    finally:
        process.end(started, grace_s=5)
