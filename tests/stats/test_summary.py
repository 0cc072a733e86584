"""The summary table says what the runs say."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from initscope.stats.paired import compare
from initscope.stats.summary import final_accuracies, summarise
from tests.support.synthetic import make_results


def test_there_is_one_row_a_condition_that_has_runs_in_the_studys_order() -> None:
    results = make_results(seeds=2, conditions=("biases-zero", "default"))
    assert [row.condition for row in summarise(results)] == ["default", "biases-zero"]


def test_the_numbers_of_a_row_are_those_of_its_runs() -> None:
    results = make_results(seeds=7)
    row = next(row for row in summarise(results) if row.condition == "all-one")
    ends = [run.final_test_accuracy_percent for run in results.of("all-one")]
    assert row.accuracies == tuple(ends)
    assert (row.median, row.minimum, row.maximum) == (np.median(ends), min(ends), max(ends))
    assert row.mean == pytest.approx(np.mean(ends))
    assert row.interval.low < row.mean < row.interval.high
    assert (row.n, row.n_measured, row.chance_percent) == (7, 7, pytest.approx(11.7))


def test_the_baseline_is_not_compared_with_itself_and_the_others_are_paired_with_it() -> None:
    results = make_results(seeds=7)
    rows = {row.condition: row for row in summarise(results)}
    assert rows["default"].is_baseline and rows["default"].paired is None and math.isnan(rows["default"].p_holm)
    expected = compare(final_accuracies(results.of("all-one")), final_accuracies(results.baseline))
    assert rows["all-one"].paired == expected
    assert rows["all-one"].p_holm >= expected.p


def test_the_adjusted_p_counts_the_conditions_compared() -> None:
    two = make_results(seeds=10, conditions=("default", "all-zero"))
    eight = make_results(seeds=10)
    p = 2 / 2**10
    assert summarise(two)[1].p_holm == pytest.approx(p)
    assert {row.condition: row for row in summarise(eight)}["all-zero"].p_holm == pytest.approx(7 * p)


def test_failed_and_diverged_runs_are_counted_and_leave_no_number() -> None:
    results = make_results(seeds=2, conditions=("default", "all-one"))
    first, second = results.of("all-one")
    runs = (*results.baseline, replace(first, status="diverged"), replace(second, status="failed", class_shares=()))
    row = summarise(replace(results, runs=runs))[1]
    assert (row.n, row.n_measured, row.accuracies) == (2, 0, ())
    assert all(math.isnan(value) for value in (row.median, row.minimum, row.maximum, row.mean, row.p_holm))
    assert row.outcomes.counts["diverged"] == row.outcomes.counts["failed"] == 1


def test_without_the_baseline_nothing_is_compared() -> None:
    rows = summarise(make_results(seeds=7, conditions=("all-one", "biases-zero")))
    assert [row.paired for row in rows] == [None, None]
    assert summarise(replace(make_results(seeds=1), runs=())) == ()
