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
from loadtests.lab.commands.exploration import all_scenarios, game
from loadtests.lab.commands.options import Parsed
from loadtests.lab.explore.drawing import draw, table
from loadtests.lab.explore.exploration import ExplorationResult, Scenario, run, schedule_runner
from loadtests.lab.explore.failures import FAILURES
from loadtests.lab.explore.page import report
from loadtests.lab.explore.programs import WORDS, parse_programs
from loadtests.lab.explore.reason import Reason
from loadtests.lab.explore.replay import GATE_LETTERS, check_case, check_gates, check_programs, parse
from loadtests.lab.explore.scenarios import SCENARIOS
from loadtests.lab.explore.schedules import Chooser, Diverged, pct_bound
from loadtests.lab.explore.settling import Stuck
from loadtests.lab.explore.trace import TraceStep
from loadtests.lab.paths import new_results_folder
from loadtests.lab.protocol.admin_api import OfficeError
from loadtests.lab.report.text import counted
from loadtests.lab.servers import process
from loadtests.lab.servers.office import NotReady

_CASE = Scenario()


def _failures(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    unknown = [name for name in names if name not in FAILURES]
    if unknown:
        raise ValueError(f"there is no failure {unknown[0]!r}; they are: {', '.join(FAILURES)}")
    return names


@click.command()
# The office itself says which guards and stores there are.
@options.setting("guard", default=_CASE.guard, kind=click.STRING)
@options.setting("store", f"The store: {_CASE.store}, …", default=_CASE.store, kind=click.STRING)
@options.setting("worker", default=_CASE.worker)
@options.option("--scenario", click.STRING, "What the buyers do, by name; see --scenarios.", note="buy")
@click.option("--script", "scripts", multiple=True, help="What one buyer does, e.g. “A: hold, confirm”; 2 to 4 times.")
@click.option("--scenarios", "lists", is_flag=True, help="List the scenarios, and the operations of a script.")
@options.setting("buyers", "How many buyers, 2 to 8, of scenario buy.", default=_CASE.buyers, kind=click.INT)
@options.option("--tickets", click.INT, "How many tickets there are.", note="the scenario's, else 1")
@options.option("--gates", click.STRING, f"Of: {', '.join(GATE_LETTERS)}.", note="the scenario's")
@click.option("--kill", is_flag=True, help="The scheduler may also kill -9 a buyer's worker at a gate, once a run.")
@click.option("--pause", is_flag=True, help="The scheduler may also stop a buyer's worker at a gate, once a run.")
@options.option("--may", Parsed("failures", _failures), f"What may fail, once a run, of: {', '.join(FAILURES)}.")
@options.option("--most", click.IntRange(1), "Most schedules to try.", default=_CASE.most)
@options.option("--walks", click.IntRange(0), "Random walks with priorities instead of all schedules.", _CASE.walks)
@options.option("--depth", click.IntRange(1, 8), "Orderings a walk looks for.", default=_CASE.depth)
@options.setting("seed", "Of the first walk.", default=_CASE.seed)
@click.option(
    "--no-prune", "prune", is_flag=True, default=True, flag_value=False, help="Try orders of independent steps too."
)
@click.option("--replay", "replay_id", help="Play one schedule again, by its id.")
@click.option("--step", is_flag=True, help="With --replay: wait for Enter before each step.")
@all_scenarios.add
@game.add
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
      lastseat explore --scenarios                  what else buyers can do, in words
      lastseat explore --scenario expiry            a hold ends while it is confirmed
      lastseat explore --scenario late-payment --most 60
      lastseat explore --scenario retry             a request is sent again while the first is under way
      lastseat explore --scenario cart              a cart against a purchase
      lastseat explore --scenario cart-deadlock --guard file
      lastseat explore --scenario seats             two want the same seat
      lastseat explore --scenario sweep             the sweeper ends a hold while it is confirmed
      lastseat explore --scenario switch --most 60  the guard is switched while two buy
      lastseat explore --script "A: hold, release" --script "B: buy" --most 60
      lastseat explore --guard file --may disk,lost-answer --most 20
      lastseat explore --replay 1.json.none.2x1.avpw.AABBBBAA --step
      lastseat explore --all --budget 2m            every scenario over every store and guard, as far as that goes
      lastseat explore --serve                      a game whose player is the scheduler
      lastseat explore --export game.html           the game in one file
    """
    play = game.take(given)
    if given.pop("lists"):
        return _list_scenarios()
    try:
        everything = all_scenarios.take(given, _checked, results, as_json=as_json)
        case = _CASE if everything else _checked(given, replay_id)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    try:
        with process.sigterm_as_interrupt():
            if everything is not None:
                return everything()
            if play is not None:
                return play(case.worker)
            if replay_id is not None:
                return _play_again(case, replay_id, step=step, as_json=as_json)
            return _explore(case, results, as_json=as_json)
    except (NotReady, OfficeError, Stuck) as error:
        raise click.ClickException(str(error)) from None
    except Diverged as error:
        raise click.ClickException(f"the service did not do the same again: {error}. Nothing was written.") from None


def _checked(given: dict[str, Any], replay_id: str | None = None) -> Scenario:
    """As ``_case``, and it can be played."""
    case = _case(given, replay_id)
    check_case(case.buyers, case.tickets)
    check_programs(case.programs, case.gates)
    case.check()
    return case


def _case(given: dict[str, Any], replay_id: str | None) -> Scenario:
    """The case that is asked for. Raises ``ValueError`` in words."""
    scenario, scripts = given.pop("scenario"), given.pop("scripts")
    given["may"] = given["may"] or ()
    for name in ("tickets", "gates"):
        if given[name] is None:
            del given[name]
    if "gates" in given:
        given["gates"] = check_gates([name.strip() for name in given["gates"].split(",") if name.strip()])
    if replay_id is not None:
        return Scenario.of_replay(parse(replay_id), **given)
    if scripts and scenario:
        raise ValueError("give either --scenario or --script, not both; nothing was started")
    if scripts:
        return Scenario.of_programs(parse_programs(scripts), **given)
    if scenario in {None, "buy"}:
        return Scenario(**given)
    del given["buyers"]
    return Scenario.of(scenario, **given)


def _list_scenarios() -> int:
    for name, script in SCENARIOS.items():
        click.echo(f"{name:14} {script.about}")
        for buyer, text in zip("ABCD", script.programs, strict=False):
            click.echo(f"{'':14}   {buyer}: {text}")
    click.echo("\nThe operations of a script; what stands before a semicolon has happened when the exploration begins:")
    for verb, meaning in WORDS.items():
        click.echo(f"  {verb:9} {meaning}")
    return 0


def _explore(case: Scenario, results: str, *, as_json: bool) -> int:
    console = Console(stderr=True)
    if not case.walks and case.orders > case.most:
        one = (
            ", and of those that differ only in independent steps one is tried"
            if case.prune and case.dependence
            else ""
        )
        console.print(
            f"[yellow]About {case.orders:,} schedules, fewer where a lock lets nobody in{one}. At most {case.most:,} "
            "are tried, those with few preemptions first. `--most` tries more; `--walks 200` tries random ones.[/]"
        )
    began = time.monotonic()
    with console.status("starting the service …") as status:

        def tell(explored: ExplorationResult) -> None:
            status.update(f"{explored.schedules} schedules, {explored.failing} failing")

        explored = run(case, tell)
    seconds = time.monotonic() - began
    folder = new_results_folder(results, "explore")
    (folder / "explored.json").write_text(json.dumps(summary(explored), indent=1) + "\n", encoding="utf-8")
    (folder / "report.html").write_text(report(explored), encoding="utf-8")
    if explored.first is not None:
        title = f"The losing schedule: guard {case.guard}"
        drawing = draw(explored.first.steps, case.buyers, title, reason=explored.first.reason)
        (folder / "schedule.svg").write_text(drawing, encoding="utf-8")
    if as_json:
        click.echo(json.dumps(summary(explored)))
    else:
        _show(explored, seconds, folder)
    if explored.undecided and not explored.failing:
        return 2
    return 0 if explored.met else 1


def summary(explored: ExplorationResult) -> dict[str, Any]:
    """The result for scripts."""
    built: dict[str, Any] = msgspec.to_builtins(explored, str_keys=True)
    del built["anomalies"], built["example"]
    return built | {"verdict": explored.verdict, "kept": explored.met}


def _show(explored: ExplorationResult, seconds: float, folder: Path) -> None:
    console, case = Console(), explored.case
    if case.told:
        console.print(Text(case.told))
    by = ", ".join(f"{count} with {n}" for n, count in sorted(explored.by_preemptions.items()))
    console.print(
        f"{case.named}{case.buyers} buyers, {counted(case.tickets, 'ticket')}, guard [bold]{case.guard}[/], store "
        f"{case.store}, {case.worker}: {explored.schedules} schedules in {seconds:.1f} s (preemptions: {by})"
    )
    if case.walks:
        bound = pct_bound(case.buyers, sum(case.lengths), case.depth)
        console.print(
            f"Random walks: each finds a bug that needs {case.depth} orderings with probability {bound:.2g} or more."
        )
    elif explored.pruned:
        console.print(
            f"{explored.pruned} others differ only in steps that do not depend on each other: --no-prune tries them."
        )
    elif explored.cut:
        console.print(
            f"{explored.cut} more were cut: they began to differ only in steps that do not depend on each other."
        )
    if not explored.whole and not case.walks:
        console.print(f"[yellow]Not all were tried: --most {case.most} was reached.[/]")
    if explored.first is None:
        console.print(f"[bold green]No violation found in any of {explored.schedules} schedules.[/]")
    else:
        first = explored.first
        preemptions = counted(first.preemptions, "preemption")
        console.print(f"[bold red]{explored.failing} of them go wrong.[/] The first, with {preemptions}:\n")
        console.print(table(first.steps, case.buyers, first.reason))
        console.print(Text(f"\n{first.why}", "red"))
        _say_why(console, first.reason)
        console.print(f"again: lastseat explore --replay {first.replay} --worker {case.worker}", soft_wrap=True)
    if not explored.met:
        console.print(f"[bold red]Guard {case.guard} did not do what it promises here.[/]")
    output.say_report(console, folder / "report.html")


def _play_again(case: Scenario, replay_id: str, *, step: bool, as_json: bool) -> int:
    console = Console()
    told = 0

    def show_steps(steps: list[TraceStep]) -> None:
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
    explored = ExplorationResult(case=case)
    explored.add(executed)
    if as_json:
        click.echo(json.dumps(summary(explored)))
    else:
        reason = explored.first.reason if explored.first else None
        console.print(table(executed.steps, case.buyers, reason))
        word = "goes wrong" if executed.failing else "no violation found"
        why = executed.stuck or (executed.verdict.why if executed.verdict else "")
        console.print(Text(f"\n{word}: {why}", "bold red" if executed.failing else "bold green"))
        if reason is not None:
            _say_why(console, reason)
    return 1 if executed.failing else 0


def _say_why(console: Console, reason: Reason) -> None:
    console.print(Text(f"Why{': ' + reason.kind if reason.kind else ''}.", "bold"))
    for sentence in reason.sentences:
        console.print(Text(f"  {sentence}"), soft_wrap=True)
