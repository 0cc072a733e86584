"""Outcomes follow the spec's words, in the order that is written down."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from initscope.records.results import Results
from initscope.records.run import RunRecord
from initscope.stats.outcomes import classify, is_at_chance, learning_reference, outcome_of, outcome_shares
from tests.support.synthetic import make_results, make_run

SHARES = (0.2, *[0.8 / 9] * 9)


def run_ending_at(end: float, *, n_test: int = 10_000, condition: str = "all-one", seed: int = 0) -> RunRecord:
    """A run with chance at 20 % whose final test accuracy is `end` percent."""
    return replace(make_run(condition, seed, end=end), class_shares=SHARES, n_test=n_test)


def results_of(*runs: RunRecord) -> Results:
    """Results that hold just these runs."""
    return replace(make_results(seeds=1), runs=runs)


def test_within_four_standard_errors_of_the_largest_class_share_is_at_chance() -> None:
    four = 400 * math.sqrt(0.2 * 0.8 / 10_000)
    assert is_at_chance(run_ending_at(20 + four - 0.01))
    assert is_at_chance(run_ending_at(20 - four + 0.01))
    assert not is_at_chance(run_ending_at(20 + four + 0.01))
    assert not is_at_chance(run_ending_at(20 - four - 0.01))


def test_within_four_standard_errors_of_any_other_class_share_is_at_chance_too() -> None:
    assert is_at_chance(run_ending_at(100 * 0.8 / 9))
    assert not is_at_chance(run_ending_at(14.0))


def test_a_small_held_out_set_makes_the_margin_wide() -> None:
    assert is_at_chance(run_ending_at(31.0, n_test=180))
    assert not is_at_chance(run_ending_at(31.0, n_test=2000))


def test_half_the_way_from_chance_to_the_reference_is_learned_and_less_is_partly() -> None:
    assert outcome_of(run_ending_at(58.0), reference_percent=96.0) == "learned"
    assert outcome_of(run_ending_at(57.99), reference_percent=96.0) == "partly"
    assert outcome_of(run_ending_at(2.0), reference_percent=96.0) == "partly"


def test_at_chance_is_asked_before_learned() -> None:
    assert outcome_of(run_ending_at(21.0), reference_percent=22.0) == "at chance"


def test_the_reference_is_the_median_of_the_baselines_finished_runs() -> None:
    ends = (90.0, 95.0, 99.0)
    runs = [run_ending_at(end, condition="default", seed=seed) for seed, end in enumerate(ends)]
    diverged = replace(run_ending_at(5.0, condition="default", seed=9), status="diverged")
    assert learning_reference(results_of(*runs, diverged)) == 95.0


def test_without_baseline_runs_only_runs_at_chance_are_known() -> None:
    outcomes = classify(results_of(run_ending_at(20.0, seed=0), run_ending_at(90.0, seed=1)))
    assert outcomes == {("all-one", 0): "at chance", ("all-one", 1): "unknown"}


def test_a_baseline_that_is_itself_at_chance_measures_nothing() -> None:
    baseline = [run_ending_at(20.0, condition="default", seed=seed) for seed in range(3)]
    results = results_of(*baseline, run_ending_at(90.0))
    assert math.isnan(learning_reference(results))
    assert classify(results)["all-one", 0] == "unknown"


def test_diverged_and_failed_follow_the_status_and_an_unmeasured_accuracy_is_unknown() -> None:
    run = run_ending_at(90.0)
    empty = replace(run.history, test_accuracy_percent=np.array([]))
    assert outcome_of(replace(run, status="diverged"), reference_percent=95.0) == "diverged"
    assert outcome_of(replace(run, status="failed", history=empty, class_shares=()), reference_percent=95.0) == "failed"
    assert outcome_of(replace(run, history=empty), reference_percent=95.0) == "unknown"


def test_every_run_of_the_founding_study_has_an_outcome_in_the_order_of_the_runs() -> None:
    results = make_results(seeds=3)
    outcomes = classify(results)
    assert list(outcomes) == [(run.condition, run.seed) for run in results.runs]
    assert {outcomes["default", seed] for seed in range(3)} == {"learned"}
    assert {outcomes["all-zero", seed] for seed in range(3)} == {"at chance"}


def test_a_diverged_run_stays_in_the_denominator_and_a_failed_one_does_not() -> None:
    shares = outcome_shares("x", ["learned", "at chance", "diverged", "failed"])
    assert shares.n == 3
    assert shares.learned.share == pytest.approx(1 / 3)
    assert shares.counts == {"learned": 1, "partly": 0, "at chance": 1, "diverged": 1, "failed": 1, "unknown": 0}


def test_shares_that_cannot_be_known_are_nan_and_never_zero() -> None:
    shares = outcome_shares("x", ["unknown", "at chance"])
    assert math.isnan(shares.learned.share) and math.isnan(shares.partly.share)
    assert not shares.learned.interval.known
    assert shares.at_chance.share == 0.5
    assert math.isnan(outcome_shares("x", []).at_chance.share)
