"""`initscope check`: what it asks of the check, what it prints and writes, and how it ends. The check is a stand-in."""

from __future__ import annotations

import json
import sys
import types
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from initscope.checker.rule_names import LEGAL
from initscope.checker.selection import IN_BASELINE
from initscope.checker.settings import Settings
from initscope.cli import catalogues
from initscope.cli.check_command import exit_code
from initscope.records.finding import CheckReport, Failed
from initscope.report.findings.concise import concise
from initscope.report.findings.fix_plan import fix_plan
from tests.cli.conftest import Program
from tests.cli.refusals import assert_refused
from tests.report.findings.made_up import AWKWARD, CLONES, DEAD, FADES, RULES, SOUND, USUAL, printing

Asked = dict[str, Any]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """What the command asked of the check, which gives `asked["report"]`; the rules are made-up ones."""
    seen: Asked = {"report": USUAL}

    def check_source(source: str, **given: Any) -> CheckReport:
        print("the user's own words")  # noqa: T201  # as a factory may
        seen.update(given, source=source)
        report: CheckReport = seen["report"]
        return report

    stand_in = types.ModuleType("initscope.api.check")
    stand_in.check_source = check_source  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "initscope.api.check", stand_in)
    monkeypatch.setattr(catalogues, "rule_infos", lambda: RULES)
    monkeypatch.setattr("initscope.checker.rule_names.known_rules", lambda: {rule.name: rule.code for rule in RULES})
    return seen


def test_the_options_reach_the_check_as_they_were_typed(program: Program, asked: Asked) -> None:
    typed = "n:b --input 8,3 --input 8,5:int64 --batch n:batch --loss mse --seed 3 --device cpu"
    program("check", *typed.split(), "--select", "INI3, dead-units", "--ignore", "INI402")
    del asked["report"]
    assert asked.pop("progress") is None  # stderr is no terminal
    assert asked == {
        "source": "n:b", "inputs": ("8,3", "8,5:int64"), "batch": "n:batch", "loss": "mse", "seed": 3, "device": "cpu",
        "settings": Settings(select=("signal-fades", "dead-units"), ignore=("dead-units",)),
    }  # fmt: skip


def test_the_text_is_printed_and_what_the_user_prints_goes_elsewhere(program: Program, asked: Asked) -> None:
    ended = program("check", "nets.deep:build", "--input", "8,3")
    assert ended.out.splitlines()[0] == "nets.deep:build"
    assert ended.out.splitlines()[-1] == "mend  initscope check nets.deep:build --input 8,3 --fix-plan"
    assert "\x1b" not in ended.out
    assert (ended.err, ended.code) == ("the user's own words\n", 1)


@pytest.mark.parametrize(
    ("report", "fail_on", "code"),
    [
        (USUAL, "error", 1), (USUAL, "never", 0), (SOUND, "warn", 0),
        (replace(USUAL, findings=DEAD), "error", 0), (replace(USUAL, findings=DEAD), "warn", 1),
        (replace(USUAL, findings=(CLONES,)), "warn", 0),
        (replace(SOUND, failed=(Failed(rule="dead-units", error="e"),)), "error", 1),
        (replace(SOUND, failed=(Failed(rule="dead-units", error="e"),)), "never", 0),
    ],
)  # fmt: skip
def test_the_exit_code_follows_the_gravest_finding_and_a_crash_is_no_pass(
    program: Program, asked: Asked, report: CheckReport, fail_on: str, code: int
) -> None:
    asked["report"] = report
    assert program("check", "n:b", "--fail-on", fail_on).code == exit_code(report, fail_on) == code


def test_the_projects_settings_hold_until_the_command_line_replaces_them(program: Program, asked: Asked) -> None:
    table = '[tool.initscope]\nselect = ["INI3"]\nignore = ["INI4"]\nfail-on = "warn"\n'
    Path("pyproject.toml").write_text(table)
    asked["report"] = replace(USUAL, findings=DEAD)
    assert program("check", "n:b").code == 1
    assert (asked["settings"].select, asked["settings"].ignore) == (("signal-fades",), ("dead-units",))
    assert program("check", "n:b", "--fail-on", "error", "--select", "ALL", "--ignore", "INI5").code == 0
    assert len(asked["settings"].select) == len(RULES)
    assert asked["settings"].ignore == ("initial-loss", "prior-bias")


@pytest.mark.parametrize("format_", ["concise", "json", "sarif", "github", "junit", "html"])
def test_a_file_holds_what_would_be_printed(program: Program, asked: Asked, format_: str) -> None:
    printed = program("check", "n:b", "--format", format_)
    written = program("check", "n:b", "--format", format_, "--output", "deep/out.txt")
    assert (written.out, written.code, printed.code) == ("", 1, 1)
    assert Path("deep/out.txt").read_text(encoding="utf-8") == printed.out
    assert printed.out


def test_the_formats_know_the_folder_and_the_targets_file(program: Program, asked: Asked) -> None:
    Path("nets").mkdir()
    Path("nets/deep.py").write_text("")
    asked["report"] = replace(AWKWARD, failed=())
    assert "::notice file=nets/deep.py,line=1" in program("check", "nets.deep:build", "--format", "github").out
    assert "::notice file=nets/deep.py,line=1" in program("check", "nets/deep.py:build", "--format", "github").out
    assert "::notice file=pyproject.toml,line=1" in program("check", "timm:vit", "--format", "github").out


