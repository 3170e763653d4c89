"""All records of an event, as the audit shows them: read a page at a time, however many there are."""

from __future__ import annotations

from collections.abc import Iterator

from service.rules.inventory import Record
from service.stores.postgres.records import record_in
from service.stores.postgres.statements import PAGE
from service.stores.postgres.transactions import Transactions

AT_A_TIME = 2_000


class Records:
    """The records of an event up to a place: how many is known, they are read some at a time when asked for.

    A cursor in the engine would keep a connection and a snapshot for as long as the slowest reader takes.
    """

    def __init__(self, transactions: Transactions, row: int, count: int, last: int) -> None:
        self._transactions = transactions
        self._row = row
        self._count = count
        self._last = last

    def __len__(self) -> int:
        return self._count

    def __contains__(self, record: object) -> bool:
        return any(record == each for each in self)

    def __iter__(self) -> Iterator[Record]:
        after = 0
        while page := self._transactions.ask(f"{PAGE} LIMIT {AT_A_TIME}", (self._row, after, self._last)):
            for number, row in page:
                yield record_in(row)
                after = number
