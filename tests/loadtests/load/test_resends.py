"""A server that applies a request and dies before it answers: what the client does then, and what may be claimed.

The client (geventhttpclient under locust's FastHttpUser) sends GET, PUT and DELETE again by itself when the connection
turns out closed. If nobody listens any more the second try is refused, though the first was applied.
"""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

pytestmark = pytest.mark.servers

# Locust patches the standard library when it is imported: in a process of its own.
SCRIPT = """
    import json, sys
    import gevent
    from gevent import socket
    from locust.contrib.fasthttp import FastHttpSession
    from locust.event import EventHook
    from pathlib import Path
    from loadtests.lab.load.client import Client, ClientContext
    from loadtests.lab.history.recorder import Recorder

    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    url = "http://127.0.0.1:%d" % listener.getsockname()[1]
    requests = []

    def apply_and_die():
        connection, _ = listener.accept()
        requests.append(connection.recv(65536).decode())
        listener.close()
        connection.close()

    history = Path(sys.argv[2])
    context = ClientContext("show", Recorder(history), first_process=0, seed=1, retries=0)
    session = FastHttpSession(url, EventHook(), None, concurrency=1)
    client = Client([session], context)
    if sys.argv[1] == "refused":
        listener.close()
        client.buy(1)
    else:
        dying = gevent.spawn(apply_and_die)
        client.cancel("o1") if sys.argv[1] == "delete" else client.buy(1)
        dying.join()
    lines = [json.loads(line) for line in history.read_text().splitlines()]
    print(json.dumps({"requests": requests, "history": lines}))
"""


def happened(what: str, tmp_path: Path) -> tuple[list[str], dict[str, object]]:
    """The requests that the server saw, and the one operation that was recorded."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(SCRIPT), what, str(tmp_path / "history.jsonl")],
        capture_output=True,
        text=True,
        timeout=150,
        check=True,
    )
    said = json.loads(done.stdout)
    [operation] = said["history"]
    return said["requests"], operation


def test_a_delete_that_was_applied_before_the_server_died_is_unknown(tmp_path: Path) -> None:
    requests, operation = happened("delete", tmp_path)
    assert len(requests) == 1
    assert (operation["outcome"], operation["return_ns"]) == ("unknown", None)


def test_a_post_that_was_applied_before_the_server_died_is_unknown(tmp_path: Path) -> None:
    requests, operation = happened("post", tmp_path)
    assert len(requests) == 1
    assert operation["outcome"] == "unknown"


def test_a_post_whose_connection_was_refused_surely_did_nothing(tmp_path: Path) -> None:
    requests, operation = happened("refused", tmp_path)
    assert requests == []
    assert operation["outcome"] == "fail"


@pytest.mark.parametrize("what", ["delete", "post"])
def test_every_mutation_carries_its_key(what: str, tmp_path: Path) -> None:
    requests, operation = happened(what, tmp_path)
    assert f"idempotency-key: {operation['key']}" in requests[0].lower()
