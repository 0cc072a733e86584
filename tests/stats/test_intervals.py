"""Intervals against published values, their definitions and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from initscope.stats.intervals import mean_interval, wilson


def test_wilson_agrees_with_newcombes_published_examples() -> None:
    published = ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718))
    for successes, n, low, high in published:
        interval = wilson(successes, n)
        assert (round(interval.low, 4), round(interval.high, 4)) == (low, high)


@given(st.integers(1, 200).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_bounds_solve_the_score_equation_or_are_zero_or_one(case: tuple[int, int]) -> None:
    successes, n = case
    interval = wilson(successes, n)
    share, z = successes / n, 1.959963984540054
    for bound in (interval.low, interval.high):
        distance = pytest.approx(z * math.sqrt(bound * (1 - bound) / n), rel=1e-9)
        assert bound in (0.0, 1.0) or abs(share - bound) == distance
    assert interval.low <= share <= interval.high


@given(st.integers(0, 50), st.integers(0, 50))
def test_wilson_of_the_failures_is_the_mirror_of_wilson_of_the_successes(successes: int, failures: int) -> None:
    n = successes + failures
    one, other = wilson(successes, n), wilson(failures, n)
    if n:
        assert one.low == pytest.approx(1 - other.high, abs=1e-12)


def test_wilson_of_no_runs_is_not_known() -> None:
    assert not wilson(0, 0).known


def test_wilson_refuses_more_successes_than_runs_and_a_level_outside_zero_to_one() -> None:
    with pytest.raises(ValueError) as refused:
        wilson(3, 2)
    assert str(refused.value) == "successes must lie in 0..n, got 3 of 2"
    with pytest.raises(ValueError) as refused:
        wilson(1, 2, level=95)
    assert str(refused.value) == "level must lie in (0, 1), got 95"


def test_mean_interval_uses_the_t_quantile_of_the_table() -> None:
    values = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0]
    interval = mean_interval(values)
    assert interval.high - 4.5 == pytest.approx(2.262157 * np.std(values, ddof=1) / math.sqrt(10), rel=1e-6)
    assert 4.5 - interval.low == pytest.approx(interval.high - 4.5)


def test_mean_interval_of_one_value_is_not_known_and_of_equal_values_has_no_width() -> None:
    assert not mean_interval([3.0]).known
    assert not mean_interval([]).known
    constant = mean_interval([11.25] * 5)
    assert (constant.low, constant.high) == (11.25, 11.25)


def test_mean_interval_leaves_out_values_that_were_not_measured() -> None:
    assert mean_interval([1.0, math.nan, 2.0, 3.0, math.inf]) == mean_interval([1.0, 2.0, 3.0])


def test_mean_interval_covers_the_mean_of_normal_samples_as_often_as_it_says() -> None:
    # 4000 intervals of 5 draws; at 95 % the covered share leaves [0.930, 0.970] with probability below 1e-6 (5.8 s.e.).
    draws = np.random.default_rng(5).normal(size=(4000, 5))
    intervals = [mean_interval(row) for row in draws]
    covered = np.mean([interval.low <= 0.0 <= interval.high for interval in intervals])
    assert 0.930 < covered < 0.970
