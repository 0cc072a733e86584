"""JUnit XML: one test case a rule, as test reporters of build servers read it."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence

from initscope.records.finding import Finding
from initscope.report.findings.printing import Printing, measured, one_line

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(printing: Printing) -> str:
    """Returns JUnit XML: errors (warnings too where the check fails on them) are failures, a crashed rule is an error.

    Rules that could not judge are skipped with the reason; findings that fail nothing are the test case's output.
    """
    report = printing.report
    seconds = report.facts.get("seconds")
    time = f"{seconds:.3f}" if isinstance(seconds, int | float) else "0"
    suites = ET.Element("testsuites", name="initscope check")
    suite = ET.SubElement(suites, "testsuite", name=_clean(report.target))
    for code, name in _rules(printing):
        case = ET.SubElement(suite, "testcase", classname=f"initscope.{code}", name=name, time="0")
        _fill(case, printing, (code, name))
    for element in (suites, suite):
        for key, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            element.set(key, str(len(suite.findall(f"testcase/{tag}"))))
        element.set("tests", str(len(suite)))
        element.set("time", time)
    del suites.attrib["skipped"]  # the outer element has no such count
    ET.indent(suites)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(suites, encoding="unicode") + "\n"


def _rules(printing: Printing) -> list[tuple[str, str]]:
    """(code, name) of every rule known, and of those that only the report knows."""
    known = {rule.name: rule.code for rule in printing.rules}
    known.update({one.name: one.code for one in printing.report.findings})
    codes = {code: name for name, code in known.items()}
    known.update({rule: "other" for rule in printing.unjudged if rule not in known and rule not in codes})
    return sorted((code, name) for name, code in known.items())


def _fill(case: ET.Element, printing: Printing, rule: tuple[str, str]) -> None:
    report = printing.report
    found = [one for one in printing.findings if (one.code, one.name) == rule]
    bad = [one for one in found if one.severity == "error" or (one.severity == "warn" and printing.fail_on == "warn")]
    for failed in report.failed:
        if failed.rule in rule:
            _add(case, "error", one_line(failed.error), "crashed", failed.trace or failed.error)
    for skipped in report.skipped:
        if skipped.rule in rule and not found:
            ET.SubElement(case, "skipped", message=_clean(one_line(skipped.reason)))
    if bad:
        _add(case, "failure", one_line(bad[0].message), bad[0].severity, _text(printing, bad))
    rest = [one for one in found if one not in bad]
    if rest:
        ET.SubElement(case, "system-out").text = _clean(_text(printing, rest))


def _add(case: ET.Element, tag: str, message: str, kind: str, text: str) -> None:
    ET.SubElement(case, tag, message=_clean(message), type=kind).text = _clean(text)


def _text(printing: Printing, findings: Sequence[Finding]) -> str:
    blocks = []
    for finding in findings:
        place = printing.place(finding)
        lines = [f"{finding.severity} {finding.code} {finding.name}", ", ".join(finding.where), finding.message]
        lines += ["; ".join(measured(finding.evidence)), place, f"fix:\n{finding.fix}" if finding.fix else ""]
        blocks.append("\n".join(line for line in lines if line))
    return "\n\n".join(blocks)


def _clean(text: str) -> str:
    """The text without the signs that XML cannot hold."""
    return _NOT_XML.sub("", text)
