"""``lastseat where``: the files that came with this installation, for those who have no checkout."""

from __future__ import annotations

from pathlib import Path

import click

from loadtests.lab.experiment.knobs import WORKLOADS
from loadtests.lab.paths import EXAMPLES


def places() -> dict[str, Path]:
    return {kind.locust_file: kind.path for kind in WORKLOADS.values()} | {"examples": EXAMPLES}


@click.command(
    epilog="""\b
Examples:
  locust -f "$(lastseat where buy)" --headless
  lastseat run --target "$(lastseat where examples)/corner_shop.toml"
"""
)
@click.argument("name", required=False, type=click.Choice(list(places())))
def where(*, name: str | None) -> None:
    """Print where the locust files and the examples are: one path, or all.

    In the checkout they are `loadtests/*.py` and `examples/`.
    """
    if name is not None:
        click.echo(places()[name])
        return
    for each, path in places().items():
        click.echo(f"{each:<10}{path}")
