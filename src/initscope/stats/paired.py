"""Paired comparison of a condition with the baseline: runs of one seed share split, shuffles and default draw."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from initscope.base.streams import stream_seed
from initscope.records.run import FloatArray
from initscope.stats.intervals import Interval, mean_interval

MINIMUM_PAIRS = 6
"""Below this many pairs no significance is claimed: at 5 the smallest two-sided p is 2/32 = 0.0625."""
EXACT_PAIRS = 16
"""Up to this many pairs every one of the 2^n sign flips is counted."""
RANDOM_FLIPS = 99_999
_CHUNK = 10_000


@dataclass(frozen=True, kw_only=True)
class Paired:
    """Per-seed differences (condition minus baseline) in the unit of the values.

    `n` pairs; `interval` Student's t interval of the mean difference; `p` the two-sided sign-flip p value of the mean,
    not adjusted for the number of comparisons; NaN below `MINIMUM_PAIRS` pairs.
    """

    n: int
    mean: float
    median: float
    interval: Interval
    p: float


def compare(
    values_by_seed: Mapping[int, float], baseline_by_seed: Mapping[int, float], *, level: float = 0.95
) -> Paired:
    """Returns the paired comparison over the seeds that both have with finite values.

    The p value is that of a sign-flip test: were the condition no different, each difference would be as likely with
    the other sign. It needs no shape of distribution, only that symmetry. Exact up to `EXACT_PAIRS` pairs, beyond with
    `RANDOM_FLIPS` seeded random flips and p = (b+1)/(m+1).

    Arguments: both map a seed to that run's value, in one unit; `level` of the interval, in (0, 1).

    Example:
        >>> paired = compare({0: 1.0, 1: 2.0, 2: 2.5}, {0: 0.5, 1: 1.0, 3: 9.0})
        >>> paired.n, paired.mean, paired.p
        (2, 0.75, nan)
    """
    both = sorted(values_by_seed.keys() & baseline_by_seed.keys())
    differences = np.array([values_by_seed[seed] - baseline_by_seed[seed] for seed in both], dtype=np.float64)
    differences = differences[np.isfinite(differences)]
    if differences.size == 0:
        return Paired(n=0, mean=math.nan, median=math.nan, interval=mean_interval([], level=level), p=math.nan)
    return Paired(
        n=int(differences.size),
        mean=float(differences.mean()),
        median=float(np.median(differences)),
        interval=mean_interval(differences, level=level),
        p=sign_flip_p(differences),
    )


def sign_flip_p(differences: FloatArray) -> float:
    """Returns the two-sided sign-flip p value of the mean of `differences`; NaN below `MINIMUM_PAIRS` of them.

    Arguments: `differences` Float "pair", finite.
    """
    n = differences.size
    if n < MINIMUM_PAIRS:
        return math.nan
    # Sums that are equal on paper differ in the last bits with the order of adding; the slack counts them as equal.
    bar = abs(float(differences.sum())) - 1e-12 * float(np.abs(differences).sum())
    if n <= EXACT_PAIRS:
        flips = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
        return float(np.mean(np.abs((1.0 - 2.0 * flips) @ differences) >= bar))
    generator = np.random.default_rng(stream_seed(0, "stats", "sign-flip", n))
    reached, left = 0, RANDOM_FLIPS
    while left:
        flips = generator.integers(0, 2, size=(min(left, _CHUNK), n), dtype=np.int8)
        reached += int(np.count_nonzero(np.abs((1.0 - 2.0 * flips) @ differences) >= bar))
        left -= flips.shape[0]
    return (reached + 1) / (RANDOM_FLIPS + 1)


def holm(ps: Sequence[float]) -> tuple[float, ...]:
    """Returns the p values adjusted after Holm for the number of finite ones; NaN stays NaN and is not counted.

    The k-th smallest of m is multiplied by m-k+1, then made monotone and at most 1. Holds the chance of any false claim
    at the level of the test, whatever the dependence between the tests.

    Example:
        >>> [round(p, 3) for p in holm([0.01, float("nan"), 0.04, 0.03])]
        [0.03, nan, 0.06, 0.06]
    """
    given = np.asarray(ps, dtype=np.float64)
    adjusted = np.full(given.shape, np.nan)
    known = np.flatnonzero(np.isfinite(given))
    order = known[np.argsort(given[known], kind="stable")]
    factors = np.arange(order.size, 0, -1)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(given[order] * factors))
    return tuple(float(p) for p in adjusted)
