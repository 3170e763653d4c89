"""A relay between the buyers and a service: every byte passes through it, and a fault decides what becomes of answers.

It is in user space, so it needs no rights, and can stand before any service that speaks HTTP without TLS. It runs in a
thread of its own, and ends with its block.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Awaitable, Callable
from typing import Self
from urllib.parse import urlsplit

from loadtests.lab.faults.base import FaultUnfit

Treat = Callable[[bytes], Awaitable[tuple[bytes, bool]]]
"""Of a piece of an answer what is passed on, and whether the connection is reset then."""
_CHUNK_BYTES = 65_536
_PATIENCE_S = 10.0
_ARRIVES_S = 0.02
"""What was sent before a reset has this long to arrive; the reset would take it back."""
_RESET = struct.pack("ii", 1, 0)
_READS = (b"GET ", b"HEAD ", b"OPTIONS ")


class Relay:
    """Passes connections on to the service at ``url``. While ``treat`` is set, it treats the answers to what writes.

    Raises ``FaultUnfit`` for an address that it cannot stand before.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme != "http" or parts.hostname is None:
            raise FaultUnfit(f"a relay cannot stand before {url}: it takes an address that begins with http://.")
        self._service = (parts.hostname, parts.port or 80)
        self.of = url
        self.treat: Treat | None = None
        self._loop = asyncio.new_event_loop()
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}{parts.path}"
        self._ended = asyncio.Event()
        self._connections: set[asyncio.Task[None]] = set()
        """A loop keeps its tasks only weakly, and so do the streams of a buyer that is gone."""
        self._thread = threading.Thread(target=self._run, name="lastseat-relay", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(_PATIENCE_S)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._connected, sock=self._listening)
        await self._ended.wait()
        server.close()
        await asyncio.sleep(0)  # a connection that was accepted becomes a task, which the loop must not leave behind
        while under_way := asyncio.all_tasks() - {asyncio.current_task()}:
            for each in under_way:
                each.cancel()
            await asyncio.wait(under_way)
            await asyncio.sleep(0)

    def _connected(self, asked: asyncio.StreamReader, buyer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._pass_on(asked, buyer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _pass_on(self, asked: asyncio.StreamReader, buyer: asyncio.StreamWriter) -> None:
        """Cancelled where the block ends: then the buyer is told of a reset, too."""
        try:
            answered, service = await asyncio.open_connection(*self._service)
        except (OSError, asyncio.CancelledError):
            _reset(buyer)
            return
        writes = False

        async def questions() -> None:
            nonlocal writes
            while piece := await asked.read(_CHUNK_BYTES):
                writes = not piece.startswith(_READS)
                service.write(piece)
                await service.drain()
            service.write_eof()

        async def answers() -> None:
            while piece := await answered.read(_CHUNK_BYTES):
                treat = self.treat if writes else None
                passed, reset = (piece, False) if treat is None else await treat(piece)
                buyer.write(passed)
                await buyer.drain()
                if reset:
                    await asyncio.sleep(_ARRIVES_S)
                    return _reset(buyer)
            return buyer.close()

        both = [asyncio.ensure_future(questions()), asyncio.ensure_future(answers())]
        try:
            await both[1]
        except (OSError, asyncio.CancelledError):
            _reset(buyer)
        finally:
            both[0].cancel()
            await asyncio.gather(*both, return_exceptions=True)
            service.close()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close a connection so that the other side is told of a reset, and gets nothing that was not sent yet."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()
