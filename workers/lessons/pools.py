"""Pools: a fixed number of workers and a queue. What they promise, what they hide, and whether they cost speed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workers.lessons.children import in_child
from workers.lessons.form import Findings, Lesson, Parameter, Progress
from workers.lessons.pools_report import KINDS, Found, figures, see, tables

_USE, _COST = "workers.lessons.pools_use", "workers.lessons.pools_cost"


def run(settings: Mapping[str, Any], progress: Progress) -> Findings:
    found = Found(settings)
    workers, tasks, method = settings["workers"], settings["tasks"], settings["start_method"]
    for kind in KINDS:
        progress(f"a pool of {kind}, more tasks than workers")
        found.used[kind] = _judge(in_child(f"{_USE}:use", kind, workers, tasks, settings["task_ms"], method))
        found.closed[kind] = in_child(f"{_USE}:shut_down", kind, workers, tasks, method)
    progress("a task that fails, a worker that dies")
    found.silence.update(in_child(f"{_USE}:silence"))
    found.broken.update(in_child(f"{_USE}:broken", workers, tasks, method))
    _measure_costs(found, progress)
    return Findings(
        holds=_promises_kept(found) and _failures_seen(found) and _costs_as_claimed(found),
        measured=found.measured(),
        tables=tables(found),
        figures=figures(found),
        see=see(found),
    )


def _measure_costs(found: Found, progress: Progress) -> None:
    """What a gate holds back, and the shortest of several times: with one for each task, few, and as many workers."""
    workers, method, tries = (found.settings[key] for key in ("workers", "start_method", "tries"))
    threads, processes = found.settings["threads"], found.settings["processes"]
    for size, limit in {"each": None, "pool": workers}.items():
        progress("memory of one for each task, and of a pool")
        found.held["threads", size] = in_child(f"{_COST}:hold_threads", threads, limit)
        found.held["processes", size] = in_child(f"{_COST}:hold_processes", processes, limit, method)
    for work in ("waiting", "trifles"):
        for size, limit in {"each": None, "pool": workers, "large_pool": threads}.items():
            progress(f"time of one thread for each task, and of a pool: {work}")
            found.times[work, size] = in_child(f"{_COST}:time_threads", work, threads, limit, tries)
    for size, limit in {"each": None, "pool": workers, "large_pool": processes}.items():
        progress("time of one process for each task, and of a pool")
        found.times["processes", size] = in_child(f"{_COST}:time_processes", processes, limit, tries, method)


def _judge(used: dict[str, Any]) -> dict[str, Any]:
    """Add to the spans of all tasks what follows from them."""
    spans = used["spans"]
    marks = sorted([(began, 1) for _, began, _, _ in spans] + [(ended, -1) for _, _, ended, _ in spans])
    inside = most = 0
    for _, step in marks:
        inside += step
        most = max(most, inside)
    return used | {
        "workers_used": len({who for who, *_ in spans}),
        "most_at_once": most,
        "queued_ms": round(max(began for _, began, _, _ in spans) * 1e3, 1),
        "failed": sum(failed for *_, failed in spans),
    }


def _promises_kept(found: Found) -> bool:
    workers, tasks = found.settings["workers"], found.settings["tasks"]
    return all(
        used["workers_used"] <= workers >= used["most_at_once"]
        and used["callbacks"] == len(used["spans"]) == tasks
        and used["callbacks_here"]
        and found.closed[kind]["refused"]
        and found.closed[kind]["done"] + found.closed[kind]["cancelled"] == tasks
        for kind, used in found.used.items()
    )


def _failures_seen(found: Found) -> bool:
    """One task failed, silently unless asked for; and a dead worker took others' tasks with it."""
    return (
        all(used["failed"] == 1 for used in found.used.values())
        and found.silence["thread_lines"] > 0 == found.silence["pool_lines"]
        and found.silence["pool_asked"] == "ValueError"
        and found.broken["failed"] > 1
        and found.broken["refused"]
    )


