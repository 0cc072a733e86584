"""`assert_healthy_init`: what fails a test, how it reads, what may be allowed."""

from __future__ import annotations

from typing import Any

import pytest

from initscope.base.errors import UsageError
from initscope.integrations.asserting import healthy_init
from tests.integrations.starts import Crashes, SevenBias, batch, network, only

pytestmark = pytest.mark.usefixtures("seven_rules")

SAID = """\
the start of Sequential is not sound: 1 finding

error  bias-is-seven (INI997)
  at   2.bias
  2.bias is 7 everywhere
  fix  init.zeros_(model.2.bias)"""
LEGAL = (
    '["dead-units"], {"dead-units": "why"}, {"dead-units": ["gate"]} or {"dead-units": {"gate": "why"}}'
)  # fmt: skip


def test_a_healthy_start_passes_and_gives_its_report() -> None:
    assert healthy_init(network(), *batch()).ok


def test_an_error_fails_with_rule_place_sentence_and_cure() -> None:
    with pytest.raises(AssertionError) as caught:
        healthy_init(network(7.0), *batch())
    assert str(caught.value) == SAID


def test_a_warning_fails_only_where_it_is_asked_to() -> None:
    allow = {"bias-is-seven": "meant so"}
    assert healthy_init(network(7.0), *batch(), allow=allow).findings[0].severity == "warn"
    with pytest.raises(AssertionError) as caught:
        healthy_init(network(7.0), *batch(), allow=allow, fail_on="warn")
    assert str(caught.value).splitlines()[2] == "warn  last-bias-is-seven (INI996)"


def test_nothing_fails_where_nothing_may() -> None:
    assert not healthy_init(network(7.0), *batch(), fail_on="never").ok


@pytest.mark.parametrize(
    ("allow", "reason"),
    [
        (["bias-is-seven"], "allowed by the test"),
        (("INI997",), "allowed by the test"),
        ({"bias-is-seven": "small bottleneck"}, "small bottleneck"),
        ({"bias-is-seven": ["2"]}, "allowed by the test"),
        ({"bias-is-seven": {"2.bias": "meant so"}}, "meant so"),
        ({"bias-is-seven": {"": "meant so"}}, "meant so"),
    ],
)
def test_a_rule_may_be_allowed_by_name_reason_and_path(allow: Any, reason: str) -> None:
    report = healthy_init(network(7.0), *batch(), allow=allow)
    ((finding, said),) = report.silenced
    assert finding.name == "bias-is-seven"
    assert said.endswith(f": {reason}")


def test_an_allowance_elsewhere_allows_nothing_here() -> None:
    with pytest.raises(AssertionError, match="bias-is-seven"):
        healthy_init(network(7.0), *batch(), allow={"bias-is-seven": ["0"]})


def test_an_allowance_that_silences_nothing_is_a_warning() -> None:
    report = healthy_init(network(), *batch(), allow={"bias-is-seven": ["0"]})
    assert [(one.name, one.severity) for one in report.findings] == [("unused-suppression", "warn")]
    with pytest.raises(AssertionError, match="unused-suppression"):
        healthy_init(network(), *batch(), allow={"bias-is-seven": ["0"]}, fail_on="warn")


def test_a_rule_that_crashes_fails_the_test() -> None:
    with only(SevenBias, Crashes), pytest.raises(AssertionError) as caught:
        healthy_init(network(), *batch())
    lines = str(caught.value).splitlines()
    assert lines[0] == "the start of Sequential is not sound: 1 rule crashed"
    assert lines[2] == "crashed  rule-that-crashes: LookupError: nothing there"


@pytest.mark.parametrize(
    ("allow", "value"),
    [("dead-units", "'dead-units'"), (3, "3"), ([4], "4"), ({"bias-is-seven": None}, "None"),
     ({"bias-is-seven": []}, "[]"), ({"bias-is-seven": {"2": " "}}, "{'2': ' '}"), ({"bias-is-seven": [2]}, "[2]")],
)  # fmt: skip
def test_what_is_allowed_in_another_form_is_refused(allow: Any, value: str) -> None:
    with pytest.raises(UsageError) as caught:
        healthy_init(network(), *batch(), allow=allow)
    assert str(caught.value) == (
        f"what is allowed cannot be read\n  where: assert_healthy_init(allow=...)\n  got:   {value}\n  legal: {LEGAL}"
    )


def test_an_unknown_rule_and_an_unknown_severity_are_refused() -> None:
    with pytest.raises(UsageError) as caught:
        healthy_init(network(), *batch(), allow=["bias-is-sven"])
    assert caught.value.what == "unknown rule 'bias-is-sven'"
    with pytest.raises(UsageError) as caught:
        healthy_init(network(), *batch(), fail_on="errors")
    assert str(caught.value) == (
        "unknown severity 'errors'\n  where: assert_healthy_init(fail_on=...)\n  legal: error, never, warn\n"
        "  do:    did you mean 'error'?"
    )
