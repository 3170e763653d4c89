"""The page of the game: one file with everything in it, which asks nothing of anybody; or the same page, live."""

from __future__ import annotations

import base64
import hashlib
import tomllib
from collections.abc import Mapping
from typing import Any

import msgspec
from markupsafe import Markup

from loadtests.lab.explore.game.levels import HERE, Level
from loadtests.lab.explore.game.recording import LevelRecording
from loadtests.lab.explore.game.sentences import chinese_of
from loadtests.lab.report.pages import own, template
from service.catalogue import GUARDS

_BEGIN, _END = '<script id="game" type="application/json">', "</script>"


def recorded_page(levels: Mapping[str, Level], recordings: Mapping[str, LevelRecording]) -> str:
    """The page that plays recordings. It opens from a disk."""
    entries = [_entry(level) | {"recording": msgspec.to_builtins(recordings[level.name])} for level in levels.values()]
    chinese = dict[str, str]()
    for name in levels:
        chinese |= chinese_of(recordings[name].steps, recordings[name].results)
    about = (
        "Written by: lastseat explore --export FILE. What happens was recorded from the real service; do not edit it."
    )
    return _page(entries, chinese, about, "recorded.js", "default-src 'none'")


def live_page(levels: Mapping[str, Level]) -> str:
    """The page that asks the explorer which serves it."""
    entries = [_entry(level) for level in levels.values()]
    about = "Served by: lastseat explore --serve"
    return _page(entries, {}, about, "live.js", "default-src 'none'; connect-src 'self'")


def recordings_in(page: str) -> dict[str, LevelRecording]:
    """The recordings by level, read back from a page. Raises ``ValueError`` if it is no page of recordings."""
    content = page.partition(_BEGIN)[2].partition(_END)[0]
    try:
        levels = msgspec.json.decode(content)["levels"]
        return {each["name"]: msgspec.convert(each["recording"], LevelRecording) for each in levels}
    except (msgspec.MsgspecError, KeyError, TypeError):
        raise ValueError("it is no page that `lastseat explore --export` has written") from None


def _entry(level: Level) -> dict[str, Any]:
    built: dict[str, Any] = msgspec.to_builtins(level)
    guard = GUARDS[level.guard]
    traits = {"lent": guard.is_lease, "fence": guard.is_lease and guard.refuses_late_writes}
    return built | traits | {"tokens": level.tokens, "replay": level.replay}


def _page(entries: list[dict[str, Any]], chinese: dict[str, str], about: str, source: str, policy: str) -> str:
    words = tomllib.loads((HERE / "words.toml").read_text(encoding="utf-8"))
    content = (
        msgspec.json.encode({"words": words, "levels": entries, "chinese": chinese}).decode().replace("<", "\\u003c")
    )
    style = own("article.css") + _file("game.css")
    script = "\n".join(_file(name) for name in (source, "scene.js", "game.js"))
    allowed = f"{policy}; img-src data:; style-src {_hashed(style)}; script-src {_hashed(script)}"
    data = Markup(_BEGIN + content.replace("<", "\\u003c") + _END)
    return template("game.html", HERE).render(
        words=words["en"], about=about, style=Markup(style), script=Markup(script), data=data, policy=Markup(allowed)
    )


def _file(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def _hashed(content: str) -> str:
    digest = hashlib.sha256(content.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