def test_the_plan_of_cures_is_printed_alone(program: Program, asked: Asked) -> None:
    ended = program("check", "n:b", "--fix-plan")
    assert (ended.out, ended.code) == (fix_plan(printing()), 1)


def test_a_baseline_that_is_written_accepts_what_was_found(program: Program, asked: Asked) -> None:
    ended = program("check", "n:b", "--write-baseline", "known.json")
    assert (ended.code, ended.err.splitlines()[-1]) == (0, "wrote known.json")
    assert json.loads(Path("known.json").read_text()) == {
        "version": 1, "target": "nets.deep:build",
        "findings": {"INI101 head.0.weight": 1, "INI104 encoder.layers.1": 1, "INI301 blocks.11.fc": 1}
        | {f"INI402 blocks.{index}.act": 1 for index in range(5)},
    }  # fmt: skip
    program("check", "n:b", "--baseline", "known.json")
    assert asked["settings"].baseline.counts["INI301 blocks.11.fc"] == 1


def test_a_baseline_that_is_written_again_keeps_what_the_old_one_silenced(program: Program, asked: Asked) -> None:
    silenced = ((FADES, IN_BASELINE), (CLONES, "allowed: r"))
    asked["report"] = replace(USUAL, findings=(DEAD[0],), silenced=silenced)
    program("check", "n:b", "--write-baseline", "known.json")
    found = json.loads(Path("known.json").read_text())["findings"]
    assert found == {"INI301 blocks.11.fc": 1, "INI402 blocks.0.act": 1}


def test_a_crashed_rule_is_no_pass_even_where_a_baseline_is_written(program: Program, asked: Asked) -> None:
    asked["report"] = AWKWARD
    assert program("check", "n:b", "--write-baseline", "known.json").code == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--select", "signal-fade"], f"unknown rule 'signal-fade'\n  where: --select\n  legal: {LEGAL}\n"
         "  do:    did you mean 'signal-fades'? initscope list rules shows them all"),
        (["--ignore", " , "], f"--ignore names no rule\n  got:   ' , '\n  legal: {LEGAL}"),
        (["--baseline", "none.json"], "cannot read the baseline\n  where: none.json\n"
         "  got:   No such file or directory\n  do:    write it again with --write-baseline FILE"),
        (["--fix-plan", "--format", "json"], "--fix-plan is a format of its own\n  got:   --format json\n"
         "  do:    leave one out"),
    ],
)  # fmt: skip
def test_what_is_not_legal_is_refused_before_anything_is_built(
    program: Program, asked: Asked, arguments: list[str], message: str
) -> None:
    assert_refused(program, ["check", "n:b", *arguments], message)
    assert "source" not in asked


def test_a_file_that_cannot_be_written_is_said(program: Program, asked: Asked) -> None:
    Path("taken").write_text("")
    ended = program("check", "n:b", "--output", "taken/out.txt")
    assert ended.err == (
        "the user's own words\nerror: cannot write the file\n  where: taken/out.txt\n  got:   File exists\n"
        "  do:    free the place or choose another file\n"
    )
    assert ended.code == 4


def test_the_concise_form_shows_files_relative_to_the_folder(program: Program, asked: Asked, tmp_path: Path) -> None:
    here = replace(FADES, location=replace(FADES.location, file=str(tmp_path / "n.py")))  # type: ignore[type-var]
    asked["report"] = replace(USUAL, findings=(here,))
    expected = concise(printing(asked["report"], root=str(tmp_path)))
    assert program("check", "n:b", "--format", "concise").out == expected
    assert expected.startswith("n.py:31: error INI301 signal-fades blocks.11.fc: ")


def test_the_rules_are_listed_with_code_name_severity_and_one_line(program: Program, asked: Asked) -> None:
    ended = program("list", "rules")
    assert ended.out.splitlines()[2] == "INI301  signal-fades           error  Finds signals that fade on their way."
    assert len(ended.out.splitlines()) == len(RULES)


@pytest.mark.parametrize("name", ["signal-fades", "INI301", "ini301"])
def test_a_rule_is_explained_by_name_and_by_code(program: Program, asked: Asked, name: str) -> None:
    ended = program("explain", name)
    assert ended.out.splitlines()[:6] == [
        "signal-fades  INI301",
        "",
        "Finds signals that fade on their way.",
        "",
        "family    Signal and gradient scale",
        "severity  error at most",
    ]
    assert "Criterion\n  S_last / S_first below 1e-3." in ended.out
    assert ended.code == 0


def test_an_unknown_name_is_refused_with_the_nearest_rule(program: Program, asked: Asked) -> None:
    assert program("explain", "signal-fade").err.splitlines()[-1] == "  do:    did you mean 'signal-fades'?"


def test_the_schema_of_a_check_is_printed(program: Program) -> None:
    assert json.loads(program("schema", "check").out)["title"] == "initscope check, version 1"
    assert json.loads(program("schema").out)["required"] == ["conditions"]
    legal = "unknown schema 'chek'\n  legal: check, study\n  do:    did you mean 'check'?"
    assert_refused(program, ["schema", "chek"], legal)
