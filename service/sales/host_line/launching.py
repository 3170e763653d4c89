"""Starting a combiner: a fresh interpreter, never gevent's patched one, in a session of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from service.runtime.gevent import patched


def launch(lock_fd: int, fingerprint: str, master: str, processes: int) -> subprocess.Popen[bytes]:
    """Start a combiner that has the flock of ``lock_fd``. It reads the settings from the same environment.

    It inherits nothing else but the log, which is standard error. Errors: ``OSError``; nothing was started.
    """
    code = os.fspath(Path(__file__).parents[3])
    path = os.pathsep.join(each for each in (code, os.environ.get("PYTHONPATH")) if each)
    return _popen()(
        [sys.executable, "-m", "service.sales.host_line.combiner", str(lock_fd), fingerprint, master, str(processes)],
        env=os.environ | {"PYTHONPATH": path},
        pass_fds=(lock_fd,),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )


def _popen() -> type[subprocess.Popen[bytes]]:
    """The interpreter's own: gevent's would fork this process and watch the child from its hub."""
    if not patched():
        return subprocess.Popen
    from gevent.monkey import get_original

    original: type[subprocess.Popen[bytes]] = get_original("subprocess", "Popen")
    return original
