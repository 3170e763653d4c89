"""The cookies of one buyer: each goes back to the host that set it, and to no other."""

from __future__ import annotations

import time
from urllib.parse import urlsplit

from loadtests.lab.target.reading import AnswerView

_MOST = 100


class Cookies:
    """What one buyer's browser would keep. Of cookies of other hosts, also of a whole domain, it keeps none."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str, str], str] = {}

    def keep(self, url: str, reading: AnswerView) -> None:
        """Take what an answer from ``url`` sets, and forget what it ends."""
        host = _host(url)
        for line in reading.all_of("Set-Cookie"):
            pair, *rest = line.split(";")
            name, equals, value = pair.partition("=")
            name, value = name.strip(), value.strip()
            given = {key.strip().lower(): text.strip() for key, _, text in (each.partition("=") for each in rest)}
            if not name or not equals or given.get("domain", "").lstrip(".").lower() not in {"", host}:
                continue
            path = given.get("path", "")
            place = (host, path if path.startswith("/") else "/", name)
            if _is_over(given):
                self._kept.pop(place, None)
            elif place in self._kept or len(self._kept) < _MOST:
                self._kept[place] = value

    def header(self, url: str) -> dict[str, str]:
        """The header with which a request to ``url`` brings its cookies; none where there are none."""
        host, path = _host(url), urlsplit(url).path or "/"
        pairs = [
            f"{name}={value}"
            for (of_host, of_path, name), value in self._kept.items()
            if of_host == host and (path == of_path or path.startswith(of_path.rstrip("/") + "/"))
        ]
        return {"Cookie": "; ".join(pairs)} if pairs else {}


def _host(url: str) -> str:
    return (urlsplit(url).hostname or "").lower()


def _is_over(given: dict[str, str]) -> bool:
    """Whether a cookie is set in order to be forgotten."""
    age = given.get("max-age")
    if age is not None:
        return age.startswith("-") or age == "0"
    return "1970" in given.get("expires", "") or ("expires" in given and _past(given["expires"]))


def _past(moment: str) -> bool:
    for form in ("%a, %d %b %Y %H:%M:%S GMT", "%a, %d-%b-%Y %H:%M:%S GMT"):
        try:
            return time.strptime(moment, form) < time.gmtime()
        except ValueError:
            continue
    return False
