"""The command ``lastseat``: a group of verbs, each loaded only when it is used.

A verb is one line in ``VERBS``: its name, the import string of a Click command, and the line that ``--help`` shows.
Loading lazily keeps ``lastseat --help`` instant, and keeps one verb's imports (locust patches the standard library with
gevent as soon as it is imported) out of every other. For the verbs of the office and of the workers the string is the
seam, too: the lab imports neither package, and a checkout has a new verb at once, as it would not have a new entry
point before it is installed again.
"""

from __future__ import annotations

import pkgutil

import click

from loadtests.lab.exit_status import run_command

# name: (import string of the Click command, the line that --help shows)
VERBS: dict[str, tuple[str, str]] = {
    "demo": ("loadtests.lab.commands.demo:demo", "The proof: guard off and on, under each worker class."),
    "run": (
        "loadtests.lab.commands.run:run",
        "One experiment, of this office or any other service, judged and reported.",
    ),
    "target": ("loadtests.lab.commands.target:target", "A file for another service: begun, and tried without load."),
    "serve": ("workers.serve:serve", "The ticket office under gunicorn, by worker model."),
    "lock": ("loadtests.lab.commands.lock:lock", "Switch the guard of a running office on or off."),
    "explore": ("loadtests.lab.commands.explore:explore", "Every order in which two purchases can interleave."),
    "compare": (
        "loadtests.lab.commands.compare:compare",
        "The matrix: guards × stores × worker models × processes × delays, right or wrong beside fast.",
    ),
    "faults": (
        "loadtests.lab.commands.faults:faults",
        "What can be made to go wrong in a sale; and stores × faults: held, refused or lost.",
    ),
    "bench": (
        "loadtests.lab.commands.bench:bench",
        "Sold tickets a second against the ceilings and the peers, in pairs.",
    ),
    "lesson": ("workers.lessons.command:lesson", "The lessons: what is said about concurrency, measured."),
    "exercise": ("workers.exercises.command:exercise", "Exercises on concurrency that grade themselves."),
    "journal": ("service.commands.journal:journal", "Verify, show and repair the journals of the store `journal`."),
    "store": ("service.commands.store:store", "Set up PostgreSQL, Valkey or Redis for the office."),
    "check": ("loadtests.lab.commands.check:check", "Judge a recorded history again."),
    "saturate": ("loadtests.lab.commands.saturate:saturate", "The rate of arrivals at which goodput stops growing."),
    "record": ("loadtests.lab.commands.record:record", "A proxy: what passes through it is recorded and judged."),
    "import": ("loadtests.lab.commands.import_:import_", "Make a history out of the records of another tool."),
    "where": ("loadtests.lab.commands.where:where", "Where the locust files and the examples are."),
}


class LazyGroup(click.Group):
    """A Click group whose commands are import strings until somebody asks for one."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        command: click.Command = pkgutil.resolve_name(VERBS[cmd_name][0])
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in VERBS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="lastseat", message="lastseat %(version)s")
def lastseat() -> None:
    """Sells the last seat once, and shows what happens to those who don't.

    \b
    Examples:
      lastseat demo                     the proof, with a report
      lastseat serve --worker gevent    the office on http://127.0.0.1:8000
      lastseat lock off                 take the lock away while it runs
    """


def main() -> None:
    """Entry point of ``lastseat``: ends the process with the exit status."""
    run_command(lastseat)
