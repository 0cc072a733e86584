"""The report on a terminal, one line a finding, and the plan of cures."""

from __future__ import annotations

import ast
import re
from dataclasses import replace

import pytest

from initscope.records.finding import CheckReport, Skipped
from initscope.report.findings.code_lines import fold_code
from initscope.report.findings.concise import concise
from initscope.report.findings.fix_plan import fix_plan
from initscope.report.findings.printing import amount, evidence_text, facts_text, sentence, tally
from initscope.report.findings.text import text
from tests.report.findings.made_up import AWKWARD, DEAD, FADES, SOUND, USUAL, printing

ANSI = re.compile(r"\x1b\[[0-9;]*m")
WHOLE = """\
nets.deep:build
12.3 M parameters \N{MIDDLE DOT} 48 modules \N{MIDDLE DOT} batch 32 \N{MIDDLE DOT} loss 2.414 \
\N{MIDDLE DOT} chance 2.303

error  interchangeable-units  INI101                                                 nets/deep.py:44
  at        head.0.weight
  All 64 units start equal and are still equal after 3 steps: the layer is as wide as one unit.
  measured  groups 1 \N{MIDDLE DOT} units 64
  fix       initscope.initialize(model, {"head.0.weight": "he_normal"}, seed=0)

error  signal-fades  INI301                                                          nets/deep.py:31
  at        blocks.11.fc, blocks.10.fc, blocks.9.fc
  The signal falls from 1.0 to 3.1e-05 over 12 layers, 0.42 a layer: what the last layers see is
  noise.
  measured  first 1 \N{MIDDLE DOT} last 3.1e-05 \N{MIDDLE DOT} layers 12 \N{MIDDLE DOT} per layer 0.42 \
\N{MIDDLE DOT} depth budget 6.9 \N{MIDDLE DOT}
            4.5 decades below the sound range
  fix       initscope.initialize(model, {"blocks.*.fc.weight": "orthogonal(gain='tanh')"}, seed=0)

warn   dead-units  INI402  5 places
  at        blocks.0.act                                                             nets/deep.py:31
  40 of 64 units are off for all 32 samples; half are expected.
  measured  dead 40 \N{MIDDLE DOT} units 64 \N{MIDDLE DOT} samples 32 \N{MIDDLE DOT} p = 3.1e-05
  note      synthetic input: lowered from error
  at        blocks.1.act                                                             nets/deep.py:31
  41 of 64 units are off for all 32 samples; half are expected.
  at        blocks.2.act                                                             nets/deep.py:31
  42 of 64 units are off for all 32 samples; half are expected.
  and at    blocks.3.act, blocks.4.act
  fix       with torch.no_grad():
                for block in model.blocks:
                    block.fc.bias.zero_()

info   clones-in-series  encoder.layers.1
       6 layers in series start with equal values, as nn.TransformerEncoder makes them; their ...

not checked  2 rules: no loss was given (initial-loss, prior-bias)
silenced     1 finding (allowed: the gate is meant to be shut)

2 errors, 5 warnings, 1 note (4 rules judged in 1.8 s)
why   initscope explain interchangeable-units
mend  initscope check nets.deep:build --fix-plan
"""


def test_the_text_of_a_usual_report_is_this_one_screen() -> None:
    shown = text(printing(again="initscope check nets.deep:build"))
    assert shown == WHOLE
    assert len(shown.splitlines()) <= 48


def test_a_sound_start_is_said_in_few_lines() -> None:
    lines = ["timm:resnet18", "11.7 M parameters", "", "no findings (6 rules judged in 3.2 s)"]
    assert text(printing(SOUND)).splitlines() == lines


@pytest.mark.parametrize("width", [80, 90, 100])
@pytest.mark.parametrize("report", [USUAL, SOUND, AWKWARD], ids=["usual", "sound", "awkward"])
def test_no_line_is_longer_than_the_width(report: CheckReport, width: int) -> None:
    assert [line for line in text(printing(report, width=width)).splitlines() if len(line) > width] == []


def test_a_long_cure_is_cut_and_says_where_the_whole_is() -> None:
    def rows(count: int) -> list[str]:
        fix = "\n".join(f"model.fc{index}.reset_parameters()" for index in range(count))
        lines = text(printing(replace(SOUND, findings=(replace(FADES, fix=fix),)))).splitlines()
        return [line[12:] for line in lines if "reset_parameters" in line or "more lines" in line]

    assert len(rows(8)) == 8 and rows(8)[-1] == "model.fc7.reset_parameters()"
    assert rows(9)[-2:] == ["model.fc5.reset_parameters()", "# ... 3 more lines: --fix-plan prints them all"]


def test_code_that_cannot_be_broken_stays_whole() -> None:
    fix = f"model.{'x' * 120} = 1"
    assert f"  fix       {fix}" in text(printing(replace(USUAL, findings=(replace(FADES, fix=fix),)))).splitlines()


def test_colour_adds_signs_for_the_terminal_and_changes_no_word() -> None:
    coloured = text(printing(colour=True))
    assert "\x1b[1;31merror" in coloured
    assert [line.rstrip() for line in ANSI.sub("", coloured).splitlines()] == text(printing()).splitlines()


def test_signs_that_steer_a_terminal_are_left_out() -> None:
    fix = replace(FADES, fix="a = 1\x1b[2J", where=("x\x1b[1m",), message="m\x07")
    report = CheckReport(target="t\x1b]0;x\x07", findings=(fix,))
    assert "\x1b" not in text(printing(report)) + concise(printing(report)) + fix_plan(printing(report))
    assert "\x07" not in text(printing(report)) + concise(printing(report))


