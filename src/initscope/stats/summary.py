"""One row a condition: what the terminal table, the report and the figures' captions say."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from initscope.records.results import Results
from initscope.records.run import RunRecord
from initscope.stats.intervals import Interval, mean_interval
from initscope.stats.outcomes import OutcomeShares, classify, outcome_shares
from initscope.stats.paired import Paired, compare, holm


@dataclass(frozen=True, kw_only=True)
class ConditionSummary:
    """What the runs of one condition say. Accuracies are final test accuracies in percent, NaN where none was measured.

    `n` runs in all, `n_measured` of them finished with a measured accuracy: those the numbers rest on; `accuracies`
    are theirs, by seed. `interval` is Student's t interval of `mean` over seeds. `paired` compares with the baseline
    seed by seed (percentage points), None for the baseline itself and where it has no runs. `p_holm` is `paired.p`
    adjusted after Holm over all conditions compared; NaN where no significance is claimed. `chance_percent` is the
    mean over runs of the largest class share.
    """

    condition: str
    is_baseline: bool
    n: int
    n_measured: int
    outcomes: OutcomeShares
    accuracies: tuple[float, ...]
    median: float
    minimum: float
    maximum: float
    mean: float
    interval: Interval
    chance_percent: float
    paired: Paired | None
    p_holm: float


def final_accuracies(runs: tuple[RunRecord, ...]) -> dict[int, float]:
    """Returns seed -> final test accuracy (percent) of the runs that finished with a measured one."""
    found = {run.seed: run.final_test_accuracy_percent for run in runs if run.status == "finished"}
    return {seed: value for seed, value in found.items() if math.isfinite(value)}


def summarise(results: Results, *, level: float = 0.95) -> tuple[ConditionSummary, ...]:
    """Returns one summary a condition that has runs, in the study's order.

    Arguments: `level` of every interval, in (0, 1). Holm's adjustment counts the comparisons with the baseline that
    have a p value: those with at least six pairs.
    """
    outcomes = classify(results)
    baseline = final_accuracies(results.baseline)
    rows = []
    for condition in results.conditions:
        found = [outcomes[run.condition, run.seed] for run in results.of(condition)]
        rows.append(_row(results, outcome_shares(condition, found, level=level), baseline, level))
    adjusted = holm([row.paired.p if row.paired else math.nan for row in rows])
    return tuple(replace(row, p_holm=p) for row, p in zip(rows, adjusted, strict=True))


def _row(results: Results, shares: OutcomeShares, baseline: dict[int, float], level: float) -> ConditionSummary:
    condition = shares.condition
    runs = results.of(condition)
    by_seed = final_accuracies(runs)
    values = np.array(list(by_seed.values()), dtype=np.float64)
    chances = [run.chance_percent for run in runs if math.isfinite(run.chance_percent)]
    is_baseline = condition == results.study.baseline
    return ConditionSummary(
        condition=condition,
        is_baseline=is_baseline,
        n=len(runs),
        n_measured=len(by_seed),
        outcomes=shares,
        accuracies=tuple(by_seed.values()),
        median=float(np.median(values)) if values.size else math.nan,
        minimum=float(values.min()) if values.size else math.nan,
        maximum=float(values.max()) if values.size else math.nan,
        mean=float(values.mean()) if values.size else math.nan,
        interval=mean_interval(values, level=level),
        chance_percent=float(np.mean(chances)) if chances else math.nan,
        paired=None if is_baseline or not results.baseline else compare(by_seed, baseline, level=level),
        p_holm=math.nan,
    )
