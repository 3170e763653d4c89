"""The options of the locust files, in locust's own way: on the command line and in the web page's form.

Locust prints ``--help`` before it reads the locust file, so these are not in it; ``--help-sale`` shows them.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from functools import partial
from typing import Any

import click

from loadtests.lab.exit_status import EXIT_USAGE
from loadtests.lab.experiment.knobs import BY_NAME, of_locust_files
from loadtests.lab.knob import Knob, Real

OF_LOCUST = ("num_users", "spawn_rate", "run_time", "processes", "stop_timeout")


def add_options(parser: Any, workloads: Sequence[str]) -> None:
    """Add the options of some workloads, and defaults of locust's own with which a bare ``locust -f`` does something.

    Those that several workloads have are one option.
    """
    _add_own(parser, workloads)
    # The status 2 of argparse would mean that the sale is undecided.
    ends = parser.exit
    parser.exit = lambda status=0, message=None: ends(EXIT_USAGE if status == 2 else status, message)
    # A user who is to stop finishes the request under way. Locust's page can start load, and a master accepts every
    # machine as a worker: here only this machine reaches both, unless --web-host or --master-bind-host say otherwise.
    parser.set_defaults(stop_timeout=10.0, num_users=BY_NAME["buyers"].default, spawn_rate=100)
    parser.set_defaults(web_host="127.0.0.1", master_bind_host="127.0.0.1")


def locust_file(workloads: Sequence[str]) -> str:
    """The argument of locust's ``-f`` for some workloads."""
    return ",".join(f"loadtests/{workload}.py" for workload in workloads)


def _add_own(parser: Any, workloads: Sequence[str]) -> None:
    group = parser.add_argument_group("Last Seat", "The sale, its buyers, and where the results go.")
    group.add_argument("--help-sale", action=_HelpSale, nargs=0, help="Show these options and exit", const=workloads)
    for knob in of_locust_files(workloads).values():
        default = knob.default if knob.by_hand is None else knob.by_hand
        choices = knob.kind.choices if isinstance(knob.kind, click.Choice) else None
        between = f"{knob.kind.min} to {knob.kind.max}, " if isinstance(knob.kind, click.IntRange | Real) else ""
        is_number = between or knob.kind is click.INT
        action = group.add_argument(
            knob.option,
            type=partial(_read, knob),
            default=default,
            choices=choices,
            metavar=None if choices else "<number>" if is_number else f"<{knob.kind.name}>",
            help=f"{knob.says.rstrip('.')} ({between}default {default})",
        )
        # What locust's own parser sets where no group is used: show it in the form of the web page.
        action.include_in_web_ui = choices is None
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


def _read(knob: Knob, text: str) -> Any:
    try:
        return knob.read(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"invalid value: {error}") from None
