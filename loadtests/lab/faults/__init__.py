"""Faults that are injected into a running sale, and healed: process, disk, network, clock and engine, one file each.

The results record in ``faults.json`` what was injected and when, on the history's clock; the report draws it as bands.
The verdict takes no account of it: a fault is no excuse for a seat that was sold twice.

To add one, write a file in the folder of its kind and a line in ``FAULTS``:

- Its class is a ``TimedFault`` (``begin``, ``heal``, and ``lasts_s`` between them), or a ``Fault`` with an ``inject``
  of its own. ``name`` is what a user types; ``says`` is the sentence that ``lastseat faults`` shows.
- ``takes`` says in a few words what it needs, and ``needs`` what of that this machine lacks, with the remedy.
- ``adapt`` raises ``FaultUnfit`` for an office to which it cannot be done, and returns the office's settings as the
  fault needs them. ``prepare`` makes, in the run's folder and before the server starts, what has to be there from the
  start, ``equip`` gives the started server what has to be there when the sale begins, and ``address`` is what stands
  between the buyers and the server; ``__exit__`` ends all three.
- ``of_target`` returns the class that does it to another service that the lab has started.
- What would outlive a lab that is killed with -9 (a mount, a loop device, a rule, a cgroup, a stopped process) is made
  inside ``leavings.left_behind``. What dies with the lab's processes, as a namespace without a name, needs nothing.
- When it is injected, how often, and beside which others, is not its business: see ``schedule`` and ``injection``.
- Its tests have a setting that is known to lose under it, and is caught.
"""

from __future__ import annotations

import pkgutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from loadtests.lab.faults.base import Fault

FAULTS: dict[str, str] = {
    "pause": "loadtests.lab.faults.process.pause:Pause",
    "kill-worker": "loadtests.lab.faults.process.kill_worker:KillWorker",
    "kill-node": "loadtests.lab.faults.process.kill_node:KillNode",
    "kill-combiner": "loadtests.lab.faults.process.kill_combiner:KillCombiner",
    "oom-kill": "loadtests.lab.faults.process.oom_kill:OomKill",
    "no-descriptors": "loadtests.lab.faults.process.no_descriptors:NoDescriptors",
    "starve": "loadtests.lab.faults.process.starve:Starve",
    "slow-disk": "loadtests.lab.faults.disk.slow_disk:SlowDisk",
    "eio": "loadtests.lab.faults.disk.eio:Eio",
    "eio-for-good": "loadtests.lab.faults.disk.eio:EioForGood",
    "full-disk": "loadtests.lab.faults.disk.full_disk:FullDisk",
    "cut-node": "loadtests.lab.faults.network.cut_node:CutNode",
    "cut-one-way": "loadtests.lab.faults.network.cut_one_way:CutOneWay",
    "loss": "loadtests.lab.faults.network.loss:Loss",
    "lost-answer": "loadtests.lab.faults.network.lost_answer:LostAnswer",
    "reset": "loadtests.lab.faults.network.reset:Reset",
    "latency": "loadtests.lab.faults.network.latency:Latency",
    "slow-client": "loadtests.lab.faults.network.slow_client:SlowClient",
    "clock-jump": "loadtests.lab.faults.clock.clock_jump:ClockJump",
    "clock-skew": "loadtests.lab.faults.clock.clock_skew:ClockSkew",
    "restart-engine": "loadtests.lab.faults.engine.restart_engine:RestartEngine",
    "kill-engine": "loadtests.lab.faults.engine.kill_engine:KillEngine",
    "read-only": "loadtests.lab.faults.engine.read_only:ReadOnly",
    "full-engine": "loadtests.lab.faults.engine.full_engine:FullEngine",
    "failover": "loadtests.lab.faults.engine.failover:Failover",
    "failover-sync": "loadtests.lab.faults.engine.failover:FailoverSync",
    "power-cut": "loadtests.lab.faults.disk.power_cut:PowerCut",
    "torn-write": "loadtests.lab.faults.disk.torn_write:TornWrite",
    "lying-disk": "loadtests.lab.faults.disk.lying_disk:LyingDisk",
}


def kind_of(name: str) -> str:
    """The kind of a fault of the registry, which is its folder: ``process``, ``disk`` …"""
    return FAULTS[name].split(".")[-2]


def fault_class(name: str) -> type[Fault]:
    """The class of a fault of the registry. Raises ``KeyError`` for an unknown name."""
    found: type[Fault] = pkgutil.resolve_name(FAULTS[name])
    return found
