"""Workflow commands that GitHub shows beside the lines of a change."""

from __future__ import annotations

from initscope.report.findings.printing import Printing, one_line

LEVELS = {"error": "error", "warn": "warning", "info": "notice"}
_DATA = {"%": "%25", "\r": "%0D", "\n": "%0A"}
_PROPERTY = {**_DATA, ":": "%3A", ",": "%2C"}


def github(printing: Printing) -> str:
    """Returns one workflow command a finding, and one for every rule that crashed."""
    lines = []
    for finding in printing.findings:
        where = f"{finding.where[0]}: " if finding.where else ""
        place = finding.location
        file = printing.fallback if place is None else printing.file(place)
        text = f"{where}{one_line(finding.message)}" + (f"\nfix: {finding.fix}" if finding.fix else "")
        line = 1 if place is None else place.line
        lines.append(_command(LEVELS[finding.severity], file, line, f"{finding.code} {finding.name}", text))
    for failed in printing.report.failed:
        text = f"the rule crashed and judged nothing: {one_line(failed.error)}"
        lines.append(_command("error", printing.fallback, 1, f"{failed.rule} crashed", text))
    return "".join(lines)


def _command(level: str, file: str, line: int, title: str, message: str) -> str:
    properties = f"file={_escaped(file, _PROPERTY)},line={line},title={_escaped(title, _PROPERTY)}"
    return f"::{level} {properties}::{_escaped(message, _DATA)}\n"


def _escaped(text: str, table: dict[str, str]) -> str:
    return "".join(table.get(sign, sign) for sign in text)
