"""A greenlet for each connection, all in one thread.

Nothing is patched: the sockets are gevent's own, and a greenlet that waits on one lets the others run. ``converse``
does not notice; it calls ``recv`` and ``sendall`` as it does on any socket.
"""

from __future__ import annotations

import os
import socket

import gevent
import gevent.socket
from gevent.pool import Pool

from workers.tcp import Conversation, Limits


def serve(listener: socket.socket, limits: Limits, converse: Conversation) -> None:
    # The descriptor is duplicated, for several threads may serve one listener, each with an event loop of its own.
    cooperative = gevent.socket.socket(listener.family, listener.type, listener.proto, os.dup(listener.fileno()))
    room = Pool(limits.most_connections)
    while True:
        room.wait_available()
        client, _ = cooperative.accept()
        room.spawn(converse, client)
        # The others run between two accepts; else one of several loops would take all clients that come at once.
        gevent.sleep(0)
