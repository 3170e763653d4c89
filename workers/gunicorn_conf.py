"""Settings that gunicorn's command line leaves open; they work in any folder.

Use: ``gunicorn -c python:workers.gunicorn_conf service:app``. This module never imports filelock, directly or not:
gevent patches later.
"""

import os

from workers import WORKER_MODELS

_name = os.environ.get("LASTSEAT_WORKER_MODEL") or "sync"
if _name not in WORKER_MODELS:
    raise SystemExit(f"LASTSEAT_WORKER_MODEL={_name!r} is not a worker model: {', '.join(WORKER_MODELS)}.")

globals().update(WORKER_MODELS[_name].settings())

bind = "127.0.0.1:8000"
# Longer than the longest wait for the guard: a sync worker that waits longer than this is killed in its purchase.
timeout = 30
graceful_timeout = 15
# gunicorn's control socket has one path for all servers of a user; a second server would take it over.
control_socket_disable = True
max_requests = 0
forwarded_allow_ips = ""
