# ruff: noqa: C408, E501 - the tables have an operation a line
"""The runs that the recorded histories derive from: each valid, small, and of another kind."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Line = dict[str, Any]


@dataclass
class Run:
    """A history, the audits by event, and the capacity that the caller must name where there are none."""

    lines: list[Line]
    audits: dict[str, list[Line]] = field(default_factory=dict)
    capacity: int | None = None

    def line(self, key: str, attempt: int = 1) -> Line:
        """The line of a key's attempt."""
        return next(line for line in self.lines if line.get("key") == key and line.get("attempt", 1) == attempt)

    def read(self, number: int) -> Line:
        """The read of this number, from 0 on."""
        return [line for line in self.lines if line["op"] == "read"][number]

    def record(self, version: int) -> Line:
        """The audit's record of a version."""
        return next(record for record in self.audits["show"][1:] if record["version"] == version)

    def append(self, **record: Any) -> None:
        """One more record at the audit's end."""
        audit = self.audits["show"]
        audit[0]["versions"] += 1
        audit.append({"version": audit[0]["versions"], **record})

    def add(self, **line: Any) -> None:
        """One more operation, by a process of its own."""
        self.lines.append(_line(900 + len(self.lines), **line))


def _line(process: int, op: str, invoke: int, returned: int | None, outcome: str = "ok", **more: Any) -> Line:
    return {
        "process": process,
        "op": op,
        "event": more.pop("event", "show"),
        "invoke_ns": invoke,
        "return_ns": returned,
        "outcome": outcome,
        **more,
    }


def lines_of(*rows: tuple[Any, ...]) -> list[Line]:
    """Rows of (op, invoke, return, outcome, fields), each by a process of its own."""
    return [
        _line(100 + n, op, invoke, returned, outcome, **more)
        for n, (op, invoke, returned, outcome, more) in enumerate(rows)
    ]


