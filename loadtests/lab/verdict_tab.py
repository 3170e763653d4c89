"""The verdict as a tab of locust's web page, and the report of the last run at ``/last-seat/report``.

Locust's page asks for numbers every two seconds while the test runs, and never again once it hears that the test has
stopped. So the page is told "running" until the verdict is there: the answer that says "stopped" brings it along.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from flask import Blueprint, Response, request, send_from_directory

from loadtests.lab.paths import shown
from loadtests.lab.report.words import found, headline, numbers

if TYPE_CHECKING:
    from loadtests.lab.load import LoadTest

_TAB = "last-seat"


def add_verdict_tab(web_ui: Any, test: LoadTest) -> None:
    """Add the tab to the page and the report to its download list."""
    web_ui.template_args |= {
        "extended_tabs": [{"title": "Verdict", "key": _TAB}],
        "extended_tables": [
            {"key": _TAB, "structure": [{"key": "what", "title": "Last Seat"}, {"key": "value", "title": ""}]}
        ],
        "extended_csv_files": [
            {"href": "./last-seat/report.html", "title": "Open the report of the last sale"},
            {"href": "./last-seat/verdict.json", "title": "Download its verdict (JSON)"},
        ],
    }
    pages = Blueprint("last_seat", __name__, url_prefix=f"{test.options.web_base_path or ''}/last-seat")

    @pages.route("/<any('report.html','verdict.json'):name>")
    @web_ui.auth_required_if_enabled  # type: ignore[untyped-decorator]
    def result(name: str) -> Response:
        conclusion = test.conductor.conclusion if test.conductor else None
        if conclusion is None:
            return Response("There is no verdict yet: it is drawn when a test has ended.\n", 404)
        return send_from_directory(conclusion.folder, name)

    @web_ui.app.after_request  # type: ignore[untyped-decorator]
    def bring_verdict(response: Response) -> Response:
        if request.path.endswith("/stats/requests") and response.is_json:
            state = "running" if test.judging else test.runner.state
            extended = [{"key": _TAB, "data": rows(test)}]
            response.set_data(
                msgspec.json.encode({**(response.json or {}), "state": state, "extended_stats": extended})
            )
        return response

    web_ui.app.register_blueprint(pages)


def rows(test: LoadTest) -> list[dict[str, str]]:
    """The tab's table. Locust sorts rows by ``name``, which is not shown: it keeps them in this order."""
    lines: list[tuple[str, str]] = []
    if test.trouble:
        lines = [("not started", test.trouble)]
    elif test.conductor is None:
        lines = [("no test yet", "Start a test: a fresh event is put on sale, and judged when it is sold out.")]
    elif test.conductor.conclusion is None:
        lines = [("event", " and ".join(test.conductor.notice.events)), ("verdict", "drawn when the sale is over")]
    else:
        conclusion = test.conductor.conclusion
        lines = [
            ("verdict", headline(conclusion.verdict)),
            ("event", " and ".join(test.conductor.notice.events)),
            *numbers(conclusion.verdict),
            *(("found", finding) for finding in found(conclusion.verdict)),
            *(("note", note) for note in conclusion.notes),
            ("results", shown(conclusion.folder)),
        ]
    return [{"name": f"{number:03}", "what": what, "value": value} for number, (what, value) in enumerate(lines)]
