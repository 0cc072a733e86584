"""What check said beside what training did: rows, the sentence on agreement, the page, the export."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from initscope.records.finding import Severity
from initscope.records.results import Results
from initscope.records.start_check import StartCheck, StartFinding
from initscope.report.export import export_json
from initscope.report.page import report_html
from initscope.report.start_checks import agreement, foretold
from initscope.stats.summary import summarise
from tests.support.synthetic import make_results


def finding(severity: Severity, name: str, message: str = "it is so") -> StartFinding:
    """A finding of the rule `name`."""
    return StartFinding(code="INI000", name=name, severity=severity, where=("hidden1.weight",), message=message)


def checked(results: Results, *checks: StartCheck) -> Results:
    """The results with start checks; conditions that none is given for are checked and nothing found."""
    told = {check.condition for check in checks}
    silent = [StartCheck(condition=key, seed=0, rules=3) for key in results.conditions if key not in told]
    return replace(results, start_checks=(*checks, *silent))


RESULTS = make_results(seeds=4)
DEAD = StartCheck(
    condition="all-zero", seed=0, findings=(finding("info", "fine"), finding("error", "dead", "all dead"))
)


def test_without_any_check_there_is_no_table_and_no_section() -> None:
    assert foretold(RESULTS, summarise(RESULTS)) == ()
    page = report_html(RESULTS, figures=[])
    assert "start-checks" not in page and "What check said" not in page


def test_a_row_says_what_check_said_and_what_training_did() -> None:
    results = checked(RESULTS, DEAD)
    rows = {row.key: row for row in foretold(results, summarise(results))}
    assert tuple(rows) == results.conditions
    row = rows["all-zero"]
    assert row.said == (("error", ("dead",)), ("note", ("fine",))) and row.remark == "" and row.message == "all dead"
    assert (row.trouble, row.happened, row.learned) == ("yes", "yes", "0/4 learned")
    row = rows["default"]
    assert (row.said, row.remark, row.message) == ((), "nothing", "")
    assert (row.trouble, row.happened, row.learned) == ("no", "no", "4/4 learned")


@pytest.mark.parametrize(
    ("check", "remark"),
    [
        (None, "not checked"),
        (StartCheck(condition="default", seed=0, error="ValueError: no"), "not checked: ValueError: no"),
        (StartCheck(condition="default", seed=0, crashed=("one",)), "1 rule crashed: one"),
    ],
)
def test_what_was_not_judged_is_neither_trouble_nor_its_absence(check: StartCheck | None, remark: str) -> None:
    results = checked(RESULTS, DEAD, *([check] if check else []))
    if check is None:
        results = replace(results, start_checks=(DEAD,))
    row = next(row for row in foretold(results, summarise(results)) if row.key == "default")
    assert (row.remark, row.trouble) == (remark, "not known")


def test_the_sentence_counts_agreement_and_names_what_disagrees() -> None:
    only = ("default", "biases-zero", "all-zero")
    results = replace(RESULTS, runs=tuple(run for run in RESULTS.runs if run.condition in only))
    good = checked(results, DEAD)
    assert agreement(foretold(good, summarise(good))) == (
        "Check predicted trouble for 1 of 3 conditions; training agreed in 3 of 3."
    )
    warned = StartCheck(condition="biases-zero", seed=0, findings=(finding("warn", "fades"),))
    bad = checked(results, warned)
    assert agreement(foretold(bad, summarise(bad))) == (
        "Check predicted trouble for 1 of 3 conditions; training agreed in 1 of 3: check was silent about all-zero "
        "(0/4 learned), where runs did not learn; it warned of biases-zero (4/4 learned), where every run learned."
    )
    assert agreement(foretold(replace(bad, start_checks=(StartCheck(condition="x", seed=0),)), summarise(bad))) == (
        "Whether training agreed is not known: no condition was both checked and told learned from not learned."
    )


def test_the_page_shows_the_table_with_texts_escaped() -> None:
    nasty = StartCheck(condition="default", seed=0, findings=(finding("warn", "a<b", "<script>x</script>"),))
    page = report_html(checked(RESULTS, nasty, DEAD), figures=[])
    part = page[page.index('<section id="start-checks">') : page.index('<section id="limits">')]
    assert "<h2>What check said before training</h2>" in part
    assert "<code>a&lt;b</code>" in part and "&lt;script&gt;x" in part and "<script>" not in part
    assert part.count('<tr role="row">') == 1 + len(RESULTS.conditions)
    assert "(seed 0; up to 256" in part and '<a href="#start-checks">' in page


def test_the_export_has_the_checks() -> None:
    read = json.loads(export_json(checked(RESULTS, DEAD)))
    first = read["start_checks"][0]
    assert first["condition"] == "all-zero" and first["findings"][1] == {
        "code": "INI000", "name": "dead", "severity": "error", "where": ["hidden1.weight"], "message": "all dead",
    }  # fmt: skip
    assert json.loads(export_json(RESULTS))["start_checks"] == []
