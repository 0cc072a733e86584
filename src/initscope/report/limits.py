"""What a study's results do not allow anyone to conclude, computed from the results."""

from __future__ import annotations

import math
from collections.abc import Sequence

from initscope.base.quantities import counted, percent, percent_interval, significant
from initscope.records.results import Results
from initscope.report.differences import difference_text
from initscope.report.naming import listed
from initscope.report.why import kinds_of
from initscope.stats.outcomes import is_at_chance
from initscope.stats.paired import MINIMUM_PAIRS
from initscope.stats.summary import ConditionSummary

SMALL_TEST_POINTS = 1.0
"""A held-out set whose standard error exceeds this many points is called small."""


def limits(results: Results, rows: Sequence[ConditionSummary]) -> tuple[str, ...]:
    """Returns one sentence a limit, the graver first."""
    found = (
        _missing(results),
        _no_reference(results, rows),
        _few_pairs(rows),
        _rounding(results),
        _mixed_environments(results),
        _split_means(rows),
        _indistinct(rows),
        _share_width(rows),
        _small_test_set(results, rows),
        _scope(results),
    )
    return tuple(sentence for sentence in found if sentence)


def mixed(results: Results) -> tuple[str, ...]:
    """Returns what differs between the sessions that trained these runs: "torch (2.12.0, 2.13.0)", ..."""
    names = (("torch", "torch"), ("processor", "processor"), ("device", "device"), ("engine", "engine"))
    found = ((label, sorted({str(getattr(each, name)) for each in results.environments})) for name, label in names)
    return tuple(f"{label} ({', '.join(values)})" for label, values in found if len(values) > 1)


def _missing(results: Results) -> str:
    planned = len(results.study.conditions) * results.study.seeds
    failed = [run for run in results.runs if run.status == "failed"]
    parts = []
    if len(results.runs) < planned:
        parts.append(f"{planned - len(results.runs)} of {planned} planned runs are missing")
    if failed:
        conditions = [key for key in results.conditions if any(run.condition == key for run in failed)]
        parts.append(f"{counted(len(failed), 'run')} failed ({listed(conditions)})")
    return f"The study is not complete: {' and '.join(parts)}; shares and medians leave them out." if parts else ""


def _no_reference(results: Results, rows: Sequence[ConditionSummary]) -> str:
    if not any(math.isnan(row.outcomes.learned.share) for row in rows):
        return ""
    baseline = results.baseline
    if not baseline:
        return f"Whether a run learned is not known: the baseline {results.study.baseline} was not run."
    stuck = sum(is_at_chance(run) for run in baseline)
    return (
        f"Whether a run learned is not known: {stuck} of the baseline's {counted(len(baseline), 'run')} are themselves "
        "at chance or were not measured."
    )


def _few_pairs(rows: Sequence[ConditionSummary]) -> str:
    pairs = [row.paired.n for row in rows if row.paired is not None]
    few = [n for n in pairs if n < MINIMUM_PAIRS]
    if not few:
        return ""
    who = "Every comparison" if len(few) == len(pairs) else counted(len(few), "comparison")
    smallest = (
        f" {max(few)} pairs can give no two-sided p value below {significant(2 / 2 ** max(few))}." if max(few) else ""
    )
    return (
        f"{who} with the baseline rests on fewer than {MINIMUM_PAIRS} pairs, so no significance is claimed.{smallest}"
    )


def _rounding(results: Results) -> str:
    decided = [key for key in results.conditions if "rounding" in kinds_of(results, key)]
    if not decided:
        return ""
    verb = "is" if len(decided) == 1 else "are"
    return (
        f"{listed(decided)} {verb} decided by rounding in {results.study.train.dtype}: another processor, library "
        "version or number format may give other curves, so these belong to the machine as much as to the method."
    )


def _mixed_environments(results: Results) -> str:
    found = mixed(results)
    if not found:
        return ""
    sessions = counted(len(results.environments), "session")
    return f"The runs come from {sessions} that differ in {listed(found)}: equal bits are not to be expected."


def _split_means(rows: Sequence[ConditionSummary]) -> str:
    split = [row for row in rows if row.outcomes.learned.count and row.outcomes.at_chance.count]
    if not split:
        return ""
    parts = [
        f"{row.condition} ({percent(row.mean)}: {row.outcomes.learned.count} learned, {row.outcomes.at_chance.count} "
        f"stayed at chance, from {percent(row.minimum)} to {percent(row.maximum)})"
        for row in split
    ]
    return f"A mean hides two kinds of ending in {listed(parts)}; so does its mean difference to the baseline."


def _indistinct(rows: Sequence[ConditionSummary]) -> str:
    alike = [row for row in rows if row.paired is not None and row.paired.interval.known and _spans_zero(row)]
    if not alike:
        return ""
    parts = [f"{row.condition} ({difference_text(row)})" for row in alike]
    return (
        f"Not told apart from the baseline: {listed(parts)} points. That is no proof that they are equal; "
        "the interval says what remains possible."
    )


def _spans_zero(row: ConditionSummary) -> bool:
    return row.paired is not None and row.paired.interval.low <= 0 <= row.paired.interval.high


def _share_width(rows: Sequence[ConditionSummary]) -> str:
    known = [row.outcomes.learned for row in rows if row.outcomes.learned.interval.known]
    if not known:
        return ""
    widest = max(known, key=lambda share: share.interval.high - share.interval.low)
    text = percent_interval(100 * widest.share, 100 * widest.interval.low, 100 * widest.interval.high)
    return f"Shares are coarse at this number of seeds: {widest.count} of {widest.n} is {text}."


def _small_test_set(results: Results, rows: Sequence[ConditionSummary]) -> str:
    sizes = [run.n_test for run in results.runs if run.n_test]
    if not sizes:
        return ""
    medians = [row.median for row in rows if math.isfinite(row.median)]
    near = min(max([*medians, 50.0]), 95.0)
    error = math.sqrt(near * (100 - near) / min(sizes))
    if error <= SMALL_TEST_POINTS:
        return ""
    return (
        f"The held-out set is small ({min(sizes)} samples): one sample is {100 / min(sizes):.2f} points, and a single "
        f"accuracy near {near:.0f} % has a standard error of {error:.1f} points."
    )


def _scope(results: Results) -> str:
    study, data = results.study, results.data
    shape = "-".join(str(width) for width in study.model.hidden) if study.model.factory is None else study.model.label
    train = f"{study.train.optimizer}, learning rate {study.train.learning_rate:g}"
    return (
        f"All of it holds for one data set ({data.name}, {data.n_samples:,} samples), one network ({shape}, "
        f"{study.model.activation}), one optimiser ({train}) and {counted(study.train.epochs, 'epoch')}; a run at "
        "chance there might still leave it later or with other settings."
    )
