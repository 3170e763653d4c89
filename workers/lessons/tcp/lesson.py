"""One TCP server under six ways of doing many things at once, and two mistakes that make each of them wrong."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workers.lessons.common.figures import BarChart, Table
from workers.lessons.common.lesson import LessonResult, Progress, keyed
from workers.tcp import MODELS, Limits
from workers.tcp.capacity import ModelResult, enough_files, measure_model
from workers.tcp.mistakes import SENT, AfterHangUp, hang_up_all, right_answers
from workers.tcp.server import serving

HUNG_UP = 10
_TRIPS = 30
_WATCH_S = 0.4


@dataclass(frozen=True, slots=True)
class TcpMeasurements:
    """All measurements of a run."""

    limits: Limits
    right: Mapping[str, Mapping[str, int]]
    """Right answers of the conversations ``naive`` and ``polite``, for each group of messages."""
    hung_up: Mapping[str, AfterHangUp]
    models: Mapping[str, ModelResult]

    @property
    def holds(self) -> bool:
        wrong_way_fails = self.rights("naive") < _sent() and self.hung_up["naive"].left == HUNG_UP
        right_way_works = self.rights("polite") == _sent() and self.hung_up["polite"].left == 0
        return (
            wrong_way_fails
            and right_way_works
            and all(
                each.wrong == each.left == 0
                and each.held == min(each.asked, self.limits.places(model))
                and each.held + each.served_later == each.asked
                for model, each in self.models.items()
            )
        )

    def rights(self, conversation: str) -> int:
        return sum(self.right[conversation].values())


def run(settings: Mapping[str, Any], progress: Progress) -> LessonResult:
    limits = Limits(most_processes=settings["processes"], pool=settings["pool"], start=settings["start"])
    right: dict[str, dict[str, int]] = {}
    hung_up: dict[str, AfterHangUp] = {}
    models: dict[str, ModelResult] = {}
    with tempfile.TemporaryDirectory() as name, enough_files(settings["connections"]):
        folder = Path(name)
        progress("pieces for messages, and conversations with nobody")
        for conversation in ("naive", "polite"):
            framed = conversation == "polite"
            with serving("a thread each", limits, folder, conversation) as server:
                right[conversation] = {
                    what: right_answers(server.port, messages, with_framing=framed) for what, messages in SENT.items()
                }
            with serving("a thread each", limits, folder, conversation) as server:
                hung_up[conversation] = hang_up_all(server, HUNG_UP, _TRIPS, _WATCH_S, with_framing=framed)
        for model in MODELS:
            progress(f"{settings['connections']} connections at once, {model}")
            models[model] = measure_model(model, settings["connections"], settings["rounds"], limits, folder)
    found = TcpMeasurements(limits, right, hung_up, models)
    return LessonResult(
        holds=found.holds,
        measured=_measured(found),
        tables=_tables(found),
        figures=_figures(models),
        facts={
            "hung_up": HUNG_UP,
            "right": sum(each.right for each in models.values()),
            "wrong": sum(each.wrong for each in models.values()),
        },
    )


def _sent() -> int:
    return sum(map(len, SENT.values()))


def _measured(found: TcpMeasurements) -> dict[str, Any]:
    measured: dict[str, Any] = {"messages_sent_in_the_framing_test": _sent()}
    for conversation, after in found.hung_up.items():
        measured |= keyed(
            conversation,
            right_answers=found.rights(conversation),
            left_after_hang_up=after.left,
            busy_after_hang_up=after.busy,
            messages_s_before=after.before,
            messages_s_after=after.after,
        )
    for model, each in found.models.items():
        measured |= keyed(model, asked=each.asked, held=each.held, served_later=each.served_later)
        measured |= keyed(model, right=each.right, wrong=each.wrong, left=each.left)
        measured |= keyed(model, messages_s=each.messages_s, kib_a_connection=each.kib_a_connection)
    return measured


def _tables(found: TcpMeasurements) -> list[Table]:
    right, models = found.right, found.models
    servers = {"looks for no end": found.hung_up["naive"], "ends": found.hung_up["polite"]}
    return [
        Table(
            "Without framing",
            ["sent", "messages", "right answers, no framing", "right answers, framed"],
            [[what, len(each), right["naive"][what], right["polite"][what]] for what, each in SENT.items()],
        ),
        Table(
            f"After {HUNG_UP} clients hung up",
            ["server", "connections left", "cores busy with nobody", "messages/s before", "messages/s after"],
            [
                [name, each.left, round(each.busy, 2), round(each.before), round(each.after)]
                for name, each in servers.items()
            ],
        ),
        Table(
            "Who is answered",
            ["model", "connected", "answered at once", "in turn later", "right", "wrong", "left at the end"],
            [[name, m.asked, m.held, m.served_later, m.right, m.wrong, m.left] for name, m in models.items()],
        ),
        Table(
            "What it takes",
            ["model", "processes", "threads", "MiB when idle", "KiB a connection more", "messages/s"],
            [
                [
                    name,
                    each.full.processes,
                    each.full.threads,
                    round(each.rest.memory_bytes / 2**20, 1),
                    round(each.kib_a_connection, 1),
                    round(each.messages_s),
                ]
                for name, each in models.items()
            ],
        ),
    ]


def _figures(models: Mapping[str, ModelResult]) -> list[BarChart]:
    memory = [(name, round(each.kib_a_connection, 1)) for name, each in models.items()]
    speed = [(name, round(each.messages_s)) for name, each in models.items()]
    return [
        BarChart("Memory for one connection more", "KiB, logarithmic", {"KiB": memory}, log=True),
        BarChart("Messages a second", "messages a second", {"messages/s": speed}),
    ]