def _costs_as_claimed(found: Found) -> bool:
    """Fewer alive; trifles not slower (with much room for a busy machine); waiting slower in a small pool only."""
    times, workers = found.times, found.settings["workers"]
    return (
        all(found.held[kind, "pool"]["alive"] <= workers for kind in KINDS)
        and all(found.held[kind, "each"]["alive"] == found.settings[kind] for kind in KINDS)
        and times["processes", "pool"] < times["processes", "each"]
        and times["trifles", "pool"] < 3 * times["trifles", "each"]
        and times["waiting", "pool"] > times["waiting", "large_pool"]
    )


LESSON = Lesson(
    name="pools",
    title="Pools: a few workers and a queue",
    claim="A pool never has more workers than it was given and uses them again and again; it costs no speed, except "
    "for tasks that wait when it is smaller than they are many.",
    wrong="A thread or a process for every task, however many come; or a pool whose futures nobody ever asks.",
    right="A pool of fixed size, every future asked for its result, and a shutdown at the end.",
    service="gunicorn's gthread worker is a pool of 16 threads (workers/__init__.py): the 17th request waits in its "
    "queue. The answers to the purchases that wait in one process come the other way round: one leader decides for all "
    "in the line of service/batch.py and hands each its outcome or its error.",
    parameters=(
        Parameter("workers", 5, "workers of a pool", 2, 8),
        Parameter("tasks", 12, "tasks given to it at once", 9, 100),
        Parameter("task_ms", 20, "length of the shortest task, in milliseconds", 1, 500),
        Parameter("threads", 200, "tasks with a thread each, against the pool", 50, 1000),
        Parameter("processes", 20, "tasks with a process each, against the pool", 16, 24),
        Parameter("tries", 3, "times that each is timed; the shortest counts", 1, 10),
        Parameter("start_method", "fork", "how processes are started", choices=("fork", "spawn")),
    ),
    limit_s=120,
    run=run,
    chinese={
        "threads": "线程",
        "processes": "进程",
        "More tasks than workers": "任务比工人多",
        "pool of": "池里是",
        "workers": "工人",
        "tasks": "任务",
        "begun when made": "建池时已启动",
        "used": "用到的工人",
        "most at once": "同时最多",
        "longest queued (ms)": "排队最久(毫秒)",
        "callbacks": "回调次数",
        "A task that fails": "一个失败的任务",
        "where": "在哪里",
        "lines it wrote by itself": "自己写出的行数",
        "what its future says when asked": "问 future 时得到什么",
        "in a thread of its own": "在自己的线程里",
        "in a pool's thread": "在池的线程里",
        "there is none": "没有 future 可问",
        "The end of a pool whose queue is not empty": "队列未空时池的结束",
        "what happens": "发生了什么",
        "done": "做完",
        "cancelled": "取消",
        "broken": "随池一起失败",
        "shut down, threads": "关闭线程池",
        "shut down, processes": "关闭进程池",
        "a worker process dies": "一个工人进程死掉",
        "One for each task, or a pool: alive at once, and memory": "每个任务一个,还是用池:同时存活的数目和内存",
        "alive, one each": "存活,每任务一个",
        "alive, pool": "存活,用池",
        "MB, one each": "内存 MB,每任务一个",
        "MB, pool": "内存 MB,用池",
        "One for each task, or a pool: time (ms)": "每个任务一个,还是用池:时间(毫秒)",
        "what": "什么",
        "one each": "每任务一个",
        "the pool": "用池",
        "a pool as large as the tasks": "与任务一样大的池",
        "threads, short waits": "线程,短暂等待",
        "threads, trifles": "线程,小计算",
        "processes, trifles": "进程,小计算",
        "A pool of threads: each task waits in the queue, then a worker does it": "线程池:任务先排队,再由工人来做",
        "A pool of processes: the same workers again and again": "进程池:同样几个工人反复使用",
        "in the queue": "在排队",
        "done by a worker": "由工人做完",
        "failed in a worker": "在工人手里失败",
        "task": "任务",
        "worker": "工人",
        "process": "进程",
    },
)
