"""Hosts with addresses of their own on one machine: an engine's and some nodes', each in a network namespace.

    engine 198.18.0.1 ── switch ── node 1: 198.18.0.11
                          ├─────── node 2: 198.18.0.12 …

The switch is a bridge in the engine's namespace, so that a node can be cut off as by a broken switch: its cable stays
in, and what it sends is lost. None of this is visible outside of these namespaces, and none of it outlives the lab: the
namespaces have no names and last as long as the processes in them. (RFC 2544 reserves the addresses for tests.) Only
the nodes' connections to the engine are inside; buyers come in through a socket that was bound outside.

It needs Linux, root, and the commands ``ip`` (iproute2), ``unshare`` and ``nsenter`` (util-linux), and to drop single
packets ``nft`` (nftables).
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from loadtests.lab.servers import process

ENGINE = "198.18.0.1"
_PREFIX = 24
_READY_WITHIN_S = 10.0
_POLL_S = 0.005
_NEW_TABLE = "table ip lastseat {}\n"
_BESIDE_PATH = "/usr/sbin:/sbin"


class NoNetwork(Exception):
    """This machine cannot have such hosts; the message says what is missing."""


def find_tools(*more: str) -> dict[str, str]:
    """The paths of the commands, and of some more. Raises ``NoNetwork``."""
    if sys.platform != "linux" or os.geteuid() != 0:
        raise NoNetwork("hosts with addresses of their own take network namespaces: Linux, and root.")
    path = f"{os.environ.get('PATH', '')}:{_BESIDE_PATH}"
    found = {name: shutil.which(name, path=path) for name in ("ip", "unshare", "nsenter", "sleep", *more)}
    missing = [name for name, place in found.items() if place is None]
    if missing:
        packages = "iproute2 util-linux" + " nftables" * ("nft" in missing)
        raise NoNetwork(f"there is no command {', '.join(missing)}: `sudo apt-get install {packages}`.")
    return {name: place for name, place in found.items() if place is not None}


def refuse_undroppable() -> None:
    """Try it in a namespace: a kernel may have no nftables. Raises ``NoNetwork`` where no packets can be dropped."""
    tools = find_tools("nft")
    _nft([tools["unshare"], "--net", "--", tools["nft"]], _rules("numgen random mod 100 < 1", ""))


def node_address(number: int) -> str:
    """The address of the node with this number, from 1 on."""
    return f"198.18.0.{10 + number}"


class NamespaceNetwork:
    """An engine's host and ``nodes`` more. Raises ``NoNetwork``."""

    def __init__(self, nodes: int, log: Path) -> None:
        self._tools = find_tools()
        self._count = nodes
        self._log = log
        self._running = ExitStack()
        self._hosts: list[subprocess.Popen[bytes]] = []

    @property
    def engine(self) -> int:
        """A process in the engine's namespace, for ``process.start(network=…)``."""
        return self._hosts[0].pid

    def node(self, number: int) -> int:
        """A process in the namespace of the node with this number, from 1 on."""
        return self._hosts[number].pid

    def cut(self, number: int) -> None:
        """From now on what a node and the engine send each other is lost, and neither is told."""
        self._ip(0, "link", "set", "dev", f"node{number}", "nomaster")

    def heal(self, number: int) -> None:
        """The node is connected again. Idempotent."""
        self._ip(0, "link", "set", "dev", f"node{number}", "master", "switch")

    def drop(self, *, to_engine: str = "", from_engine: str = "") -> None:
        """From now on what arrives at the engine, or leaves it, is lost silently where it fits an expression of nft's.

        Empty: nothing that way.
        """
        self._nft(_rules(to_engine, from_engine))

    def dropped(self) -> int:
        """How many packets were lost since."""
        return sum(map(int, re.findall(r"counter packets (\d+)", self._nft("list table ip lastseat"))))

    def drop_nothing(self) -> None:
        """Idempotent."""
        self._nft(f"{_NEW_TABLE}delete table ip lastseat")

    def __enter__(self) -> Self:
        try:
            for _ in range(self._count + 1):
                self._hosts.append(self._new_host())
            self._connect()
        except BaseException:
            with process.undisturbed():
                self._running.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    def _new_host(self) -> subprocess.Popen[bytes]:
        """A process that only sleeps, in a network namespace of its own."""
        holder = process.start(
            [self._tools["unshare"], "--net", "--", self._tools["sleep"], "infinity"],
            log=self._log,
            environment={"PATH": os.environ.get("PATH", "")},
            directory=Path("/"),
        )
        self._running.callback(process.kill, holder)
        ours, deadline = _namespace(os.getpid()), time.monotonic() + _READY_WITHIN_S
        while _namespace(holder.pid) in {ours, ""}:
            if holder.poll() is not None or time.monotonic() > deadline:
                raise NoNetwork(f"no network namespace could be made; {self._log} may say why.")
            time.sleep(_POLL_S)
        return holder

    def _connect(self) -> None:
        self._ip(0, "link", "set", "dev", "lo", "up")
        self._ip(0, "link", "add", "switch", "type", "bridge")
        self._ip(0, "addr", "add", f"{ENGINE}/{_PREFIX}", "dev", "switch")
        self._ip(0, "link", "set", "dev", "switch", "up")
        for number in range(1, self._count + 1):
            port = f"node{number}"
            self._ip(0, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", str(self.node(number)))
            self._ip(0, "link", "set", "dev", port, "master", "switch", "up")
            self._ip(number, "link", "set", "dev", "lo", "up")
            self._ip(number, "addr", "add", f"{node_address(number)}/{_PREFIX}", "dev", "eth0")
            self._ip(number, "link", "set", "dev", "eth0", "up")

    def _nft(self, script: str) -> str:
        """Run a script of nft's in the engine's namespace; returns what it printed."""
        inside = [self._tools["nsenter"], f"--net=/proc/{self.engine}/ns/net", "--"]
        return _nft([*inside, find_tools("nft")["nft"]], script)

    def _ip(self, host: int, *what: str) -> None:
        """Run ``ip`` in the namespace of a host; 0 is the engine's."""
        inside = [self._tools["nsenter"], f"--net=/proc/{self._hosts[host].pid}/ns/net", "--"]
        command = [*inside, self._tools["ip"], *what]
        done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", check=False)
        if done.returncode:
            raise NoNetwork(f"`ip {' '.join(what)}` failed: {done.stderr.strip()}")


def _rules(to_engine: str, from_engine: str) -> str:
    into, out = (f"{each} counter drop;" if each else "" for each in (to_engine, from_engine))
    return (
        f"{_NEW_TABLE}flush table ip lastseat\ntable ip lastseat {{\n"
        f"chain arrives {{ type filter hook input priority 0; {into} }}\n"
        f"chain leaves {{ type filter hook output priority 0; {out} }}\n}}\n"
    )


def _nft(command: list[str], script: str) -> str:
    done = subprocess.run([*command, "-f", "-"], input=script, capture_output=True, encoding="utf-8", check=False)
    if done.returncode:
        raise NoNetwork(f"packets cannot be dropped here (nftables): {done.stderr.strip().splitlines()[0]}")
    return done.stdout


def _namespace(pid: int) -> str:
    with contextlib.suppress(OSError):
        return os.readlink(f"/proc/{pid}/ns/net")  # noqa: PTH115
    return ""
