"""The report as one HTML page: no network, no script, readable on paper, in the dark and on a telephone."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from initscope.base.quantities import counted, duration
from initscope.records.finding import Finding
from initscope.report.findings.code_lines import fold_code
from initscope.report.findings.printing import (
    PLAIN,
    Printing,
    evidence_text,
    facts_text,
    one_line,
    printable,
    sentence,
    tally,
)

MOST_PLACES, CODE_WIDTH = 12, 96
"""Paths that are shown of one finding (the others are counted); columns of code that need no scrolling."""


def html(printing: Printing) -> str:
    """Returns the page; everything that came from outside is escaped."""
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    loaders = [PackageLoader("initscope.report.findings"), PackageLoader("initscope.report")]
    environment = Environment(
        loader=ChoiceLoader(loaders), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("check.html.j2").render(**_context(printing)) + "\n"


def _context(printing: Printing) -> dict[str, Any]:
    report = printing.report
    seconds = report.facts.get("seconds")
    extent = [f"{counted(printing.judged, 'rule')} judged"] if printing.judged is not None else []
    extent += [duration(float(seconds))] if isinstance(seconds, int | float) else []
    crashed = f", {counted(len(report.failed), 'rule')} crashed" if report.failed else ""
    by_reason: dict[str, list[str]] = {}
    for one in report.skipped:
        by_reason.setdefault(one_line(one.reason), []).append(one.rule)
    worst = next((one.severity for one in printing.findings), "good")
    return {
        "target": one_line(report.target),
        "facts": facts_text(report.facts),
        "extent": ", ".join(extent),
        "verdict": tally(report.findings) + crashed,
        "verdict_kind": "error" if not report.ok else worst,
        "groups": [_group(printing, list(found)) for _, found in groupby(printing.findings, key=_kind)],
        "skipped": sorted(by_reason.items(), key=lambda pair: -len(pair[1])),
        "failed": [(one.rule, one_line(one.error), printable(one.trace)) for one in report.failed],
        "silenced": [(_head(one), one_line(reason)) for one, reason in report.silenced],
        "again": printing.again,
    }


def _kind(finding: Finding) -> tuple[str, str]:
    return finding.severity, finding.code


def _group(printing: Printing, found: list[Finding]) -> dict[str, Any]:
    first = found[0]
    rule = printing.rule(first.code)
    shared = len({one.fix for one in found}) == 1
    return {
        "severity": first.severity,
        "word": PLAIN[first.severity],
        "name": first.name,
        "code": first.code,
        "fix": _code(first.fix) if shared else "",
        "places": [_place(printing, one, fix=not shared) for one in found],
        "why": one_line(rule.parts.get("Why it is bad", "")) if rule else "",
        "fine": one_line(rule.parts.get("When it is fine", "")) if rule else "",
    }


def _place(printing: Printing, finding: Finding, *, fix: bool) -> dict[str, Any]:
    confidence = "" if finding.confidence == "exact" else one_line(finding.confidence)
    return {
        "where": [one_line(path) for path in finding.where[:MOST_PLACES]],
        "more": max(0, len(finding.where) - MOST_PLACES),
        "file": one_line(printing.place(finding)),
        "message": sentence(finding),
        "evidence": [(name.replace("_", " "), evidence_text(value)) for name, value in finding.evidence.items()],
        "confidence": confidence,
        "notes": [one_line(note) for note in finding.notes],
        "fix": _code(finding.fix) if fix else "",
    }


def _code(fix: str) -> str:
    return "\n".join(fold_code(printable(fix), width=CODE_WIDTH))


def _head(finding: Finding) -> str:
    where = f" at {finding.where[0]}" if finding.where else ""
    return one_line(f"{PLAIN[finding.severity]} {finding.name}{where}")
