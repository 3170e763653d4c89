"""What has to be said beside the tables: what went wrong, how sure the figures are, what they were measured on."""

from __future__ import annotations

from loadtests.lab.bench.results import Results, not_available
from loadtests.lab.bench.tables import program_of, shape_of


def notes(results: Results) -> list[str]:
    """What has to be known to read the tables; the alarming first, with ``!``."""
    measured = [*results.cells, *results.ceilings]
    found = [f"! {problem}" for problem in results.problems]
    found += [
        f"! the load generator was the bottleneck: {shape_of(each)}, {each.program}, {each.clients} clients"
        for each in measured
        if each.generator_saturated
    ]
    found += [f"! not measured: {line}" for line in not_available([each for each in results.missing if each.failed])]
    found += [f"not offered: {line}" for line in not_available([each for each in results.missing if not each.failed])]
    generator = results.generator
    if measured and generator is not None:
        busiest = max(measured, key=lambda each: each.generator_cpu)
        fastest = max(each.sold_per_s for each in measured)
        found.append(
            f"The load generator does {generator.requests_per_s:,.0f} requests a second against a server that does "
            f"nothing ({generator.cpu_us:.0f} µs of CPU each), {generator.requests_per_s / fastest:.0f} times the "
            f"fastest rate here; it used at most {busiest.generator_cpu:.0%} of one core ({shape_of(busiest)}, "
            f"{program_of(busiest)})."
        )
    nulls = [each for each in results.ceilings if each.store == "stubbed"]
    if nulls:
        found.append(
            f"Medians of {len(nulls[0].ratios)} pairs in ABBA order, 95 % bootstrap intervals. The ceiling is the same "
            "application with the decision stubbed. Against itself it should be 1: what it is instead is what a ratio "
            "is worth here."
        )
    return found


def machine_in_words(results: Results) -> str:
    """One line for the machine."""
    return f"{results.machine.in_words.removesuffix('.')}; load average before the run {results.load_before:.2f}."
