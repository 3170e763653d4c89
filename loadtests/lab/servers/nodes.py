"""Several nodes of one office, for as long as a ``with`` block lasts: as many gunicorns, on one engine.

Each node is what would run on a host of its own: a master with its workers, a data directory, a log and a port. The
nodes share the store's engine and the admin token, as nodes behind one proxy have to. Each buyer asks the nodes in turn
(``--nodes`` of the locust files), so nothing depends on a buyer coming back to the same node.
"""

from __future__ import annotations

import os
import secrets
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from loadtests.lab.protocol.admin_api import TOKEN_FILE, Offices
from loadtests.lab.servers import process
from loadtests.lab.servers.engines import ENGINES, Engines, NoEngine
from loadtests.lab.servers.network import ENGINE, NamespaceNetwork
from loadtests.lab.servers.office import NotReady, RunningOffice, Service


class RunningNodes:
    """``service.nodes`` offices. ``folder`` gets a folder of each, ``node-1`` and so on, and one of the engine.

    With ``service.apart`` they share the token alone: each has a store of its own, and sells every seat.
    """

    def __init__(self, service: Service, folder: Path, variables: process.Variables = process.no_variables) -> None:
        self.service = service
        self.folder = folder
        self._variables = variables
        self.nodes: list[RunningOffice] = []
        self.network: NamespaceNetwork | None = (
            NamespaceNetwork(service.nodes, folder / "network.log") if service.networks else None
        )
        """The hosts of the nodes and the engine, where they have addresses of their own."""
        self._engines = Engines(folder, variables=variables, settings=service.engine_settings)
        self._running = ExitStack()

    @property
    def url(self) -> str:
        return self.nodes[0].url

    @property
    def office(self) -> Offices:
        return Offices([node.office for node in self.nodes])

    @property
    def engine(self) -> Any:
        return self._engines.server(self.service.store)

    @property
    def has_own_engine(self) -> bool:
        """Whether the lab has started an engine for these nodes."""
        return self.service.store in ENGINES and not self.service.apart

    def locust_options(self, folder: Path) -> list[str]:
        others = ",".join(node.url for node in self.nodes[1:])
        return [*self.nodes[0].locust_options(folder), "--nodes", others]

    def __enter__(self) -> Self:
        try:
            if self.network is not None:
                self._running.enter_context(self.network)
                self._engines = Engines(
                    self.folder,
                    (ENGINE, self.network.engine),
                    variables=self._variables,
                    settings=self.service.engine_settings,
                )
            self._running.enter_context(self._engines)
            service = self._on_one_engine()
            token = secrets.token_urlsafe(24)
            self.nodes = [self._node(service, number) for number in range(1, self.service.nodes + 1)]
            for node in self.nodes:
                _give_token(node.data, token)
                self._running.push(node)
            self._start()
        except BaseException:
            with process.undisturbed():
                self._running.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._running.__exit__(kind, error, traceback)

    def kill(self) -> None:
        """``kill -9`` of all nodes; the engine stays."""
        for node in self.nodes:
            node.kill()

    def restart(self) -> None:
        """``kill -9`` of every node and of an engine of their own; start again on what the disks kept."""
        self.kill()
        if self.has_own_engine:
            self.engine.restart()
        self._start()

    def _start(self) -> None:
        """Start all at once, as hosts come up after a power cut."""
        with ThreadPoolExecutor(len(self.nodes)) as threads:
            for started in [threads.submit(node.start) for node in self.nodes]:
                started.result()

    def _on_one_engine(self) -> Service:
        """A node's service: with the address of the common engine, unless the nodes are to be apart."""
        if not self.has_own_engine:
            return self.service
        try:
            return msgspec.structs.replace(self.service, store=self._engines.fresh(self.service.store))
        except NoEngine as error:
            raise NotReady(str(error)) from None

    def _node(self, service: Service, number: int) -> RunningOffice:
        network = None if self.network is None else self.network.node(number)
        return RunningOffice(service, self.folder / f"node-{number}", network=network, variables=self._variables)


def _give_token(data: Path, token: str) -> None:
    """Give a node this admin token, as if it had made it itself."""
    data.mkdir(0o700, parents=True, exist_ok=True)
    fd = os.open(data / TOKEN_FILE, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "w", encoding="utf-8") as file:
        file.write(token + "\n")
