"""The options of the locust files, in locust's own way: on the command line and in the web page's form.

Locust prints ``--help`` before it reads the locust file, so these are not in it; ``--help-sale`` shows them.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from typing import Any

from loadtests.lab.exit_status import EXIT_USAGE

OF_LOCUST = ("num_users", "spawn_rate", "run_time", "processes", "stop_timeout")
STOP_TIMEOUT_S = 10.0
MOST_ARRIVALS_PER_S = 100_000.0
KINDS = ("poisson", "uniform")
BUYERS = 32
SPAWN_RATE = 100


def add_options(parser: Any, workloads: Sequence[str]) -> None:
    """Add the options of some workloads, and defaults of locust's own with which a bare ``locust -f`` does something.

    Those that several workloads have are one option.
    """
    _add_own(parser, workloads)
    # Of argparse's own 2 somebody would read that the sale is undecided.
    ends = parser.exit
    parser.exit = lambda status=0, message=None: ends(EXIT_USAGE if status == 2 else status, message)
    # A user who is to stop finishes the request under way. Locust's page can start load, and a master takes every
    # machine around for a worker: here both are open to this one unless --web-host or --master-bind-host say otherwise.
    parser.set_defaults(stop_timeout=STOP_TIMEOUT_S, num_users=BUYERS, spawn_rate=SPAWN_RATE)
    parser.set_defaults(web_host="127.0.0.1", master_bind_host="127.0.0.1")


def of_the_sale(workloads: Sequence[str]) -> list[str]:
    """The names of the options that decide what the buyers of some workloads do."""
    return [flag[2:].replace("-", "_") for flag, *_ in _numbers(workloads)] + ["arrivals", "target"]


def locust_file(workloads: Sequence[str]) -> str:
    """What locust's ``-f`` takes for some workloads."""
    return ",".join(f"loadtests/{workload}.py" for workload in workloads)


def _numbers(workloads: Sequence[str]) -> list[_Number]:
    of_some = (number for workload in workloads for number in _OF_SOME.get(workload, ()))
    return [*_OF_ALL, *dict.fromkeys(of_some)]


def _add_own(parser: Any, workloads: Sequence[str]) -> None:
    group = parser.add_argument_group("Last Seat", "The sale, its buyers, and where the results go.")
    group.add_argument("--help-sale", action=_HelpSale, nargs=0, help="Show these options and exit", const=workloads)
    for flag, kind, default, meaning in _numbers(workloads):
        action = group.add_argument(
            flag, type=kind, default=default, metavar="<number>", help=f"{meaning} (default {default})"
        )
        # What locust's own parser sets where no group is used: show it in the form of the web page.
        action.include_in_web_ui = True
    group.add_argument(
        "--arrivals", choices=KINDS, default=KINDS[0], help="Open loop: a Poisson process (default) or equal gaps"
    )
    group.add_argument(
        "--i-own-this-host", action="store_true", help="Load a --target that is not on this machine; it is yours"
    )
    for flag, place, what, meaning in (
        ("--target", "", "file", "Another service: how to buy there, see docs/judge-your-own.md"),
        ("--results", "results", "folder", "Where result folders are made (default ./results)"),
        ("--into", "", "folder", "Add this run to exactly this folder, as one more round, instead of making a new one"),
        ("--data", os.environ.get("LASTSEAT_DATA", "data"), "folder",
         "The service's data directory, where its admin token is (default $LASTSEAT_DATA or ./data)"),
        ("--admin-token", "", "token",
         "The service's admin token (default $LASTSEAT_ADMIN_TOKEN, then the file admin-token in --data)"),
        ("--nodes", "", "addresses",
         "More nodes of the same service, with commas between: buyers ask one after the other"),
    ):  # fmt: skip
        group.add_argument(flag, default=place, metavar=f"<{what}>", help=meaning)


def addresses(nodes: str) -> list[str]:
    """The addresses in ``--nodes``."""
    return [each.strip().rstrip("/") for each in nodes.split(",") if each.strip()]


class _HelpSale(argparse.Action):
    """Prints the lab's own options, as ``--help`` would if locust knew them by then."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        workloads: Sequence[str] = self.const
        own = argparse.ArgumentParser(
            f"locust -f {locust_file(workloads)}",
            usage="%(prog)s [locust's options] [options]",
            epilog="Of locust's own: -H address, -u buyers, --headless, --processes, -t time; see locust --help.",
            add_help=False,
        )
        _add_own(own, workloads)
        own.print_help()
        parser.exit()


def _whole(least: int) -> Any:
    def whole_number(text: str) -> int:
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"{value} is less than {least}")
        return value

    return whole_number


def _rate(text: str) -> float:
    value = float(text)
    if not 0 <= value <= MOST_ARRIVALS_PER_S:
        raise argparse.ArgumentTypeError(f"{value:g} is not between 0 and {MOST_ARRIVALS_PER_S:g}")
    return value


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{value:g} is not between 0 and 1")
    return value


def _milliseconds(text: str) -> str:
    low, dash, high = text.partition("-")
    if not 0 <= float(low) <= float(high if dash else low) <= 60_000:
        raise argparse.ArgumentTypeError(f"{text} is not milliseconds like 20 or 10-50, from 0 to 60000")
    return text


def _seconds(least: float, most: float) -> Any:
    def some_seconds(text: str) -> float:
        value = float(text)
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{value:g} is not between {least:g} and {most:g}")
        return value

    return some_seconds


_Number = tuple[str, Any, Any, str]

_OF_ALL: tuple[_Number, ...] = (
    ("--capacity", _whole(1), 100, "Tickets of the fresh event"),
    ("--max-quantity", _whole(1), 4, "A purchase asks for 1 to this many tickets"),
    ("--read-share", _share, 0.2, "How often a buyer looks what remains before buying, 0 to 1"),
    ("--cancel-share", _share, 0.05, "How often a buyer gives an order back, 0 to 1"),
    ("--patience", _whole(1), 3, "A buyer leaves when it is sold out so often in a row; the last one ends the run"),
    ("--retries", _whole(0), 1, "How often to ask again, under the same key, when an outcome is unknown"),
    ("--time-outs", _share, 0.0, "How often a buyer hangs up on a request that changes something, and asks again"),
    ("--seed", int, 1, "Decides what each buyer wishes for, and the times of a Poisson process"),
    ("--rate", _rate, 0.0, "Open loop: so many arrivals a second whatever the answers; 0: buyers who wait"),
    ("--most-in-flight", _whole(1), 500, "Open loop: arrivals beyond so many unanswered requests wait in line"),
)
_HOLDING: tuple[_Number, ...] = (
    ("--hold", _seconds(0.001, 3600), 2.0, "How long a hold lasts, s"),
    ("--payment", _milliseconds, "20-60", "How long a payment takes, ms: 20 or 10-50"),
    ("--payment-refused", _share, 0.05, "How often a payment is refused: the hold is released"),
    ("--payment-lost", _share, 0.02, "How often a payment is not answered while the hold lasts"),
)
_OF_SOME: dict[str, tuple[_Number, ...]] = {
    "rush": (
        ("--opens-in", _seconds(0, 3600), 3.0, "The doors open so many seconds after the test has begun"),
        ("--too-early", _share, 0.2, "How many of the buyers try the doors before they open, 0 to 1"),
    ),
    "mixed": (
        ("--hold-share", _share, 0.5, "How often a buyer has tickets held, and pays, instead of buying"),
        ("--cart-share", _share, 0.1, "How often a buyer puts tickets of two events into one cart; 0: one event"),
        *_HOLDING,
    ),
    "pay": _HOLDING,
}
"""What a workload has beside what all have."""