def audited() -> Run:
    """Everything that a buyer can do, with versions and an audit: 6 places."""
    first, repeated = {"replayed": False}, {"replayed": True}
    lines = lines_of(
        ("buy", 100, 500, "ok", dict(key="a", quantity=2, order="o1", tickets=[1, 2], remaining=4, version=1, **first)),
        ("read", 150, 300, "ok", dict(remaining=6, version=0)),
        ("buy", 300, 700, "ok", dict(key="b", quantity=1, order="o2", tickets=[3], remaining=3, version=2, **first)),
        ("cancel", 800, 1000, "ok", dict(key="c", order="o1", remaining=5, version=3, **first)),
        ("hold", 900, 1300, "ok", dict(key="d", quantity=2, hold="h1", tickets=[4, 5], remaining=3, version=4, **first)),
        ("hold", 1000, 1400, "ok", dict(key="e", quantity=3, hold="h2", tickets=[6, 7, 8], remaining=0, version=5, **first)),
        ("buy", 1350, 1600, "sold_out", dict(key="f", quantity=1, remaining=0, version=5)),
        ("confirm", 1400, 1700, "ok", dict(key="g", hold="h1", order="o3", quantity=2, tickets=[4, 5], remaining=0, version=6, **first)),
        ("cancel", 1500, 1900, "refused", dict(key="h", order="o1", remaining=0, version=6)),
        # The second hold expires at version 7; its confirmation is decided as a new sale.
        ("confirm", 2000, 2400, "ok", dict(key="i", hold="h2", order="o4", quantity=3, tickets=[9, 10, 11], remaining=0, version=8, **first)),
        ("buy", 2100, None, "unknown", dict(key="j", quantity=1)),
        ("cancel", 2500, 2800, "ok", dict(key="k", order="o2", remaining=1, version=9, **first)),
        ("buy", 2900, 3100, "ok", dict(key="j", attempt=2, quantity=1, order="o5", tickets=[12], remaining=0, version=10, **repeated)),
        ("buy", 2600, 2700, "fail", dict(key="l", quantity=1)),
        ("hold", 3000, 3300, "sold_out", dict(key="m", quantity=2, remaining=0, version=10)),
        ("cancel", 3200, 3500, "ok", dict(key="n", order="o5", remaining=1, version=11, **first)),
        ("hold", 3400, 3800, "ok", dict(key="o", quantity=1, hold="h3", tickets=[13], remaining=0, version=12, **first)),
        ("release", 3700, 4000, "ok", dict(key="p", hold="h3", remaining=1, version=13, **first)),
        ("read", 3900, 4200, "ok", dict(remaining=1, version=13)),
        ("confirm", 4100, 4300, "refused", dict(key="q", hold="h3", remaining=1, version=13)),
        ("buy", 4100, None, "unknown", dict(key="r", quantity=1)),
        ("buy", 4200, 4500, "ok", dict(key="s", quantity=1, order="o6", tickets=[14], remaining=0, version=14, **first)),
        ("buy", 4600, 4700, "ok", dict(key="s", attempt=2, quantity=1, order="o6", tickets=[14], remaining=0, version=14, **repeated)),
        ("cancel", 4700, 4900, "ok", dict(key="t", order="o4", remaining=3, version=15, **first)),
        ("hold", 4800, 5100, "ok", dict(key="u", quantity=1, hold="h4", tickets=[15], remaining=2, version=16, **first)),
        ("hold", 5000, 5300, "ok", dict(key="v", quantity=1, hold="h5", tickets=[16], remaining=1, version=17, **first)),
        ("buy", 5200, 5500, "sold_out", dict(key="w", quantity=3, remaining=1, version=17)),
        # Both of the last holds expire.
        ("read", 5600, 5900, "ok", dict(remaining=3, version=19)),
    )  # fmt: skip
    records = [
        dict(kind="sold", key="a", order="o1", quantity=2, tickets=[1, 2]),
        dict(kind="sold", key="b", order="o2", quantity=1, tickets=[3]),
        dict(kind="cancelled", key="c", order="o1", quantity=2, tickets=[1, 2]),
        dict(kind="held", key="d", hold="h1", quantity=2, tickets=[4, 5], expires_at="2026-11-23T08:00:01Z"),
        dict(kind="held", key="e", hold="h2", quantity=3, tickets=[6, 7, 8], expires_at="2026-11-23T08:00:02Z"),
        dict(kind="confirmed", key="g", hold="h1", order="o3", quantity=2, tickets=[4, 5]),
        dict(kind="expired", hold="h2", quantity=3, tickets=[6, 7, 8]),
        dict(kind="sold", key="i", hold="h2", order="o4", quantity=3, tickets=[9, 10, 11]),
        dict(kind="cancelled", key="k", order="o2", quantity=1, tickets=[3]),
        dict(kind="sold", key="j", order="o5", quantity=1, tickets=[12]),
        dict(kind="cancelled", key="n", order="o5", quantity=1, tickets=[12]),
        dict(kind="held", key="o", hold="h3", quantity=1, tickets=[13], expires_at="2026-11-23T08:00:03Z"),
        dict(kind="released", key="p", hold="h3", quantity=1, tickets=[13]),
        dict(kind="sold", key="s", order="o6", quantity=1, tickets=[14]),
        dict(kind="cancelled", key="t", order="o4", quantity=3, tickets=[9, 10, 11]),
        dict(kind="held", key="u", hold="h4", quantity=1, tickets=[15], expires_at="2026-11-23T08:00:05Z"),
        dict(kind="held", key="v", hold="h5", quantity=1, tickets=[16], expires_at="2026-11-23T08:00:06.5Z"),
        dict(kind="expired", hold="h4", quantity=1, tickets=[15]),
        dict(kind="expired", hold="h5", quantity=1, tickets=[16]),
    ]  # fmt: skip
    header = {"event": "show", "capacity": 6, "versions": len(records)}
    return Run(lines, {"show": [header, *({"version": n, **record} for n, record in enumerate(records, 1))]})


def versioned() -> Run:
    """Versions without an audit: purchases and a cancellation, nothing lost. 4 places."""
    return Run(
        lines_of(
            ("buy", 100, 500, "ok", dict(key="a", quantity=2, order="o1", tickets=[1, 2], remaining=2, version=1)),
            ("read", 150, 300, "ok", dict(remaining=4, version=0)),
            ("buy", 300, 700, "ok", dict(key="b", quantity=2, order="o2", tickets=[3, 4], remaining=0, version=2)),
            ("buy", 600, 900, "sold_out", dict(key="c", quantity=1, remaining=0, version=2)),
            ("cancel", 800, 1000, "ok", dict(key="d", order="o1", remaining=2, version=3)),
            ("buy", 950, 1200, "ok", dict(key="e", quantity=1, order="o3", tickets=[5], remaining=1, version=4)),
            ("buy", 1100, None, "unknown", dict(key="f", quantity=1)),
            ("read", 1150, 1300, "ok", dict(remaining=1, version=4)),
        ),
        capacity=4,
    )


