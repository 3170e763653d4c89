"""A service's list of orders after the sale, where it has no audit: orders that are lost, and such as nobody placed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec
import numpy as np

from loadtests.lab.checks.case import operation_of
from loadtests.lab.checks.findings import Evidence, Findings
from loadtests.lab.history.arrays import Ints, one_of
from loadtests.lab.history.columns import HistoryError
from loadtests.lab.history.history import BUY, CANCEL, CONFIRM, OK, UNKNOWN, History
from loadtests.lab.untrusted import NOT_JSON, read_file

_SHOWN = 3


class OrderList(msgspec.Struct, kw_only=True):
    """The ids of an event's orders as the service lists them; those that stood there before the sale are ``earlier``.

    ``missing`` says why the list is not whole, where it is not.
    """

    event: str
    orders: list[str]
    earlier: list[str] = []
    missing: str = ""


def read_order_lists(paths: Iterable[Path]) -> dict[str, OrderList]:
    """The lists in some files, by event. Raises ``HistoryError``."""
    lists = {}
    for path in paths:
        try:
            listed = msgspec.json.decode(read_file(path), type=OrderList)
        except (OSError, *NOT_JSON) as error:
            raise HistoryError(f"{path.name} is no list of orders: {error}") from error
        lists[listed.event] = listed
    return lists


def check(history: History, _: object, lists: Mapping[str, OrderList]) -> Findings:
    """Compare the orders that buyers were told of with those that the service lists."""
    h, findings = history, Findings(applies=bool(lists))
    for event, listed in lists.items():
        if event not in h.events:
            continue
        number = h.events.index(event)
        if listed.missing:
            findings.undecided.append(f"orders may be lost: {listed.missing}")
        else:
            lost = lost_orders(h, number, listed)
            findings.add(
                "lost sale",
                lost,
                lambda row: Evidence(
                    f"order {h.orders.string(int(h.order[row]))} was acknowledged, and the service's list has it not",
                    [operation_of(h, row)],
                    [],
                ),
            )
        _unheard_of(h, number, listed, findings)
    return findings


def lost_orders(h: History, event: int, listed: OrderList) -> Ints:
    """The rows of acknowledged orders that are not listed, were not given back, and may not have been."""
    rows = np.flatnonzero((h.event == event) & one_of(h.op, BUY, CONFIRM) & (h.outcome == OK) & (h.order >= 0))
    back = np.flatnonzero((h.event == event) & (h.op == CANCEL) & one_of(h.outcome, OK, UNKNOWN))
    rows = rows[~np.isin(h.order[rows], h.order[back])]
    _, first = np.unique(h.order[rows], return_index=True)
    there = set(listed.orders)
    return np.array([row for row in rows[np.sort(first)] if h.orders.string(int(h.order[row])) not in there], np.int64)


def _unheard_of(h: History, event: int, listed: OrderList, findings: Findings) -> None:
    """Orders beyond those that buyers know and those that purchases without an answer can have made."""
    here = h.event == event
    told = {h.orders.string(int(each)) for each in np.unique(h.order[here & (h.outcome == OK)])}
    strange = [each for each in dict.fromkeys(listed.orders) if each not in told and each not in set(listed.earlier)]
    silent = here & one_of(h.op, BUY, CONFIRM) & ((h.outcome == UNKNOWN) | ((h.outcome == OK) & (h.order < 0)))
    keys = h.key[silent]
    possible = len(np.unique(keys[keys >= 0])) + int((keys < 0).sum())
    if len(strange) > possible:
        shown = ", ".join(strange[:_SHOWN])
        text = (
            f"the service lists {len(strange)} orders that no buyer was told of ({shown}); {possible} purchases had no "
            "answer"
        )
        findings.add_one("phantom", Evidence(text, [], []), count=len(strange) - possible)
