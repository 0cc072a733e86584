"""Did it learn at all: every run's outcome, and the shares of outcomes of a condition."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from initscope.records.results import Results
from initscope.records.run import RunRecord
from initscope.stats.intervals import Interval, wilson

Outcome = Literal["learned", "partly", "at chance", "diverged", "failed", "unknown"]
OUTCOMES: tuple[Outcome, ...] = ("learned", "partly", "at chance", "diverged", "failed", "unknown")
STANDARD_ERRORS = 4.0


@dataclass(frozen=True, kw_only=True)
class Share:
    """`count` of `n` runs: `share` in 0..1 with its Wilson interval; NaN where it is not known."""

    count: int
    n: int
    share: float
    interval: Interval


@dataclass(frozen=True, kw_only=True)
class OutcomeShares:
    """The three shares of one condition.

    `n` counts the runs that finished or diverged: a diverged run did not learn and stays in the denominator, a failed
    one (the engine raised) says nothing and is left out. `counts` has every outcome, failed ones too. Where a run's
    outcome is unknown, the shares of learned and partly are NaN, not 0.
    """

    condition: str
    n: int
    counts: Mapping[Outcome, int]
    learned: Share
    partly: Share
    at_chance: Share


def is_at_chance(run: RunRecord) -> bool:
    """Returns whether the final test accuracy lies within four binomial standard errors of some class's share.

    A share s of the run's own `n_test` held-out samples has the standard error sqrt(s(1-s)/n_test). All classes count,
    not the largest alone: a network that always answers one class scores that class's share. With a small held-out set
    the margin is wide (n_test = 180 and s = 11.7 %: +-9.6 points).
    """
    accuracy = run.final_test_accuracy_percent / 100.0
    if not math.isfinite(accuracy) or not run.class_shares or run.n_test < 1:
        return False
    shares = np.asarray(run.class_shares, dtype=np.float64)
    margins = STANDARD_ERRORS * np.sqrt(shares * (1.0 - shares) / run.n_test)
    return bool(np.any(np.abs(accuracy - shares) <= margins + 1e-12))


def learning_reference(results: Results) -> float:
    """Returns the median final test accuracy (percent) of the baseline's finished runs: what "learned" is measured by.

    NaN where the baseline has no finished run or where at least half of them are themselves at chance: then there
    is nothing to measure learning by.
    """
    runs = [run for run in results.baseline if run.status == "finished"]
    runs = [run for run in runs if math.isfinite(run.final_test_accuracy_percent)]
    if 2 * sum(is_at_chance(run) for run in runs) >= len(runs):
        return math.nan
    return float(np.median([run.final_test_accuracy_percent for run in runs]))


def outcome_of(run: RunRecord, *, reference_percent: float) -> Outcome:
    """Returns the outcome of one run.

    In this order: "diverged" and "failed" by the run's status; "unknown" where no accuracy was measured; "at chance"
    (see `is_at_chance`), which is asked first because it rests on the run alone; "unknown" where `reference_percent`
    is NaN; "learned" from half the way between chance (the run's largest class share) and the reference upwards;
    "partly" otherwise, even below chance.

    Arguments: `reference_percent` the value of `learning_reference`, in percent or NaN.
    """
    if run.status != "finished":
        return run.status
    accuracy, chance = run.final_test_accuracy_percent, run.chance_percent
    if not math.isfinite(accuracy) or not math.isfinite(chance):
        return "unknown"
    if is_at_chance(run):
        return "at chance"
    if not math.isfinite(reference_percent):
        return "unknown"
    return "learned" if accuracy >= chance + (reference_percent - chance) / 2 - 1e-9 else "partly"


def classify(results: Results) -> dict[tuple[str, int], Outcome]:
    """Returns the outcome of every run as (condition, seed) -> outcome, in the order of the runs."""
    reference = learning_reference(results)
    return {(run.condition, run.seed): outcome_of(run, reference_percent=reference) for run in results.runs}


def outcome_shares(condition: str, outcomes: Iterable[Outcome], *, level: float = 0.95) -> OutcomeShares:
    """Returns the shares of learned, partly and at chance among the `outcomes` of one condition's runs.

    Arguments: `outcomes` one an entry a run; `level` of the Wilson intervals, in (0, 1).

    Example:
        >>> shares = outcome_shares("biases-zero", ["learned", "learned", "at chance", "failed"])
        >>> shares.learned.count, shares.n, round(shares.learned.share, 3)
        (2, 3, 0.667)
    """
    found = Counter(outcomes)
    counts: dict[Outcome, int] = {outcome: found[outcome] for outcome in OUTCOMES}
    n = sum(counts.values()) - counts["failed"]
    judged = counts["unknown"] == 0
    return OutcomeShares(
        condition=condition,
        n=n,
        counts=counts,
        learned=_share(counts["learned"], n if judged else 0, level),
        partly=_share(counts["partly"], n if judged else 0, level),
        at_chance=_share(counts["at chance"], n, level),
    )


def _share(count: int, n: int, level: float) -> Share:
    if n == 0:
        return Share(count=count, n=0, share=math.nan, interval=wilson(0, 0, level=level))
    return Share(count=count, n=n, share=count / n, interval=wilson(count, n, level=level))
