"""What an exploration found, as one page that opens offline."""

from __future__ import annotations

from html import escape

from loadtests.lab.explore import drawing
from loadtests.lab.explore.exploration import Explored

_CSS = """
:root{color-scheme:light dark;--ground:#f6f4ef;--paper:#fff;--ink:#1c1b19;--soft:#6b675f;--line:#ddd8cd;--good:#1f6b3f;--bad:#a1281d}
@media (prefers-color-scheme:dark){:root{--ground:#161513;--paper:#211f1c;--ink:#f1eee7;--soft:#a8a297;--line:#3a3732;--good:#7fd0a0;--bad:#f09084}}
body{margin:0;background:var(--ground);color:var(--ink);font:17px/1.55 system-ui,sans-serif}
main{max-width:58rem;margin:0 auto;padding:2rem 1.25rem 4rem}
figure{margin:1.2rem 0;border:1px solid var(--line);border-radius:.6rem;overflow:auto}
figure svg{display:block;width:100%;height:auto;min-width:40rem}
.verdict{font-size:1.2rem;font-weight:700}.good{color:var(--good)}.bad{color:var(--bad)}
code{background:var(--paper);border:1px solid var(--line);border-radius:.3rem;padding:.1rem .4rem;overflow-wrap:anywhere}
table{border-collapse:collapse}td,th{padding:.2rem 1rem .2rem 0;text-align:right;border-bottom:1px solid var(--line)}
"""


def report(explored: Explored) -> str:
    """The verdict first, then the schedule that lost (or one that did not), then how many there were."""
    case = explored.case
    if explored.first is not None:
        head = (
            f'<p class="verdict bad">{explored.failing} of {explored.schedules} schedules go wrong.</p>'
            f"<p>The first of them, with {explored.first.preemptions} preemption(s): {escape(explored.first.why)}.</p>"
        )
        steps, title = explored.first.steps, f"The losing schedule: guard {case.guard}"
        again = f"lastseat explore --replay {explored.first.replay} --worker {case.worker}"
        foot = f"<p>Play it again: <code>{escape(again)}</code></p>"
    else:
        head = f'<p class="verdict good">No violation found in any of {explored.schedules} schedules.</p>'
        steps, title, foot = explored.example, f"One of the schedules: guard {case.guard}", ""
    rows = "".join(f"<tr><td>{n}</td><td>{count}</td></tr>" for n, count in sorted(explored.by_preemptions.items()))
    whole = "" if explored.whole else "<p>Not all schedules were tried.</p>"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Explored: guard {escape(case.guard)} · Last Seat</title><style>{_CSS}</style></head><body><main>"
        f"<h1>{case.buyers} buyers, {case.tickets} ticket{'s' * (case.tickets > 1)}, guard {escape(case.guard)}</h1>"
        f"{head}<figure>{drawing.svg(steps, case.buyers, title)}</figure>{foot}"
        f"<h2>How many there were</h2><p>Store {escape(case.store)}, worker model {escape(case.worker)}, gates "
        f"{', '.join(case.gates)}. A preemption takes the turn from a buyer who could have gone on.</p>{whole}"
        f"<table><thead><tr><th>preemptions</th><th>schedules</th></tr></thead><tbody>{rows}</tbody></table>"
        "</main></body></html>\n"
    )
