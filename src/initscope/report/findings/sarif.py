"""SARIF 2.1.0, which code scanning services and editors read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import PurePath
from typing import Any
from urllib.parse import quote

from initscope.checker.baseline import fingerprint
from initscope.records.finding import Finding, Location
from initscope.report.findings.json_format import finding_content
from initscope.report.findings.printing import Printing, one_line
from initscope.report.findings.rule_info import RuleInfo
from initscope.report.findings.rule_page import rule_markdown

LEVELS = {"error": "error", "warn": "warning", "info": "note"}
SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
ROOT = "%SRCROOT%"


def sarif(printing: Printing) -> str:
    """Returns the report as a SARIF 2.1.0 log with one run.

    Every result has a place in a file (the fallback's first line where none is known), the module paths as logical
    places, and a fingerprint of rule and parameter path. Silenced findings are results with a suppression; rules that
    crashed are notifications of an execution that was not successful.
    """
    return json.dumps(sarif_log(printing), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def sarif_log(printing: Printing) -> dict[str, Any]:
    """Returns the log as plain objects."""
    report = printing.report
    rules = _with_unknown(printing)
    index = {rule.code: number for number, rule in enumerate(rules)}
    found: list[tuple[Finding, list[dict[str, str]]]] = [(one, []) for one in printing.findings]
    found += [(one, [{"kind": "external", "justification": reason}]) for one, reason in report.silenced]
    run: dict[str, Any] = {
        "tool": {"driver": {"name": "initscope", **_version(), "rules": [_rule(rule) for rule in rules]}},
        "invocations": [_invocation(printing)],
        "columnKind": "unicodeCodePoints",
        "results": [_result(printing, one, index[one.code], silent) for one, silent in found],
        "properties": {"target": report.target},
    }
    if printing.root:
        run["originalUriBaseIds"] = {ROOT: {"uri": _folder_uri(printing.root)}}
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def _with_unknown(printing: Printing) -> list[RuleInfo]:
    """The rules that are known, and those that only findings name."""
    rules = {rule.code: rule for rule in printing.rules}
    for one in (*printing.report.findings, *(one for one, _ in printing.report.silenced)):
        rules.setdefault(one.code, RuleInfo(code=one.code, name=one.name, gravest=one.severity))
    return sorted(rules.values(), key=lambda rule: rule.code)


def _rule(rule: RuleInfo) -> dict[str, Any]:
    described = rule.summary or rule.name
    help_text = "\n\n".join(f"{title}\n{text}".strip() for title, text in rule.parts.items()) or described
    return {
        "id": rule.code,
        "name": rule.name,
        "shortDescription": {"text": described},
        "fullDescription": {"text": one_line(rule.parts[""]) or described},
        "help": {"text": help_text, "markdown": rule_markdown(rule)},
        "defaultConfiguration": {"level": LEVELS[rule.gravest]},
        "properties": {"tags": ["initialisation", rule.family], "basis": rule.basis, "needs": list(rule.needs)},
    }


def _result(printing: Printing, finding: Finding, index: int, suppressions: Sequence[dict[str, str]]) -> dict[str, Any]:
    content = finding_content(finding)
    text = one_line(finding.message) or finding.name
    result: dict[str, Any] = {
        "ruleId": finding.code,
        "ruleIndex": index,
        "level": LEVELS[finding.severity],
        "message": {"text": f"{text}\nFix:\n{finding.fix}" if finding.fix else text},
        "locations": [_location(printing, finding)],
        "partialFingerprints": {"ruleAndPath/v1": fingerprint(finding)},
        "properties": {key: content[key] for key in ("where", "evidence", "confidence", "notes", "fix")},
    }
    if suppressions:
        result["suppressions"] = list(suppressions)
    return result


def _location(printing: Printing, finding: Finding) -> dict[str, Any]:
    place = finding.location
    line = 1 if place is None else max(1, int(place.line))
    location: dict[str, Any] = {
        "physicalLocation": {"artifactLocation": _artifact(printing, place), "region": {"startLine": line}}
    }
    paths = list(dict.fromkeys(path for path in finding.where if path))
    if paths:
        location["logicalLocations"] = [
            {"fullyQualifiedName": path, "name": path.rpartition(".")[2], "kind": "member"} for path in paths
        ]
    return location


def _artifact(printing: Printing, place: Location | None) -> dict[str, str]:
    file = printing.fallback if place is None else printing.file(place)
    if PurePath(file).is_absolute():
        return {"uri": PurePath(file).as_uri()}
    address = {"uri": quote(file)}
    return {**address, "uriBaseId": ROOT} if printing.root else address


def _folder_uri(folder: str) -> str:
    return PurePath(folder).as_uri().rstrip("/") + "/"


def _invocation(printing: Printing) -> dict[str, Any]:
    failed = printing.report.failed
    invocation: dict[str, Any] = {"executionSuccessful": not failed}
    notes = [_notification("error", one.rule, f"{one.rule} crashed: {one_line(one.error)}") for one in failed]
    notes += [
        _notification("note", one.rule, f"{one.rule} was not checked: {one_line(one.reason)}")
        for one in printing.report.skipped
    ]
    if notes:
        invocation["toolExecutionNotifications"] = notes
    return invocation


def _notification(level: str, rule: str, text: str) -> dict[str, Any]:
    return {"level": level, "message": {"text": text}, "descriptor": {"id": rule}}


def _version() -> dict[str, str]:
    try:
        return {"version": version("initscope")}
    except PackageNotFoundError:  # run from a source tree that is not installed
        return {}
