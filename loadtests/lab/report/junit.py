"""What continuous integration reads: JUnit's XML, and Markdown for a job's summary.

The XML has one test case for each check and for each threshold, as GitLab, Jenkins and GitHub's reporters read it.
"""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree

from loadtests.lab.checks.verdict import Verdict
from loadtests.lab.experiment.result import Conclusion
from loadtests.lab.report.text import found, headline, numbers
from loadtests.lab.untrusted import printable


def junit(conclusion: Conclusion, thresholds: Sequence[str], missed: Sequence[str]) -> bytes:
    """The XML of one run. ``thresholds`` are all that were asked for, ``missed`` says why some have failed."""
    verdict = conclusion.verdict
    suite = ElementTree.Element("testsuite", name="lastseat", time=f"{verdict.seconds:.3f}")
    for check in verdict.checks:
        case = ElementTree.SubElement(suite, "testcase", classname="lastseat.verdict", name=check.name)
        if check.verdict == "invalid":
            said = "\n".join(witness.text for witness in check.witness)
            ElementTree.SubElement(case, "failure", message=printable(check.why)).text = _text(said)
        elif check.verdict == "unknown":
            ElementTree.SubElement(case, "skipped", message=printable(check.why))
    whole = ElementTree.SubElement(suite, "testcase", classname="lastseat.verdict", name="the verdict")
    if verdict.verdict != "valid":
        kind = "failure" if verdict.verdict == "invalid" else "error"
        ElementTree.SubElement(whole, kind, message=printable(headline(verdict))).text = _text(_facts(conclusion))
    for text in thresholds:
        case = ElementTree.SubElement(suite, "testcase", classname="lastseat.thresholds", name=text)
        for why in missed:
            if why.startswith(text):
                ElementTree.SubElement(case, "failure", message=why)
    for name, tag in (("tests", "testcase"), ("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(name, str(len(list(suite.iter(tag)))))
    ElementTree.indent(suite)
    return bytes(ElementTree.tostring(suite, encoding="utf-8", xml_declaration=True)) + b"\n"


def markdown(conclusion: Conclusion, missed: Sequence[str]) -> str:
    """A run in Markdown: the verdict first, then what was found, what was answered, and what was missed."""
    verdict = conclusion.verdict
    lines = [f"### {_escaped(headline(verdict))}", "", _table(verdict), ""]
    lines += [f"- {_escaped(each)}" for each in [*found(verdict), *conclusion.answered.lines]]
    lines += [f"- **missed** {_escaped(each)}" for each in missed]
    lines += [f"- {_escaped(each)}" for each in conclusion.notes]
    return "\n".join(lines) + "\n"


def _table(verdict: Verdict) -> str:
    names, values = zip(*numbers(verdict), strict=True)
    rows = (names, ["---"] * len(names), values)
    return "\n".join("| " + " | ".join(_escaped(str(each)) for each in row) + " |" for row in rows)


def _facts(conclusion: Conclusion) -> str:
    return "\n".join([*found(conclusion.verdict), *conclusion.answered.lines, *conclusion.notes])


def _text(text: str) -> str:
    """Text that XML may hold: control characters as escapes."""
    return "\n".join(map(printable, text.splitlines()))


def _escaped(text: str) -> str:
    """Text that Markdown shows as it is, in one line."""
    return "".join(f"\\{each}" if each in "\\`*_[]<>|#" else each for each in printable(text))