def numbered() -> Run:
    """Ticket numbers without versions: 6 places, and one sale that only a number tells of."""
    return Run(
        lines_of(
            ("buy", 100, 500, "ok", dict(key="a", quantity=2, order="o1", tickets=[1, 2], remaining=4)),
            ("read", 150, 300, "ok", dict(remaining=6)),
            ("buy", 300, 700, "ok", dict(key="b", quantity=1, order="o2", tickets=[3], remaining=3)),
            ("buy", 400, None, "unknown", dict(key="c", quantity=1)),
            ("read", 900, 1200, "ok", dict(remaining=2)),
            ("buy", 1000, 1300, "sold_out", dict(key="d", quantity=3, remaining=2)),
            ("buy", 1250, 1600, "ok", dict(key="e", quantity=2, order="o3", tickets=[5, 6])),
            ("buy", 1500, 1900, "sold_out", dict(key="f", quantity=1)),
            ("read", 1800, 2000, "ok", dict(remaining=0)),
        ),
        capacity=6,
    )


def counted() -> Run:
    """A bare counter: 3 places, and nothing but reads tells how many are sold."""
    return Run(
        lines_of(
            ("buy", 100, 400, "ok", dict(key="a", quantity=1)),
            ("buy", 150, 600, "ok", dict(key="b", quantity=1)),
            ("read", 300, 500, "ok", dict(remaining=2)),
            ("buy", 450, None, "unknown", dict(key="c", quantity=1)),
            ("read", 700, 800, "ok", dict(remaining=1)),
            ("read", 900, 1000, "ok", dict(remaining=0)),
            ("buy", 950, 1100, "sold_out", dict(key="d", quantity=1)),
        ),
        capacity=3,
    )


def lost_answers() -> Run:
    """Numbers 1 and 3 belong to two purchases that nobody answered; the second was asked after number 2 was sold."""
    return Run(
        lines_of(
            ("buy", 100, None, "unknown", dict(key="a", quantity=1)),
            ("buy", 300, 400, "ok", dict(key="b", quantity=1, order="o2", tickets=[2], remaining=2)),
            ("buy", 500, None, "unknown", dict(key="c", quantity=1)),
            ("read", 600, 700, "ok", dict(remaining=1)),
        ),
        capacity=4,
    )


def lost_pairs() -> Run:
    """Two tickets were refused of five: one was sold, so both unknown purchases of two must have been."""
    return Run(
        lines_of(
            ("buy", 100, 200, "ok", dict(key="a", quantity=1, order="o1", tickets=[1])),
            ("buy", 150, None, "unknown", dict(key="b", quantity=2)),
            ("buy", 160, None, "unknown", dict(key="c", quantity=2)),
            ("buy", 300, 400, "sold_out", dict(key="d", quantity=2)),
        ),
        capacity=5,
    )


def two_events() -> Run:
    """Two events in one history, each with its audit; in the second nothing overlaps."""
    run = audited()
    run.lines += [
        _line(201, "buy", 100, 200, event="matinee", key="a", quantity=1, order="m1", tickets=[1], remaining=0, version=1, replayed=False),
        _line(202, "buy", 300, 400, "sold_out", event="matinee", key="b", quantity=1, remaining=0, version=1),
    ]  # fmt: skip
    run.audits["matinee"] = [
        {"event": "matinee", "capacity": 1, "versions": 1},
        {"version": 1, "kind": "sold", "key": "a", "order": "m1", "quantity": 1, "tickets": [1]},
    ]
    return run


