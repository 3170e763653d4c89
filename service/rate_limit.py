"""How often one client may ask: a token bucket each, in bounded memory.

A bucket holds ``burst`` tokens and gets ``rate`` new ones a second; each request takes one. It is kept as one number,
the moment at which the bucket would be full again: that moment moves on by ``1 / rate`` with every request, and a
request that would move it further than ``burst / rate`` ahead of now finds the bucket empty. (That is the generic cell
rate algorithm, GCRA.) A refused request moves nothing, so who keeps asking is not kept out for it.

What it does *not* do: the buckets are those of one process, so n processes let a client in up to n times as often; and
they are of the most recent ``MOST_CLIENTS`` clients, so who has more addresses than that has as many full buckets. It
keeps one eager client from taking the others' turn; it is no defence against many machines.
"""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from ipaddress import AddressValueError, IPv6Address

from service.errors import Problem

MOST_CLIENTS = 10_000
_LONGEST_NAME = 64


class RateLimit:
    """The buckets of one process. Threads and greenlets share them."""

    def __init__(self, rate: float, burst: float, most_clients: int = MOST_CLIENTS) -> None:
        """``rate`` requests a second for each client, ``burst`` at once."""
        self._gap_s = 1 / rate
        self._room_s = burst / rate
        self._most_clients = most_clients
        self._mutex = threading.Lock()
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def take(self, client: str, now: float | None = None) -> None:
        """Take a token of ``client``'s. Errors, definite: ``too_many_requests`` with the seconds until there is one."""
        now = time.monotonic() if now is None else now
        with self._mutex:
            full_at = max(self._full_at.get(client, now), now) + self._gap_s
            # The tolerance is for rounding alone: sums of 1 / rate are not exact.
            too_early_s = full_at - now - self._room_s
            if too_early_s > 1e-9:
                raise Problem("too_many_requests", retry_after_s=max(1, math.ceil(too_early_s)))
            self._full_at[client] = full_at
            self._full_at.move_to_end(client)
            if len(self._full_at) > self._most_clients:
                # Who has not asked for longest: his bucket is the nearest to full, and a new one is full.
                self._full_at.popitem(last=False)

    def __len__(self) -> int:
        return len(self._full_at)


def client_of(address: str, forwarded_for: str, proxies: int) -> str:
    """Who asks: the peer's address, or what the outermost of so many trusted proxies says it was asked by.

    Each proxy appends the address of whoever asked *it* to ``X-Forwarded-For``; only the last ``proxies`` of them are
    ours, all before is what the client itself may have made up. A header with fewer than that did not come through all
    of them, and the peer counts. An IPv6 client counts by its network of 64 bits, which is what one customer has.
    """
    if proxies:
        chain = [each.strip() for each in forwarded_for.split(",")] if forwarded_for else []
        if len(chain) >= proxies:
            address = chain[-proxies]
    if address.count(":") < 2:
        return address.partition(":")[0][:_LONGEST_NAME]
    try:
        known = IPv6Address(address.partition("%")[0])
    except AddressValueError:
        return address[:_LONGEST_NAME]
    if known.ipv4_mapped is not None:
        return str(known.ipv4_mapped)
    return str(IPv6Address(int(known) >> 64 << 64))
