"""The paired comparison against its naive twin, the distribution of its p value, and Holm."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from initscope.stats.paired import compare, holm, sign_flip_p


def naive_p(differences: list[float]) -> float:
    """Counts every flip in plain Python."""
    bar = abs(math.fsum(differences)) - 1e-9
    flips = list(itertools.product((1, -1), repeat=len(differences)))
    sums = [math.fsum(sign * value for sign, value in zip(signs, differences, strict=True)) for signs in flips]
    return sum(abs(total) >= bar for total in sums) / len(flips)


@given(st.lists(st.integers(-50, 50), min_size=6, max_size=9))
def test_the_exact_p_agrees_with_counting_every_flip(values: list[int]) -> None:
    differences = [value / 7 for value in values]
    assert sign_flip_p(np.array(differences)) == naive_p(differences)


def test_ten_pairs_of_one_sign_have_the_smallest_two_sided_p() -> None:
    assert sign_flip_p(np.linspace(1.0, 2.0, 10)) == 2 / 2**10


def test_sixteen_pairs_are_counted_exactly_and_seventeen_are_sampled() -> None:
    assert sign_flip_p(np.linspace(1.0, 2.0, 16)) == 2 / 2**16
    sampled = sign_flip_p(np.linspace(1.0, 2.0, 17))
    assert sampled >= 1 / 100_000
    assert sampled * 100_000 == pytest.approx(round(sampled * 100_000))


def test_the_sampled_p_is_near_the_exact_one_and_the_same_at_every_call() -> None:
    # 100,000 flips: the standard error of p near 0.1 is 0.001; six of them are allowed.
    half = np.random.default_rng(3).normal(0.4, 1.0, 9)
    differences = np.concatenate([half, half])
    signs = 1.0 - 2.0 * ((np.arange(2**18)[:, None] >> np.arange(18)) & 1)
    exact = float(np.mean(np.abs(signs @ differences) >= abs(differences.sum()) - 1e-9))
    assert sign_flip_p(differences) == pytest.approx(exact, abs=0.006)
    assert sign_flip_p(differences) == sign_flip_p(differences)


def test_below_six_pairs_no_significance_is_claimed() -> None:
    paired = compare(dict(enumerate([9.0] * 5)), dict(enumerate([1.0] * 5)))
    assert (paired.n, paired.mean) == (5, 8.0)
    assert math.isnan(paired.p)
    assert math.isfinite(compare(dict(enumerate([9.0] * 6)), dict(enumerate([1.0] * 6))).p)


def test_only_seeds_that_both_have_with_finite_values_are_compared() -> None:
    paired = compare({1: 5.0, 2: 7.0, 3: math.nan, 4: 1.0}, {2: 6.0, 1: 1.0, 3: 2.0, 9: 0.0})
    assert (paired.n, paired.mean, paired.median) == (2, 2.5, 2.5)


def test_equal_runs_differ_by_nothing_with_p_one() -> None:
    values = dict.fromkeys(range(10), 11.7)
    paired = compare(values, values)
    assert (paired.mean, paired.interval.low, paired.interval.high, paired.p) == (0.0, 0.0, 0.0, 1.0)


def test_no_common_seed_gives_no_numbers() -> None:
    paired = compare({1: 5.0}, {2: 5.0})
    assert paired.n == 0
    assert math.isnan(paired.mean) and math.isnan(paired.median) and math.isnan(paired.p)
    assert not paired.interval.known


def test_without_an_effect_p_is_below_five_percent_no_more_often_than_five_percent() -> None:
    # 2000 tests at a true level of at most 5 %: more than 7.5 % has probability below 1e-6 (5.1 s.e.).
    draws = np.random.default_rng(11).normal(size=(2000, 8))
    assert np.mean([sign_flip_p(row) <= 0.05 for row in draws]) < 0.075


def test_holm_multiplies_the_smallest_most_and_never_lets_a_larger_p_pass_a_smaller_one() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))
    assert holm([0.5, 0.9]) == (1.0, 1.0)
    assert holm([]) == ()


def test_holm_passes_unknown_p_values_through_and_does_not_count_them() -> None:
    adjusted = holm([math.nan, 0.02, math.nan, 0.03])
    assert math.isnan(adjusted[0]) and math.isnan(adjusted[2])
    assert (adjusted[1], adjusted[3]) == pytest.approx((0.04, 0.04))
