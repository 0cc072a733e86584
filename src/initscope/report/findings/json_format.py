"""The report as JSON, in a versioned form with a published schema; always strict: no NaN, no infinity."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from initscope.records.finding import CheckReport, Failed, Finding, Location, Number, Skipped
from initscope.report.findings.printing import Printing, plain

VERSION = 1


def json_text(printing: Printing) -> str:
    """Returns the report as JSON, indented, with a line end."""
    return report_json(printing.report)


def report_json(report: CheckReport) -> str:
    """Returns `report_content` as JSON text that every strict reader takes."""
    return json.dumps(report_content(report), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def report_content(report: CheckReport) -> dict[str, Any]:
    """Returns a report as plain objects: "version", "target", "findings", "skipped", "failed", "silenced", "facts".

    Not measured (NaN) is null, an infinity the text "inf" or "-inf".
    """
    return {
        "version": VERSION,
        "target": report.target,
        "findings": [finding_content(finding) for finding in report.findings],
        "skipped": [_skipped(one) for one in report.skipped],
        "failed": [_failed(one) for one in report.failed],
        "silenced": [{**finding_content(finding), "reason": reason} for finding, reason in report.silenced],
        "facts": _numbers(report.facts),
    }


def finding_content(finding: Finding) -> dict[str, Any]:
    """Returns one finding as plain objects."""
    return {
        "code": finding.code,
        "name": finding.name,
        "severity": finding.severity,
        "where": list(finding.where),
        "message": finding.message,
        "evidence": _numbers(finding.evidence),
        "fix": finding.fix,
        "confidence": finding.confidence,
        "location": None if finding.location is None else _place(finding.location),
        "notes": list(finding.notes),
    }


def check_schema() -> dict[str, Any]:
    """Returns the JSON Schema (draft 2020-12) of `report_content`."""
    text = files("initscope.report.findings").joinpath("check.schema.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def _place(location: Location) -> dict[str, Any]:
    return {"file": location.file, "line": int(location.line)}


def _skipped(one: Skipped) -> dict[str, str]:
    return {"rule": one.rule, "reason": one.reason}


def _failed(one: Failed) -> dict[str, str]:
    return {"rule": one.rule, "error": one.error, "trace": one.trace}


def _numbers(values: Mapping[str, Number]) -> dict[str, Any]:
    return {name: _number(value) for name, value in values.items()}


def _number(value: object) -> Number:
    """A value that strict JSON has."""
    number = plain(value)
    if not isinstance(number, float) or math.isfinite(number):
        return number
    return None if math.isnan(number) else ("inf" if number > 0 else "-inf")
