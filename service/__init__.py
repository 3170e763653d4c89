"""The ticket office: ``gunicorn service:app``.

``app`` is built at its first use, in the worker, after gevent's patch. Importing this package imports nothing that
patches, locks or reads settings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask

    app: Flask


def __getattr__(name: str) -> Flask:
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import os
    import sys

    from service.app import create_app
    from service.errors import RefusedToStart
    from service.runtime.gunicorn import let_one_worker_report
    from service.sales.sweeper import Sweeper
    from service.settings import from_environment

    try:
        settings = from_environment(os.environ)
        built = create_app(settings)
    except RefusedToStart as refusal:
        let_one_worker_report()
        print(f"lastseat: refused to start: {refusal}", file=sys.stderr, flush=True)
        raise
    if not settings.gates:  # in an experiment only the threads that the scheduler lets through may move
        Sweeper(built.extensions["office"], settings.data).start()
    globals()["app"] = built
    return built