def test_a_very_narrow_terminal_still_gets_the_report() -> None:
    assert text(printing(width=3)) == text(printing(width=60))


def test_what_silenced_findings_is_told_once_a_reason() -> None:
    reasons = ("in the baseline", "follows from signal-fades at a", "follows from signal-fades at b", "in the baseline")
    report = replace(SOUND, silenced=tuple((FADES, reason) for reason in reasons))
    said = "silenced     2 findings (in the baseline); 2 findings (follows from signal-fades)"
    assert said in text(printing(report)).splitlines()


def test_a_rule_that_crashed_is_named_and_counted() -> None:
    lines = text(printing(AWKWARD)).splitlines()
    assert "crashed      clones-in-series: ZeroDivisionError: no way" in lines
    assert "1 warning, 1 note, 1 rule crashed (4 rules judged)" in lines


def test_reasons_for_not_judging_beyond_four_are_counted() -> None:
    skipped = tuple(Skipped(rule=f"r{i}", reason=f"reason {i}") for i in range(6))
    lines = text(printing(replace(SOUND, skipped=skipped))).splitlines()
    assert lines[3:8] == [
        "not checked  1 rule: reason 0 (r0)",
        "             1 rule: reason 1 (r1)",
        "             1 rule: reason 2 (r2)",
        "             1 rule: reason 3 (r3)",
        "             2 more rules: --format json lists them",
    ]


def test_the_concise_form_is_one_line_a_finding() -> None:
    assert concise(printing(replace(USUAL, findings=(DEAD[0], FADES)))) == (
        f"nets/deep.py:31: error INI301 signal-fades blocks.11.fc: {FADES.message}\n"
        f"nets/deep.py:31: warn INI402 dead-units blocks.0.act: {DEAD[0].message}\n"
    )


def test_the_concise_form_of_what_is_awkward_stays_one_line_each() -> None:
    assert concise(printing(AWKWARD)).splitlines() == [
        "/else where/a,b:c.py:3: warn INI301 signal-fades a.b:<c>&d: <b>50 %</b>: a, b and ]]> [31m & \u20ac",
        "a.b:<c>&d: info INI999 from-elsewhere x:",
        "a.b:<c>&d: failed clones-in-series: ZeroDivisionError: no way",
    ]
    assert concise(printing(SOUND)) == ""


def test_the_plan_of_cures_is_python_and_names_each_cure_once() -> None:
    plan = fix_plan(printing())
    ast.parse(plan)
    assert plan.count("block.fc.bias.zero_()") == 1
    assert plan.splitlines()[:6] == [
        "# What mends nets.deep:build; `model` is the model that it builds.",
        "import torch",
        "import initscope",
        "",
        "# 1. error INI101 interchangeable-units at head.0.weight: All 64 units start equal and are still",
        "#   equal after 3 steps: the layer is as wide as one unit.",
    ]
    assert fix_plan(printing(SOUND)) == "# timm:resnet18: nothing to mend\n"


@pytest.mark.parametrize(
    "fix",
    ["remove the softmax and return the logits", "x = (x - 3) / 2", 'initscope.initialize(model, {"a"b": "zeros"})'],
)
def test_a_cure_that_this_file_cannot_run_is_a_comment_of_the_plan(fix: str) -> None:
    plan = fix_plan(printing(replace(USUAL, findings=(replace(FADES, fix=fix),))))
    exec(compile(plan, "plan", "exec"), {"model": None})  # the plan must run
    assert f"# {fix}" in plan


def test_a_finding_without_a_cure_in_code_is_said_in_the_plan() -> None:
    plan = fix_plan(printing(replace(USUAL, findings=(replace(FADES, fix=""),))))
    assert plan.splitlines()[3].startswith("# no cure in code: error INI301 signal-fades at blocks.11.fc: The signal")


def test_folded_code_is_the_same_code() -> None:
    code = 'f(model, {"a, b": "he(x, y)", "c": [1, 2]}, seed=0)  # why, so'
    for width in range(10, 70):
        folded = fold_code(code, width=width)
        assert ast.dump(ast.parse("\n".join(folded))) == ast.dump(ast.parse(code))
    assert fold_code("x = 1\n\nwith y:\n    pass", width=9) == ["x = 1", "", "with y:", "    pass"]
    assert fold_code("# a long remark", width=9) == ["# a long", "# remark"]


def test_numbers_are_written_for_people() -> None:
    values = (None, True, 1234567, 0.00001234, float("nan"), float("inf"), 3.0, "a\nb")
    assert [evidence_text(value) for value in values] == [
        "not measured", "yes", "1,234,567", "1.23e-05", "not measured", "inf", "3", "a b",
    ]  # fmt: skip
    assert [amount(n) for n in (7, 12_345, 1_000_000, 7.07e9)] == ["7", "12,345", "1 M", "7.07 G"]
    assert facts_text({"parameters": 1, "loss": float("nan"), "seconds": 3}) == ["1 parameter"]
    assert tally(()) == "no findings"


def test_a_message_begins_with_a_capital_unless_it_begins_with_a_name() -> None:
    messages = {"half of them": "Half of them", "fc is equal": "fc is equal", "0.weight is": "0.weight is", "": ""}
    assert {raw: sentence(replace(FADES, where=("net.fc",), message=raw)) for raw in messages} == messages
