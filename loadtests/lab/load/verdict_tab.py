"""The verdict as a tab of locust's web page, and the report of the last run at ``/last-seat/report``.

Locust's page asks for numbers every two seconds while the test runs, and never again once it hears that the test has
stopped. So the page is told "running" until the verdict is there: the answer that says "stopped" brings it along.

Locust lets every site read its page and post to it, and accepts every option of the command line in a form, whatever
its value. Here the page could use the lab's admin token. So ``same_site`` guards the whole page, and the form accepts
only the fields that it shows, within the bounds of the command line. Only the command line decides where load and token
go, and which files are read and written.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

import msgspec
from flask import Blueprint, Response, jsonify, request, send_from_directory
from locust.argument_parser import ui_extra_args_dict

from loadtests.lab.experiment.knobs import BY_NAME
from loadtests.lab.load.roles import CoordinatorRole
from loadtests.lab.paths import shown
from loadtests.lab.protocol.same_site import OF_EVERY_ANSWER, OTHER_SITE, refusal
from loadtests.lab.report.text import found, headline, numbers

_TAB = "last-seat"
_OF_THE_FORM = frozenset({"user_count", "spawn_rate", "run_time", "profile", "host", "user_classes", "shape_class"})
_OF_A_USER = frozenset({"user_class_name", "host", "weight", "fixed_count", "tasks"})
_MOST_BYTES = 64 << 10

Start = Callable[..., Any]


def add_verdict_tab(web_ui: Any, role: CoordinatorRole) -> None:
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
    pages = Blueprint("last_seat", __name__, url_prefix=f"{role.options.web_base_path or ''}/last-seat")

    @pages.route("/<any('report.html','verdict.json'):name>")
    @web_ui.auth_required_if_enabled  # type: ignore[untyped-decorator]
    def result(name: str) -> Response:
        conclusion = role.coordinator.conclusion if role.coordinator else None
        if conclusion is None:
            return Response("There is no verdict yet: it is drawn when a test has ended.\n", 404)
        return send_from_directory(conclusion.folder, name)

    @web_ui.app.after_request  # type: ignore[untyped-decorator]
    def bring_verdict(response: Response) -> Response:
        if request.path.endswith("/stats/requests") and response.is_json:
            state = "running" if role.judging else role.runner.state
            extended = [{"key": _TAB, "data": rows(role)}]
            response.set_data(
                msgspec.json.encode({**(response.json or {}), "state": state, "extended_stats": extended})
            )
        return response

    web_ui.app.register_blueprint(pages)
    _take_only_what_is_shown(web_ui.app, role)
    web_ui.app.wsgi_app = Door(web_ui.app.wsgi_app, {web_ui.host, role.options.web_host_display_name})


class Door:
    """A WSGI application around locust's own: it refuses requests of other sites, and does not let them read."""

    def __init__(self, wsgi: Callable[[dict[str, Any], Start], Iterable[bytes]], names: Collection[str]) -> None:
        self._wsgi = wsgi
        self._names = names

    def __call__(self, environ: dict[str, Any], start_response: Start) -> Iterable[bytes]:
        host, site, origin = map(environ.get, ("HTTP_HOST", "HTTP_SEC_FETCH_SITE", "HTTP_ORIGIN"))
        refused = refusal(environ["REQUEST_METHOD"], host, site, origin, self._names)

        def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            own = [each for each in headers if not each[0].lower().startswith("access-control-")]
            return start_response(status, own + list(OF_EVERY_ANSWER.items()), *rest)

        if refused is None:
            return self._wsgi(environ, start)
        return Response(refused[1], refused[0], mimetype="text/plain")(environ, start)


def _take_only_what_is_shown(app: Any, role: CoordinatorRole) -> None:
    app.config["MAX_CONTENT_LENGTH"] = _MOST_BYTES
    fields = _OF_THE_FORM | set(ui_extra_args_dict())

    @app.before_request  # type: ignore[untyped-decorator]
    def look_at_the_form() -> Response | None:
        """The settings of a user class come as JSON; whatever else changes something comes as a form."""
        given: dict[str, Any] = dict(request.form)
        known = fields
        if request.path.endswith("/user"):
            known = _OF_A_USER
            try:
                given = msgspec.json.decode(request.data or b"{}", type=dict[str, Any])
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                given = {"a body that is no JSON": ""}
        wrong = sorted(given.keys() - known)
        if "host" in given and given["host"] not in ("", None) and str(given["host"]).rstrip("/") != role.url:
            wrong.append("host")
        if wrong:
            message = (
                f"{', '.join(wrong)}: this page does not change that; nothing was started. End locust and say it on "
                f"its command line. It loads {role.url}."
            )
        elif outside := [*_outside(given)]:
            message = f"{' '.join(outside)} Nothing was started. Correct it, and start again."
        else:
            return None
        # Locust's page shows a message that comes like this, and an error of HTTP not at all.
        answer: Response = jsonify({"success": False, "message": message, "host": role.url})
        answer.status_code = OTHER_SITE if known is _OF_A_USER else 200
        return answer


def _outside(given: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with a form's values. Locust checks the command line's values only."""
    for name, value in given.items():
        if name in BY_NAME and BY_NAME[name].of_locust:
            try:
                BY_NAME[name].read(value)
            except ValueError as error:
                yield f"{name}: {error}"


def rows(role: CoordinatorRole) -> list[dict[str, str]]:
    """The tab's table. Locust sorts rows by ``name``, which is not shown: numbers keep them in this order."""
    lines: list[tuple[str, str]] = []
    if role.trouble:
        lines = [("not started", role.trouble)]
    elif role.coordinator is None:
        lines = [("no test yet", "Start a test: a fresh event is put on sale, and judged when it is sold out.")]
    elif role.coordinator.conclusion is None:
        lines = [("event", " and ".join(role.coordinator.notice.events)), ("verdict", "drawn when the sale is over")]
    else:
        conclusion = role.coordinator.conclusion
        lines = [
            ("verdict", headline(conclusion.verdict)),
            ("event", " and ".join(role.coordinator.notice.events)),
            *numbers(conclusion.verdict),
            *(("found", finding) for finding in found(conclusion.verdict)),
            *(("note", note) for note in conclusion.notes),
            ("results", shown(conclusion.folder)),
        ]
    return [{"name": f"{number:03}", "what": what, "value": value} for number, (what, value) in enumerate(lines)]
