"""The formats for machines hold to their standards, whatever stands in a report; the page is one file of its own."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from initscope.cli.catalogues import rule_infos
from initscope.records.finding import CheckReport
from initscope.report.findings.formats import FORMATS
from initscope.report.findings.github import github
from initscope.report.findings.html import html
from initscope.report.findings.json_format import check_schema, report_content, report_json
from initscope.report.findings.junit import junit
from initscope.report.findings.sarif import sarif
from tests.report.findings.made_up import AWKWARD, DEAD, FADES, ROOT, SOUND, USUAL, printing

REPORTS = pytest.mark.parametrize("report", [USUAL, SOUND, AWKWARD], ids=["usual", "sound", "awkward"])
SARIF_SCHEMA = json.loads(Path(__file__).with_name("sarif-2.1.0.schema.json").read_text(encoding="utf-8"))


def strict(text: str) -> Any:
    """The content of a JSON text, which may hold no NaN."""

    def refuse(constant: str) -> None:
        pytest.fail(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


def assert_sarif(text: str) -> dict[str, Any]:
    """Fails where a text is no SARIF 2.1.0 log; returns its run."""
    log = strict(text)
    jsonschema.Draft4Validator(SARIF_SCHEMA).validate({**log, "$schema": SARIF_SCHEMA["id"]})
    run: dict[str, Any] = log["runs"][0]
    return run


@REPORTS
def test_the_json_is_strict_and_follows_the_published_schema(report: CheckReport) -> None:
    jsonschema.Draft202012Validator(check_schema()).validate(strict(report_json(report)))


def test_the_json_has_the_promised_keys_in_the_promised_order() -> None:
    content = report_content(USUAL)
    assert list(content)[:5] == ["version", "target", "findings", "skipped", "failed"]
    assert list(content["findings"][0])[:9] == [
        "code", "name", "severity", "where", "message", "evidence", "fix", "confidence", "location",
    ]  # fmt: skip
    assert content["version"] == 1
    assert content["silenced"][0]["reason"] == "allowed: the gate is meant to be shut"


def test_what_was_not_measured_is_null_and_an_infinity_is_text() -> None:
    evidence = strict(report_json(AWKWARD))["findings"][0]["evidence"]
    assert evidence == {"nan": None, "inf": "inf", "low": "-inf", "no": None, "yes": True, "text": "<i>"}


def test_numbers_of_numpy_become_plain_numbers() -> None:
    numbers = {"a": np.int64(3), "b": np.float32(0.5), "c": np.bool_(True), "d": np.float64("nan")}
    found = replace(FADES, evidence=numbers)  # type: ignore[arg-type]  # what a careless rule gives
    evidence = strict(report_json(replace(USUAL, findings=(found,))))["findings"][0]["evidence"]
    assert evidence == {"a": 3, "b": 0.5, "c": True, "d": None}
    for write in FORMATS.values():
        assert write(printing(replace(USUAL, findings=(found,))))


def test_the_schema_itself_is_legal_and_refuses_what_is_not_a_report() -> None:
    jsonschema.Draft202012Validator.check_schema(check_schema())
    wrong = {**report_content(USUAL), "version": 2}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(check_schema()).validate(wrong)


@REPORTS
def test_the_sarif_follows_the_schema_of_the_standard(report: CheckReport) -> None:
    assert_sarif(sarif(printing(report)))


def test_a_log_that_is_no_sarif_is_found() -> None:
    with pytest.raises(jsonschema.ValidationError):
        assert_sarif(sarif(printing()).replace('"level": "error"', '"level": "warn"'))


@REPORTS
def test_every_result_of_the_sarif_has_a_place_and_its_rule(report: CheckReport) -> None:
    run = assert_sarif(sarif(printing(report)))
    rules = run["tool"]["driver"]["rules"]
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["locations"][0]["physicalLocation"]["region"]["startLine"] >= 1
    assert len(run["results"]) == len(report.findings) + len(report.silenced)


def test_the_sarif_names_file_module_and_fingerprint() -> None:
    run = assert_sarif(sarif(printing(replace(USUAL, findings=(FADES,)))))
    result, silenced = run["results"]
    place = result["locations"][0]
    assert place["physicalLocation"]["artifactLocation"] == {"uri": "nets/deep.py", "uriBaseId": "%SRCROOT%"}
    assert place["physicalLocation"]["region"] == {"startLine": 31}
    assert place["logicalLocations"][0] == {"fullyQualifiedName": "blocks.11.fc", "name": "fc", "kind": "member"}
    assert result["partialFingerprints"] == {"ruleAndPath/v1": "INI301 blocks.11.fc"}
    assert result["level"] == "error"
    assert silenced["suppressions"] == [
        {"kind": "external", "justification": "allowed: the gate is meant to be shut"}
    ]  # fmt: skip
    assert run["originalUriBaseIds"]["%SRCROOT%"] == {"uri": f"file://{ROOT}/"}


def test_the_sarif_of_a_finding_without_a_place_points_at_the_targets_file() -> None:
    run = assert_sarif(sarif(printing(AWKWARD, fallback="nets/deep.py")))
    uris = [one["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for one in run["results"]]
    assert uris == ["file:///else%20where/a%2Cb%3Ac.py", "nets/deep.py"]


def test_the_sarif_tells_what_crashed_and_was_not_checked() -> None:
    (invocation,) = assert_sarif(sarif(printing(AWKWARD)))["invocations"]
    assert invocation["executionSuccessful"] is False
    assert [one["message"]["text"] for one in invocation["toolExecutionNotifications"]] == [
        "clones-in-series crashed: ZeroDivisionError: no way",
        "dead-units was not checked: an operator <x> &",
    ]


def test_a_rule_of_the_sarif_brings_its_page_as_help() -> None:
    rules = assert_sarif(sarif(printing()))["tool"]["driver"]["rules"]
    fades = next(one for one in rules if one["id"] == "INI301")
    assert fades["shortDescription"]["text"] == "Finds signals that fade on their way."
    assert "## Why it is bad\n\nWhat the last layers see is noise." in fades["help"]["markdown"]


def test_the_workflow_commands_escape_what_would_end_them() -> None:
    assert github(printing(AWKWARD)).splitlines() == [
        "::warning file=/else where/a%2Cb%3Ac.py,line=3,title=INI301 signal-fades::"
        "<b>50 %25</b>: a, b and ]]> [31m & \u20ac%0Afix: model.fc['a'] = \"<script>alert(1)</script>\"  # 100 %25",
        "::notice file=pyproject.toml,line=1,title=INI999 from-elsewhere::x: ",
        "::error file=pyproject.toml,line=1,title=clones-in-series crashed::"
        "the rule crashed and judged nothing: ZeroDivisionError: no way",
    ]
    assert github(printing(SOUND)) == ""


@REPORTS
@pytest.mark.parametrize("fail_on", ["error", "warn", "never"])
def test_the_junit_counts_what_it_holds(report: CheckReport, fail_on: str) -> None:
    root = ET.fromstring(junit(printing(report, fail_on=fail_on)))
    (suite,) = root
    assert (root.tag, suite.tag, suite.get("tests")) == ("testsuites", "testsuite", str(len(suite)))
    for key, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        assert suite.get(key) == str(len(suite.findall(f"testcase/{tag}")))
    assert all(case.get("name") and case.get("classname") and case.get("time") for case in suite)


def test_the_junit_has_a_case_a_rule_and_fails_what_fails_the_check() -> None:
    def failures(fail_on: str) -> list[str]:
        root = ET.fromstring(junit(printing(fail_on=fail_on)))
        return [str(case.get("name")) for case in root.iter("testcase") if case.find("failure") is not None]

    assert failures("error") == ["interchangeable-units", "signal-fades"]
    assert failures("warn") == ["interchangeable-units", "signal-fades", "dead-units"]


def test_the_junit_of_a_crashed_rule_is_an_error_and_of_a_skipped_one_a_skip() -> None:
    cases = {case.get("name"): case for case in ET.fromstring(junit(printing(AWKWARD))).iter("testcase")}
    crashed, skipped = cases["clones-in-series"].find("error"), cases["dead-units"].find("skipped")
    assert crashed is not None and crashed.get("message") == "ZeroDivisionError: no way"
    assert skipped is not None and skipped.get("message") == "an operator <x> &"
    assert "from-elsewhere" in cases


class Tags(HTMLParser):
    """Collects tags and whether each is closed."""

    VOID = ("meta", "link", "br")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@REPORTS
def test_the_page_is_whole_alone_and_without_script(report: CheckReport) -> None:
    page, tags = html(printing(report)), Tags()
    tags.feed(page)
    assert tags.open == [] and "script" not in tags.seen
    assert not re.search(r'(?:src|href)="|url\(|@import', page)


def test_the_page_escapes_what_comes_from_the_users_code() -> None:
    page = html(printing(AWKWARD))
    assert "&lt;b&gt;50 %&lt;/b&gt;" in page and "<b>50" not in page
    assert "<code>a.b:&lt;c&gt;&amp;d</code>" in page


def test_the_page_shows_every_finding_with_evidence_and_cure() -> None:
    page = html(printing(again="initscope check nets.deep:build"))
    for finding in (FADES, *DEAD):
        assert finding.message in page
    assert "<dt>depth budget</dt><dd>6.9</dd>" in page
    assert page.count("block.fc.bias.zero_()") == 1
    assert "nets/deep.py:31" in page and '<pre tabindex="0">initscope check nets.deep:build</pre>' in page


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_names_every_rule_that_was_broken(name: str) -> None:
    text = FORMATS[name](printing())
    assert [one.name for one in USUAL.findings if one.name not in text] == []


def test_the_sarif_with_every_registered_rule_follows_the_standard() -> None:
    rules = rule_infos()
    run = assert_sarif(sarif(printing(rules=rules)))
    assert {rule.code for rule in rules} <= {rule["id"] for rule in run["tool"]["driver"]["rules"]}
