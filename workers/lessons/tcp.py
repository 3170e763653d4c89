"""One TCP server under six ways of doing many things at once, and the two mistakes that spoil all of them."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workers.lessons.form import Findings, Lesson, Parameter, Plot, Progress, Table
from workers.tcp import MODELS, Shape
from workers.tcp.mishaps import SENT, Abandoned, abandon, right_answers
from workers.tcp.server import serving
from workers.tcp.trial import Trial, enough_files, try_model

ABANDONED_BY = 10
_TRIPS = 30
_WATCH_S = 0.4


def _go_wrong(shape: Shape, folder: Path) -> tuple[dict[str, dict[str, int]], dict[str, Abandoned]]:
    right: dict[str, dict[str, int]] = {}
    abandoned: dict[str, Abandoned] = {}
    for conversation in ("naive", "polite"):
        framed = conversation == "polite"
        with serving("a thread each", shape, folder, conversation) as server:
            right[conversation] = {
                what: right_answers(server.port, messages, with_framing=framed) for what, messages in SENT.items()
            }
        with serving("a thread each", shape, folder, conversation) as server:
            abandoned[conversation] = abandon(server, ABANDONED_BY, _TRIPS, _WATCH_S, with_framing=framed)
    return right, abandoned


def run(settings: Mapping[str, Any], progress: Progress) -> Findings:
    shape = Shape(most_processes=settings["processes"], pool=settings["pool"], start=settings["start"])
    with tempfile.TemporaryDirectory() as folder, enough_files(settings["connections"]):
        progress("pieces for messages, and conversations with nobody")
        right, abandoned = _go_wrong(shape, Path(folder))
        trials = {}
        for model in MODELS:
            progress(f"{settings['connections']} connections at once, {model}")
            trials[model] = try_model(model, settings["connections"], settings["rounds"], shape, Path(folder))
    sent = {what: len(messages) for what, messages in SENT.items()}
    wrong_way_fails = sum(right["naive"].values()) < sum(sent.values()) and abandoned["naive"].left == ABANDONED_BY
    right_way_works = right["polite"] == sent and abandoned["polite"].left == 0
    all_answered = all(
        trial.wrong == trial.left == 0
        and trial.held == min(trial.asked, shape.places(model))
        and trial.held + trial.served_later == trial.asked
        for model, trial in trials.items()
    )
    return Findings(
        holds=wrong_way_fails and right_way_works and all_answered,
        measured=_measured(trials, right, sent, abandoned),
        tables=_tables(trials, right, sent, abandoned),
        figures=_figures(trials),
        see=_see(trials, right, sent, abandoned, shape),
    )


def _measured(
    trials: Mapping[str, Trial],
    right: Mapping[str, Mapping[str, int]],
    sent: Mapping[str, int],
    abandoned: Mapping[str, Abandoned],
) -> dict[str, Any]:
    measured: dict[str, Any] = {"messages_sent_in_the_framing_test": sum(sent.values())}
    for conversation in ("naive", "polite"):
        it = abandoned[conversation]
        measured |= {
            f"{conversation}_right_answers": sum(right[conversation].values()),
            f"{conversation}_left_after_hang_up": it.left,
            f"{conversation}_busy_after_hang_up": it.busy,
            f"{conversation}_messages_s_before": it.before,
            f"{conversation}_messages_s_after": it.after,
        }
    for model, trial in trials.items():
        key = model.replace(" ", "_")
        measured |= {
            f"{key}_asked": trial.asked,
            f"{key}_held": trial.held,
            f"{key}_served_later": trial.served_later,
            f"{key}_right": trial.right,
            f"{key}_wrong": trial.wrong,
            f"{key}_left": trial.left,
            f"{key}_messages_s": trial.messages_s,
            f"{key}_kib_a_connection": trial.bytes_a_connection / 1024,
        }
    return measured


def _tables(
    trials: Mapping[str, Trial],
    right: Mapping[str, Mapping[str, int]],
    sent: Mapping[str, int],
    abandoned: Mapping[str, Abandoned],
) -> list[Table]:
    def state(trial: Trial) -> list[int | float | None]:
        if trial.rest is None or trial.full is None:
            return [None, None, None]
        return [trial.full.processes, trial.full.threads, round(trial.rest.memory_bytes / 2**20, 1)]

    return [
        Table(
            "Without framing",
            ["sent", "messages", "right answers, no framing", "right answers, framed"],
            [[what, count, right["naive"][what], right["polite"][what]] for what, count in sent.items()],
        ),
        Table(
            f"After {ABANDONED_BY} clients hung up",
            ["server", "connections left", "cores busy with nobody", "messages/s before", "messages/s after"],
            [
                [name, it.left, round(it.busy, 2), round(it.before), round(it.after)]
                for name, it in (("looks for no end", abandoned["naive"]), ("ends", abandoned["polite"]))
            ],
        ),
        Table(
            "Who is answered",
            ["model", "connected", "answered at once", "in turn later", "right", "wrong", "left at the end"],
            [[name, t.asked, t.held, t.served_later, t.right, t.wrong, t.left] for name, t in trials.items()],
        ),
        Table(
            "What it takes",
            ["model", "processes", "threads", "MiB when idle", "KiB a connection more", "messages/s"],
            [
                [name, *state(t), round(t.bytes_a_connection / 1024, 1), round(t.messages_s)]
                for name, t in trials.items()
            ],
        ),
    ]


def _figures(trials: Mapping[str, Trial]) -> list[Plot]:
    memory = [(name, round(trial.bytes_a_connection / 1024, 1)) for name, trial in trials.items()]
    speed = [(name, round(trial.messages_s)) for name, trial in trials.items()]
    return [
        Plot("Memory for one connection more", "model", "KiB, logarithmic", {"KiB": memory}, log=True),
        Plot("Messages a second", "model", "messages a second", {"messages/s": speed}),
    ]


def _see(
    trials: Mapping[str, Trial],
    right: Mapping[str, Mapping[str, int]],
    sent: Mapping[str, int],
    abandoned: Mapping[str, Abandoned],
    shape: Shape,
) -> list[str]:
    naive, polite = abandoned["naive"], abandoned["polite"]
    pool, most = trials["thread pool"], max(trials.values(), key=lambda trial: trial.held)
    process, thread, greenlet = (
        trials[name].bytes_a_connection / 1024 for name in ("a process each", "a thread each", "coroutines")
    )
    return [
        f"Without framing {sum(right['naive'].values())} of {sum(sent.values())} messages got the right answer; with "
        f"framing, {sum(right['polite'].values())}.",
        f"{ABANDONED_BY} clients hung up. The server that never looks for the end still held {naive.left} connections, "
        f"kept {naive.busy:.2f} cores busy with nobody, and gave a new client {naive.after:,.0f} answers a second "
        f"instead of {naive.before:,.0f}. The one that ends held {polite.left} and took {polite.busy:.2f}.",
        f"{most.asked} clients at once: a thread or a greenlet each answered all of them; a pool of {shape.pool} "
        f"answered {pool.held}, and the other {pool.served_later} after somebody hung up. Connected is not served.",
        f"One connection more takes {process:,.0f} KiB with a process, {thread:,.0f} KiB with a thread, "
        f"{greenlet:,.0f} KiB with a greenlet.",
        f"{sum(trial.right for trial in trials.values()):,} answers were checked, "
        f"{sum(trial.wrong for trial in trials.values())} were wrong.",
    ]


LESSON = Lesson(
    name="tcp",
    title="One TCP server, six ways to serve many at once",
    claim="Processes, threads and coroutines all serve many clients at once, and differ in how many and at what price; "
    "with framed messages and ended conversations every answer is right.",
    wrong="Take whatever one recv gives for one message, and never look for the end: answers are cut and glued, and "
    "the server talks to nobody for ever.",
    right="Each message says how long it is; an empty recv is the end, and the connection is closed.",
    service="gunicorn is this server with HTTP as its framing: sync is the process pool, gthread the thread pool in "
    "each of some processes, gevent the coroutines in each (WORKER_MODELS in workers/__init__.py). Under sync a client "
    "that is connected waits in the kernel's queue, unanswered, until one of the workers is free.",
    parameters=(
        Parameter("connections", 100, "clients connected at once", 1, 1000),
        Parameter("rounds", 20, "messages of each client that is answered", 1, 100),
        Parameter("processes", 16, "most processes where each connection has one", 1, 32),
        Parameter("pool", 8, "workers in a pool", 1, 32),
        Parameter("start", "fork", "how processes are started", choices=("fork", "spawn")),
    ),
    run=run,
    limit_s=120,
    chinese={
        "Without framing": "没有分帧时",
        "sent": "发送的内容",
        "messages": "消息数",
        "right answers, no framing": "答对数（不分帧）",
        "right answers, framed": "答对数（分帧）",
        "one short message": "一条短消息",
        "two short messages at once": "同时发出的两条短消息",
        "one message of 60,000 letters": "一条 60,000 个字母的消息",
        "one message of 700 Chinese letters": "一条 700 个汉字的消息",
        f"After {ABANDONED_BY} clients hung up": f"{ABANDONED_BY} 个客户端挂断之后",
        "server": "服务器",
        "connections left": "剩下的连接",
        "cores busy with nobody": "空转占用的核数",
        "messages/s before": "之前每秒消息数",
        "messages/s after": "之后每秒消息数",
        "looks for no end": "不看对方是否挂断",
        "ends": "会结束",
        "Who is answered": "谁得到了回答",
        "model": "模型",
        "connected": "已连接",
        "answered at once": "同时得到回答",
        "in turn later": "之后轮到",
        "right": "正确",
        "wrong": "错误",
        "left at the end": "最后残留",
        "What it takes": "代价",
        "processes": "进程数",
        "threads": "线程数",
        "MiB when idle": "空闲时内存（MiB）",
        "KiB a connection more": "每多一个连接（KiB）",
        "messages/s": "每秒消息数",
        "a process each": "一连接一进程",
        "a thread each": "一连接一线程",
        "process pool": "进程池",
        "thread pool": "线程池",
        "coroutines": "协程",
        "all three": "三者结合",
        "Memory for one connection more": "每多一个连接要多少内存",
        "KiB, logarithmic": "KiB（对数刻度）",
        "Messages a second": "每秒消息数",
        "messages a second": "每秒消息数",
    },
)
