"""What an exercise asks and what a check found: as text, as JSON, as JUnit's XML; in English or Chinese."""

from __future__ import annotations

import json
import tomllib
from functools import cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec

from workers.exercises.common.exercise import Explored, Finding, Graded, Step

_HERE = Path(__file__).parent
_MOST_STEPS = 60
"""An order that ends has fewer; of one that does not end these are the last."""


@cache
def shared(language: str) -> dict[str, Any]:
    """The words around every exercise; ``findings`` are what any program can do."""
    return tomllib.loads((_HERE / f"{language}.toml").read_text(encoding="utf-8"))


@cache
def texts(name: str, language: str) -> dict[str, Any]:
    """What an exercise says: ``title``, ``task``, ``lesson``, and the sentences of its ``findings``."""
    every = tomllib.loads((_HERE.parent / name / "texts.toml").read_text(encoding="utf-8"))
    told: dict[str, Any] = every[language]
    return told


def program(name: str, folder: str, language: str) -> str:
    """The file that a learner is given: the task, and the program below it."""
    told, words = texts(name, language), shared(language)
    ends = words["task_ends"].format(folder=folder, lesson=told["lesson"])
    start = (_HERE.parent / name / "start.py").read_text(encoding="utf-8")
    code = start.replace("# concurrent\n", f"# {words['concurrent']}\n")
    gap = "\n" if code.startswith(("import ", "from ")) else "\n\n"
    return f'"""{told["title"]}\n\n{told["task"].strip()}\n\n{ends}\n"""\n{gap}{code}'


def sentence(graded: Graded, language: str) -> str:
    """Why a program does not pass, or that it does, in words."""
    words, explored = shared(language), graded.explored
    if graded.finding:
        return _sentence(graded.exercise, graded.finding, language)
    told = _tried_all(explored, language) if explored else ""
    if explored and explored.overlapped:
        told += " " * (language == "en") + words["met"].format(part=_part(graded))
    return str(told)


def as_text(graded: Graded, language: str) -> str:
    """The result for a reader."""
    words, explored = shared(language), graded.explored
    said = [f"{graded.exercise}: {words['failed' if graded.finding else 'passed']}", ""] if graded.exercise else []
    if explored and explored.losing:
        is_endless = explored.wrong is not None and explored.wrong.name == "endless"
        said += [words["unfinished" if is_endless else "loses"].format(tried=_tried(explored, language)), ""]
        said += [*_lines(explored.losing.steps[-_MOST_STEPS:], language), ""]
    return "\n".join([*said, sentence(graded, language)])


def as_json(graded: Graded, language: str) -> str:
    """The result for a script, in one line."""
    explored, finding = graded.explored, graded.finding
    steps = explored.losing.steps if explored and explored.losing else []
    return json.dumps(
        {
            "exercise": graded.exercise,
            "passed": finding is None,
            "finding": finding.name if finding else None,
            "message": sentence(graded, language),
            "tried": explored.tried if explored else 0,
            "at_random": explored.at_random if explored else 0,
            "bounded": explored.bounded if explored else False,
            "whole": explored.whole if explored else False,
            "overlapped": explored.overlapped if explored else False,
            "order": msgspec.to_builtins(steps),
        },
        ensure_ascii=False,
    )


def as_junit(graded: Graded, seconds: float, language: str) -> bytes:
    """The result as a test suite with one test."""
    name = graded.exercise or "exercise"
    failures = str(int(graded.finding is not None))
    suite = ElementTree.Element(
        "testsuite", name="lastseat exercise", tests="1", failures=failures, errors="0", time=f"{seconds:.3f}"
    )
    case = ElementTree.SubElement(suite, "testcase", classname="exercise", name=name, time=f"{seconds:.3f}")
    if graded.finding:
        failure = ElementTree.SubElement(case, "failure", type=graded.finding.name)
        failure.set("message", _clean(sentence(graded, language)))
        failure.text = _clean(as_text(graded, language))
    else:
        ElementTree.SubElement(case, "system-out").text = sentence(graded, language)
    return bytes(ElementTree.tostring(suite, encoding="utf-8", xml_declaration=True))


def _clean(text: str) -> str:
    """The text without what XML cannot hold: a learner's line may have any character."""
    return "".join(each if each.isprintable() or each in "\n\t" else "?" for each in text)


def _part(graded: Graded) -> str:
    from workers.exercises import load

    return load(graded.exercise).plan.concurrent


def _sentence(exercise: str, finding: Finding, language: str) -> str:
    words = shared(language)
    own = texts(exercise, language).get("findings", {}) if exercise else {}
    facts = dict(finding.facts)
    if "at" in facts:
        kind = words["waits" if finding.name == "deadlock" else "is_at"]
        separator = "，" if language == "zh" else ", "
        facts["at"] = separator.join(kind.format(actor=actor, line=line) for actor, line in facts["at"].items())
    return str((own | words["findings"])[finding.name]).format(**facts)


def _tried_all(explored: Explored, language: str) -> str:
    kind = "tried_all"
    if explored.at_random:
        kind = "tried_some" if explored.bounded else "tried_at_random"
    if explored.interruptions:
        kind = "tried_interrupted" if explored.interruptions == 1 else "tried_interrupted_twice"
    return str(shared(language)[kind].format(tried=explored.tried, at_random=explored.at_random))


def _tried(explored: Explored, language: str) -> str:
    words = shared(language)
    return str(words["tried_one"] if explored.tried == 1 else words["tried"].format(tried=explored.tried))


def _lines(steps: list[Step], language: str) -> list[str]:
    """One line for each step: who, where, what, and what it does to what others use."""
    actors = max(len(step.actor) for step in steps)
    sources = min(48, max(len(step.source) for step in steps))
    lines = []
    for step in steps:
        note = ", ".join(_note(each, language) for each in step.note.split(", ") if each)
        lines.append(f"  {step.actor:<{actors}}  {step.line or '':>3}  {step.source:<{sources}}  {note}".rstrip())
    return lines


def _note(note: str, language: str) -> str:
    kind, _, name = note.partition(" ")
    return str(shared(language)[kind].format(name=name))
