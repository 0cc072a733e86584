"""The harness of the calibration: what it counts, what it prints and writes, and that no case can end it."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from calibration import __main__ as program
from calibration.case import Case
from calibration.desk import work
from calibration.page import page
from calibration.proof import proofs
from calibration.records import Checked, Observed, Proof, Said
from calibration.report import read, stored, text
from calibration.scores import foretold, overall, rule_scores
from calibration.table import all_cases, chosen, contradictions
from calibration.training import Outcome
from initscope.base.errors import UsageError

GRAVEST = {"fades": "error", "clones": "info"}


def job(name: str, seed: int) -> str | int:
    """Answers with the seed, crashes, dies or sleeps, as the name says."""
    if name == "crash":
        raise ValueError("no such layer\nsecond line")
    if name == "die":
        os._exit(3)
    if name == "sleep":
        time.sleep(60)
    return seed


def case(name: str, **changes: Any) -> Case:
    settings: dict[str, Any] = {"kind": "healthy", "family": "mlp", "why": "It trains.", "why_no_training": "none"}
    return Case(name=name, build=lambda: (None, None, None, None), **{**settings, **changes})


def said(rule: str, severity: str, margin: float | None = None) -> Said:
    return Said(rule=rule, severity=severity, where="layer", message="It fades.", margin_log10=margin)


def observed(name: str, kind: Any, *findings: Said, rules: tuple[str, ...] = (), bad: bool | None = None) -> Observed:
    proof = None
    if bad is not None:
        proof = Proof(proven=bad == (kind == "broken"), learns=not bad, text="numbers")
    checked = Checked(said=findings, skipped={}, failed={}, seconds=1.0)
    return Observed(name=name, kind=kind, family="mlp", rules=rules, why="Why.", checked=checked, proof=proof)


TABLE = (
    observed("fading", "broken", said("fades", "error", 2.0), rules=("fades",), bad=True),
    observed("fading-little", "broken", said("fades", "warn", 0.5), rules=("fades", "clones"), bad=True),
    observed("cloned", "broken", said("clones", "info"), rules=("clones", "fades"), bad=True),
    observed("hidden", "broken", said("fades", "info"), rules=("fades",), bad=True),
    observed("accused", "healthy", said("fades", "error", 0.1), bad=False),
    observed("suspected", "twin", said("fades", "warn", -0.4), bad=False),
    observed("praised", "healthy", said("fades", "info", -3.0), bad=False),
)


def test_a_rule_hits_where_it_spoke_and_misses_where_no_right_cause_was_named() -> None:
    fades, clones = rule_scores(TABLE, GRAVEST)
    assert (fades.hits, fades.otherwise, fades.missed) == (["fading", "fading-little"], [], ["hidden"])
    assert (clones.hits, clones.missed) == (["cloned"], [])


def test_errors_and_warnings_on_sound_networks_are_counted_apart_and_info_lines_not_at_all() -> None:
    fades = rule_scores(TABLE, GRAVEST)[0]
    assert (fades.false_errors, fades.false_warns) == (["accused"], ["suspected"])


def test_margins_are_the_smallest_on_hits_and_the_largest_on_sound_networks() -> None:
    fades, clones = rule_scores(TABLE, GRAVEST)
    assert (fades.hit_margin, fades.sound_margin) == (0.5, 0.1)
    assert (clones.hit_margin, clones.sound_margin) == (None, None)


def test_another_right_cause_excuses_the_best_one_and_an_error_of_a_wrong_cause_is_a_stray() -> None:
    one = observed("one", "broken", said("blocked", "error"), said("grows", "warn"), rules=("fades", "grows"))
    scores = {score.rule: score for score in rule_scores([one], GRAVEST)}
    assert scores["fades"].otherwise == ["one"]
    assert scores["blocked"].strays == ["one"]
    assert scores["grows"].strays == []


def test_a_broken_network_counts_as_named_by_an_error_or_a_warning_of_a_right_cause() -> None:
    counts = overall(TABLE)
    assert (counts.named, counts.informed) == (["fading", "fading-little"], ["cloned", "hidden"])
    assert (len(counts.broken), len(counts.sound)) == (4, 3)
    assert (counts.false_errors, counts.false_warns) == (["accused"], ["suspected"])


def test_precision_and_recall_are_of_findings_against_the_outcome_of_training() -> None:
    lines = {one.rule: one for one in foretold(TABLE, GRAVEST)}
    assert (lines["any error"].precision, lines["any error"].recall) == (1 / 2, 1 / 4)
    assert (lines["fades"].precision, lines["fades"].recall) == (2 / 4, 2 / 4)
    assert (lines["clones"].precision, lines["clones"].recall) == (None, 0.0)


def test_the_text_names_every_missed_and_wrongly_accused_network() -> None:
    lines = text(TABLE, GRAVEST).splitlines()
    assert "fades: missed on hidden" in lines
    assert "fades: FALSE ERROR on accused" in lines
    assert "a right cause named: 2/4 (50.0%) of the broken networks" in lines
    assert "false errors:        1/3 (33.3%) of the sound networks" in lines


def test_a_check_that_did_not_end_is_told_and_names_nothing() -> None:
    lost = Observed(
        name="lost", kind="broken", family="mlp", rules=("fades",), why="", checked=Checked.without("took too long")
    )
    quiet = replace(lost, name="quiet", kind="twin", rules=())
    assert "NOT CHECKED, took too long: lost, quiet" in text([lost, quiet], GRAVEST).splitlines()
    assert (overall([lost, quiet]).named, overall([lost, quiet]).sound) == ([], [])


def test_stored_results_are_read_back_as_they_were_but_for_times_and_sentences() -> None:
    back = read(json.loads(json.dumps(stored(TABLE))))
    assert [back[one.name].proof for one in TABLE] == [one.proof for one in TABLE]
    assert rule_scores(list(back.values()), GRAVEST) == rule_scores(TABLE, GRAVEST)
    assert foretold(list(back.values()), GRAVEST) == foretold(TABLE, GRAVEST)


def test_the_page_has_a_row_for_every_network_and_says_which_label_is_not_proven() -> None:
    doubtful = observed("doubtful", "broken", rules=("fades",), bad=False)
    lines = page((*TABLE, doubtful), GRAVEST, seeds=3, progress=0.8, below=0.25).splitlines()
    assert "| hidden | fades | Why. | numbers |" in lines
    assert "| doubtful | fades | Why. | **not proven** numbers |" in lines
    assert "* broken networks: 4 of 5 trained ones proven" in lines


def test_what_was_said_under_several_seeds_is_said_once() -> None:
    first = Checked(said=(said("fades", "warn"),), skipped={}, failed={}, seconds=1.0)
    second = Checked(said=(said("fades", "warn"), said("clones", "info")), skipped={"x": "why"}, failed={}, seconds=2.0)
    both = first.joined(second)
    assert both.said == (said("fades", "warn"), said("clones", "info"))
    assert (both.skipped, both.seconds) == ({"x": "why"}, 2.0)


@pytest.mark.slow
def test_a_crash_a_death_and_a_timeout_are_answers_and_the_other_cases_go_on() -> None:
    tasks = [("fine", 1), ("crash", 2), ("die", 3), ("sleep", 4), ("fine", 5), ("fine", 6)]
    answers = [answer for _, _, answer in work(job, tasks, limit_s=1.5, processes=2)]
    assert [answers[0], *answers[4:]] == [1, 5, 6]
    assert answers[1].startswith("ValueError: no such layer (test_calibrate.py:")
    assert answers[2] == "the process died (exit code 3)"
    assert answers[3] == "took more than 1.5 s"


def test_every_contradiction_of_a_table_is_listed() -> None:
    cases = [
        case("twice"), case("twice"), case("nameless", kind="broken", twin="twice"),
        case("lonely", kind="broken", rules=("fades",), twin="nobody"), case("blamed", rules=("fades",)),
        case("lazy", why_no_training=""),
    ]  # fmt: skip
    assert contradictions(cases) == [
        "twice stands 2 times",
        "nameless is broken and names no rule",
        "nameless has no twin named 'twice'",
        "lonely has no twin named 'nobody'",
        "blamed is sound and names a rule or a twin",
        "lazy is not trained and does not say why",
    ]


def test_the_table_of_the_repository_contradicts_itself_nowhere() -> None:
    assert contradictions(all_cases()) == []


def test_every_rule_that_a_broken_network_names_exists() -> None:
    from initscope.checker.rule import RULES

    assert sorted({rule for one in all_cases() for rule in one.rules if rule not in RULES}) == []


def test_cases_are_chosen_by_name_kind_and_family() -> None:
    cases = [case("zero-head"), case("one", family="cnn"), case("two", kind="twin")]
    picked = [[one.name for one in chosen(cases, patterns)] for patterns in (["zero-*"], ["cnn", "twin"], [])]
    assert picked == [["zero-head"], ["one", "two"], ["zero-head", "one", "two"]]


def test_a_pattern_that_fits_nothing_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(UsageError) as caught:
        chosen([case("zero-head"), case("rezero")], ["zero-heed"])
    assert str(caught.value) == (
        "no case fits a pattern\n"
        "  where: --cases\n"
        "  got:   zero-heed\n"
        "  legal: a pattern over names, kinds (broken, twin, healthy, architecture) or families\n"
        "  do:    did you mean 'zero-head'?"
    )


def outcome(first: float, final: float, *, chance: float = 1.0) -> Outcome:
    return Outcome(seed=0, first_loss=first, final_loss=final, accuracy=0.5, chance=chance, diverged=False)


def test_a_label_is_proven_by_training_or_says_why_not() -> None:
    from calibration.case import Training

    cases = {
        "bad": case("bad", kind="broken", rules=("fades",), twin="good", training=Training()),
        "good": case("good", kind="twin", training=Training()),
        "idle": case("idle", training=Training()),
        "untried": case("untried"),
        "crashed": case("crashed", training=Training()),
    }
    runs = {
        "bad": [outcome(1.0, 0.99)] * 3,
        "good": [outcome(1.0, 0.1)] * 3,
        "idle": [outcome(1.0, 0.9)] * 3,
        "untried": [],
        "crashed": "RuntimeError: boom",
    }
    found = proofs(cases, runs)
    assert {name: proof.proven for name, proof in found.items()} == {
        "bad": True, "good": True, "idle": False, "untried": None, "crashed": False,
    }  # fmt: skip
    assert (found["untried"].text, found["crashed"].text) == ("none", "RuntimeError: boom")


def test_what_some_rules_say_alone_is_not_written(capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(["--rules", "signal-fades", "--write"]) == 2
    assert capsys.readouterr().err == (
        "what some rules say alone is not written\n  where: --write\n  do:    leave out --rules\n"
    )


@pytest.mark.slow
def test_trainings_written_before_are_kept_and_those_of_the_chosen_cases_added(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program, "PAGE", tmp_path / "page.md")
    monkeypatch.setattr(program, "RESULTS", tmp_path / "results.json")
    proof = Proof(proven=True, learns=True, first=1.5, chance=1.4, final=0.1)
    before = Observed(name="zero-head", kind="healthy", family="mlp", rules=(), why="", proof=proof)
    program.RESULTS.write_text(json.dumps(stored([before])))
    assert program.main(["--cases", "zero-logistic-regression", "--no-check", "--prove", "missing", "--write"]) == 0
    written = read(json.loads(program.RESULTS.read_text()))
    assert written["zero-head"].proof == proof
    assert [name for name, one in written.items() if one.proof] == ["zero-logistic-regression", "zero-head"]
    assert written["zero-logistic-regression"].proof.proven is True
    assert "| first 1.5, chance 1.4, final 0.1 |" in program.PAGE.read_text()


def test_the_list_shows_kind_family_and_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(["--cases", "zero-head", "--list"]) == 0
    assert capsys.readouterr().out == "healthy      mlp            zero-head\n"


def test_a_few_cases_are_checked_in_processes_of_their_own_without_a_false_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert program.main(["--cases", "zero-logistic-regression", "--cases", "tanh-constant-tenth*"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "a right cause named: 1/1 (100.0%) of the broken networks" in lines
    assert "false errors:        0/2 (0.0%) of the sound networks" in lines


@pytest.mark.slow
def test_every_twelfth_healthy_design_gets_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    names = [one.name for one in all_cases() if one.kind == "healthy"][::12]
    code = program.main([word for name in names for word in ("--cases", name)])
    shown = capsys.readouterr().out
    assert code == 0, shown
    assert f"false errors:        0/{len(names)} (0.0%) of the sound networks" in shown


def test_the_written_results_know_every_case_of_the_table() -> None:
    results = Path(program.RESULTS)
    known = read(json.loads(results.read_text(encoding="utf-8")))
    assert sorted(known) == sorted(one.name for one in all_cases())