def carts() -> Run:
    """Carts over two events of 5 places: sold, sold to a buyer who asked twice, to one who never knew, and refused."""
    first, repeated = {"replayed": False}, {"replayed": True}
    lines = lines_of(
        ("buy", 100, 500, "ok", dict(key="a", cart="a", quantity=2, order="o1", tickets=[1, 2], remaining=3, version=1, **first)),
        ("buy", 100, 500, "ok", dict(event="matinee", key="a", cart="a", quantity=1, order="m1", tickets=[1], remaining=4, version=1, **first)),
        ("buy", 300, None, "unknown", dict(key="b", cart="b", quantity=1)),
        ("buy", 300, None, "unknown", dict(event="matinee", key="b", cart="b", quantity=2)),
        ("buy", 700, 900, "ok", dict(key="b", cart="b", attempt=2, quantity=1, order="o2", tickets=[3], remaining=2, version=2, **repeated)),
        ("buy", 700, 900, "ok", dict(event="matinee", key="b", cart="b", attempt=2, quantity=2, order="m2", tickets=[2, 3], remaining=2, version=2, **repeated)),
        ("buy", 600, None, "unknown", dict(key="c", cart="c", quantity=1)),
        ("buy", 600, None, "unknown", dict(event="matinee", key="c", cart="c", quantity=1)),
        ("buy", 650, None, "unknown", dict(key="d", cart="d", quantity=1)),
        ("buy", 650, None, "unknown", dict(event="matinee", key="d", cart="d", quantity=1)),
        # The first event has room; the second has not, and so there is nothing in either.
        ("buy", 1000, 1200, "fail", dict(key="e", cart="e", quantity=1)),
        ("buy", 1000, 1200, "sold_out", dict(event="matinee", key="e", cart="e", quantity=2, remaining=1, version=3)),
        ("cancel", 1300, 1500, "ok", dict(key="f", order="o1", remaining=3, version=4, **first)),
        ("buy", 1400, 1600, "ok", dict(event="matinee", key="g", quantity=1, order="m4", tickets=[5], remaining=0, version=4, **first)),
    )  # fmt: skip
    show = [
        dict(kind="sold", key="a", order="o1", cart="c1", quantity=2, tickets=[1, 2]),
        dict(kind="sold", key="b", order="o2", cart="c2", quantity=1, tickets=[3]),
        dict(kind="sold", key="c", order="o3", cart="c3", quantity=1, tickets=[4]),
        dict(kind="cancelled", key="f", order="o1", quantity=2, tickets=[1, 2]),
    ]
    matinee = [
        dict(kind="sold", key="a", order="m1", cart="c1", quantity=1, tickets=[1]),
        dict(kind="sold", key="b", order="m2", cart="c2", quantity=2, tickets=[2, 3]),
        dict(kind="sold", key="c", order="m3", cart="c3", quantity=1, tickets=[4]),
        dict(kind="sold", key="g", order="m4", quantity=1, tickets=[5]),
    ]
    audits = {
        event: [
            {"event": event, "capacity": 5, "versions": 4},
            *({"version": n, **record} for n, record in enumerate(records, 1)),
        ]
        for event, records in (("show", show), ("matinee", matinee))
    }
    return Run(lines, audits)


def two_hosts() -> Run:
    """Two hosts whose clocks differ by more than the whole run."""
    run = audited()
    for line in run.lines:
        line["host"] = "east" if line["process"] % 2 else "west"
        if line["host"] == "west":
            line["invoke_ns"] += 10**6
            line["return_ns"] = line["return_ns"] and line["return_ns"] + 10**6
    return run


def unmarked() -> Run:
    """A client that does not say which answers are replays."""
    run = audited()
    for line in run.lines:
        line.pop("replayed", None)
    return run


def resent() -> Run:
    """A cancellation whose only answer is a replay: the client's library had sent it twice."""
    run = audited()
    run.line("c")["replayed"] = True
    return run


def unversioned() -> Run:
    """Cancellations, and neither versions nor an audit: only bounds are left."""
    run = versioned()
    for line in run.lines:
        line.pop("version", None)
    return run


def alone() -> Run:
    """One place, and one purchase that may have taken it."""
    return Run(
        lines_of(
            ("buy", 100, None, "unknown", dict(key="a", quantity=1)),
            ("buy", 110, None, "unknown", dict(key="b", quantity=1)),
            ("buy", 120, 150, "sold_out", dict(key="b", attempt=2, quantity=1)),
        ),
        capacity=1,
    )


def unknown_cancellation() -> Run:
    """All places are sold again after a cancellation of which nobody was told."""
    return Run(
        lines_of(
            ("buy", 100, 500, "ok", dict(key="a", quantity=2, order="o1", tickets=[1, 2], remaining=0, version=1)),
            ("cancel", 600, None, "unknown", dict(key="b", order="o1")),
            ("buy", 700, 900, "ok", dict(key="c", quantity=2, order="o2", tickets=[3, 4], remaining=0, version=3)),
        ),
        {
            "show": [
                {"event": "show", "capacity": 2, "versions": 3},
                {"version": 1, "kind": "sold", "key": "a", "order": "o1", "quantity": 2, "tickets": [1, 2]},
                {"version": 2, "kind": "cancelled", "key": "b", "order": "o1", "quantity": 2, "tickets": [1, 2]},
                {"version": 3, "kind": "sold", "key": "c", "order": "o2", "quantity": 2, "tickets": [3, 4]},
            ]
        },
    )
