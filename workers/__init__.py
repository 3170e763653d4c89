"""The worker models: ways in which gunicorn runs the service.

``WORKER_MODELS`` maps a name to gunicorn's settings for it. Each model has several processes, so that a lock that works
only inside one process is seen to fail.
"""

from __future__ import annotations

from dataclasses import dataclass

GUNICORN_CONF = "python:workers.gunicorn_conf"
"""For gunicorn's ``--config``: the rest of its settings."""


@dataclass(frozen=True, slots=True)
class WorkerModel:
    """One way in which gunicorn runs the service."""

    name: str
    worker_class: str
    processes: int
    threads: int = 1
    connections: int = 1000
    says: str = ""

    def settings(self) -> dict[str, str | int]:
        """gunicorn's settings by their names in a configuration file."""
        return {
            "worker_class": self.worker_class,
            "workers": self.processes,
            "threads": self.threads,
            "worker_connections": self.connections,
        }

    def arguments(self, *, processes: int | None = None, threads: int | None = None) -> list[str]:
        """The same as command-line options, with other counts where they are given."""
        options = ["--worker-class", self.worker_class, "--workers", str(processes or self.processes)]
        if self.worker_class == "gthread":
            options += ["--threads", str(threads or self.threads)]
        if self.worker_class == "gevent":
            options += ["--worker-connections", str(self.connections)]
        return options


WORKER_MODELS: dict[str, WorkerModel] = {
    model.name: model
    for model in (
        WorkerModel("sync", "sync", processes=4, says="one request at a time in each process"),
        WorkerModel("gthread", "gthread", processes=2, threads=16, says="a pool of threads in each process"),
        WorkerModel("gevent", "gevent", processes=2, says="a greenlet for each connection in each process"),
    )
}
