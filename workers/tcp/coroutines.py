"""A greenlet for each connection, all in one thread.

Nothing is patched: the sockets are gevent's own, and whoever waits on one lets the others run. ``converse`` does not
notice; it calls ``recv`` and ``sendall`` as it does on any socket.
"""

from __future__ import annotations

import os
import socket

import gevent
import gevent.socket
from gevent.pool import Pool

from workers.tcp import Conversation, Shape


def serve(listener: socket.socket, shape: Shape, converse: Conversation) -> None:
    # A descriptor of its own, for several threads may do this with one listener, each in an event loop of its own.
    cooperative = gevent.socket.socket(listener.family, listener.type, listener.proto, os.dup(listener.fileno()))
    room = Pool(shape.most_connections)
    while True:
        room.wait_available()
        client, _ = cooperative.accept()
        room.spawn(converse, client)
        # Let the others run between two accepts; else one of several loops takes all who come at once.
        gevent.sleep(0)
