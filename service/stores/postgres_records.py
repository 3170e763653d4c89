"""The records of an event in PostgreSQL, read some at a time."""

from __future__ import annotations

from collections.abc import Iterator

from service.inventory import Record
from service.stores.postgres_schema import record_of
from service.stores.postgres_statements import PAGE_OF_RECORDS
from service.stores.postgres_transactions import Transactions

PAGE = 2_000


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
        while page := self._transactions.ask(f"{PAGE_OF_RECORDS} LIMIT {PAGE}", (self._row, after, self._last)):
            for number, *columns in page:
                yield record_of(columns)
                after = number
