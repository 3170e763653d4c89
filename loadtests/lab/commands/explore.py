"""``lastseat explore``: every order in which a few purchases can pass the service's gates."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.text import Text

from loadtests.lab.commands import options, output
from loadtests.lab.explore.drawing import draw, table
from loadtests.lab.explore.execution import DEFAULT_GATES, Stuck
from loadtests.lab.explore.exploration import Explored, Scenario, run, schedule_runner
from loadtests.lab.explore.page import report
from loadtests.lab.explore.replay import GATE_LETTERS, check_case, check_gates, parse
from loadtests.lab.explore.schedules import Chooser, Diverged, pct_bound
from loadtests.lab.explore.trace import Step
from loadtests.lab.paths import new_results_folder
from loadtests.lab.protocol.admin_api import OfficeError
from loadtests.lab.report.text import counted
from loadtests.lab.servers import process
from loadtests.lab.servers.office import NotReady

_CASE = Scenario()


@click.command()
# The office itself says which guards and stores there are.
@options.setting("guard", default=_CASE.guard, kind=click.STRING)
@options.setting("store", f"The store: {_CASE.store}, …", default=_CASE.store, kind=click.STRING)
@options.setting("worker", default=_CASE.worker)
@options.setting("buyers", "How many buyers, 2 to 8.", default=_CASE.buyers, kind=click.INT)
@click.option("--tickets", type=int, default=1, show_default=True, help="How many tickets there are.")
@click.option("--gates", default=",".join(DEFAULT_GATES), show_default=True, help=f"Of: {', '.join(GATE_LETTERS)}.")
@click.option("--kill", is_flag=True, help="The scheduler may also kill -9 a buyer's worker at a gate, once a run.")
@click.option("--pause", is_flag=True, help="The scheduler may also stop a buyer's worker at a gate, once a run.")
@options.option("--most", click.IntRange(1), "Most schedules to try.", default=_CASE.most)
@options.option("--walks", click.IntRange(0), "Random walks with priorities instead of all schedules.", _CASE.walks)
@options.option("--depth", click.IntRange(1, 8), "Orderings a walk looks for.", default=_CASE.depth)
@options.setting("seed", "Of the first walk.", default=_CASE.seed)
@click.option("--replay", "replay_id", help="Play one schedule again, by its id.")
@click.option("--step", is_flag=True, help="With --replay: wait for Enter before each step.")
@click.option("--serve", is_flag=True, help="A page on which you are the scheduler.")
@options.option("--port", click.IntRange(0, 65535), "Of --serve; 0: any free.", default=8090)
@options.results()
@click.option("--json", "as_json", is_flag=True, help="The result as JSON on standard output.")
def explore(*, as_json: bool, replay_id: str | None, step: bool, results: str, **given: Any) -> int:
    """Try every order in which a few purchases can pass the service's gates, on the real code.

    Exits 0 if the guard did what it promises (none goes wrong, a safe one never does), 1 if not, 2 if undecided.

    \b
    Examples:
      lastseat explore                              no lock: the schedule that sells one seat twice
      lastseat explore --guard file                 all schedules valid, and how many there were
      lastseat explore --guard thread --worker gevent
      lastseat explore --guard file --kill          with kill -9 at every gate
      lastseat explore --buyers 4 --walks 200       too many to try all: random walks
      lastseat explore --replay 1.json.none.2x1.avpw.AABBBBAA --step
      lastseat explore --serve                      you are the scheduler
    """
    serve, port = given.pop("serve"), given.pop("port")
    try:
        given["gates"] = check_gates([name.strip() for name in given["gates"].split(",") if name.strip()])
        if replay_id is not None:
            wanted = parse(replay_id)
            given |= {"store": wanted.store, "guard": wanted.guard, "buyers": wanted.buyers}
            given |= {"tickets": wanted.tickets, "gates": wanted.gates}
            given["kill"] |= any(token.islower() for token in wanted.prefix)
            given["pause"] |= any(token.startswith("-") for token in wanted.prefix)
        check_case(given["buyers"], given["tickets"])
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    case = Scenario(**given)
    try:
        with process.sigterm_as_interrupt():
            if serve:
                from loadtests.lab.explore.interactive import serve_page

                return serve_page(case, port)
            if replay_id is not None:
                return _play_again(case, replay_id, step=step, as_json=as_json)
            return _explore(case, results, as_json=as_json)
    except (NotReady, OfficeError, Stuck) as error:
        raise click.ClickException(str(error)) from None


def _explore(case: Scenario, results: str, *, as_json: bool) -> int:
    console = Console(stderr=True)
    began = time.monotonic()
    with console.status("starting the service …") as status:

        def tell(explored: Explored) -> None:
            status.update(f"{explored.schedules} schedules, {explored.failing} failing")

        explored = run(case, tell)
    seconds = time.monotonic() - began
    folder = new_results_folder(results, "explore")
    (folder / "explored.json").write_text(json.dumps(summary(explored), indent=1) + "\n", encoding="utf-8")
    (folder / "report.html").write_text(report(explored), encoding="utf-8")
    if explored.first is not None:
        title = f"The losing schedule: guard {case.guard}"
        (folder / "schedule.svg").write_text(draw(explored.first.steps, case.buyers, title), encoding="utf-8")
    if as_json:
        click.echo(json.dumps(summary(explored)))
    else:
        _show(explored, seconds, folder)
    if explored.undecided and not explored.failing:
        return 2
    return 0 if explored.met else 1


def summary(explored: Explored) -> dict[str, Any]:
    """The result for scripts."""
    built: dict[str, Any] = msgspec.to_builtins(explored, str_keys=True)
    del built["anomalies"], built["example"]
    return built | {"verdict": explored.verdict, "kept": explored.met}


def _show(explored: Explored, seconds: float, folder: Path) -> None:
    console, case = Console(), explored.case
    by = ", ".join(f"{count} with {n}" for n, count in sorted(explored.by_preemptions.items()))
    console.print(
        f"{case.buyers} buyers, {counted(case.tickets, 'ticket')}, guard [bold]{case.guard}[/], store "
        f"{case.store}, {case.worker}: {explored.schedules} schedules in {seconds:.1f} s (preemptions: {by})"
    )
    if case.walks:
        bound = pct_bound(case.buyers, case.buyers * len(case.gates), case.depth)
        console.print(
            f"Random walks: each finds a bug that needs {case.depth} orderings with probability {bound:.2g} or more."
        )
    elif not explored.whole:
        console.print(f"[yellow]Not all were tried: --most {case.most} was reached.[/]")
    if explored.first is None:
        console.print(f"[bold green]No violation found in any of {explored.schedules} schedules.[/]")
    else:
        first = explored.first
        preemptions = counted(first.preemptions, "preemption")
        console.print(f"[bold red]{explored.failing} of them go wrong.[/] The first, with {preemptions}:\n")
        console.print(table(first.steps, case.buyers))
        console.print(Text(f"\n{first.why}", "red"))
        console.print(f"again: lastseat explore --replay {first.replay} --worker {case.worker}", soft_wrap=True)
    if not explored.met:
        console.print(f"[bold red]Guard {case.guard} did not do what it promises here.[/]")
    output.say_report(console, folder / "report.html")


def _play_again(case: Scenario, replay_id: str, *, step: bool, as_json: bool) -> int:
    console = Console()
    told = 0

    def show_steps(steps: list[Step]) -> None:
        nonlocal told
        for each in steps[told:]:
            console.print(Text(f"{each.buyer}  {each.text}", "bold red" if each.wrong else ""))
        told = len(steps)
        click.prompt("[Enter]", default="", show_default=False, prompt_suffix="")

    with schedule_runner(case) as runner:
        if step and not as_json:
            runner.on_decision = show_steps
        try:
            executed = runner.execute(Chooser(parse(replay_id).prefix))
        except Diverged as error:
            raise click.ClickException(f"the service did not follow this schedule: {error}. Explore again.") from None
    explored = Explored(case=case)
    explored.add(executed)
    if as_json:
        click.echo(json.dumps(summary(explored)))
    else:
        console.print(table(executed.steps, case.buyers))
        word = "goes wrong" if executed.failing else "no violation found"
        why = executed.stuck or (executed.verdict.why if executed.verdict else "")
        console.print(Text(f"\n{word}: {why}", "bold red" if executed.failing else "bold green"))
    return 1 if executed.failing else 0
