"""Sentences computed from runs: titles, and how many of what on which data."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from initscope.base.quantities import counted, percent
from initscope.figures.groups import Ends
from initscope.records.results import Results
from initscope.records.run import RunRecord

_MOST_NAMES = 2


def listed(names: Sequence[str]) -> str:
    """Returns "a", "a and b", "a, b and c"."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else "nothing"


def seeds_behind(runs: Iterable[RunRecord]) -> str:
    """Returns "10 seeds", or "8 to 10 seeds a condition" where conditions differ; failed runs do not count."""
    counts: dict[str, int] = {}
    for run in runs:
        counts[run.condition] = counts.get(run.condition, 0) + (run.status != "failed")
    if not counts:
        return "0 seeds"
    low, high = min(counts.values()), max(counts.values())
    if low != high:
        return f"{low} to {high} seeds a condition"
    return counted(low, "seed") + (" a condition" if len(counts) > 1 else "")


def data_of(results: Results) -> str:
    """Returns "digits (1,797 samples, 180 held out)"."""
    held_out = {run.n_test for run in results.runs if run.n_test > 0}
    aside = f", {min(held_out):,} held out" if held_out else ""
    return f"{results.data.name} ({results.data.n_samples:,} samples{aside})"


def training_of(runs: Iterable[RunRecord]) -> str:
    """Returns "10 epochs", from the longest run."""
    return counted(max((run.epochs for run in runs), default=0), "epoch")


def chance_of(results: Results) -> float:
    """Returns the mean over runs of the held-out set's largest class share, in percent; NaN where there is none."""
    values = [run.chance_percent for run in results.runs if math.isfinite(run.chance_percent)]
    return sum(values) / len(values) if values else math.nan


def ended(end: Ends) -> str:
    """Returns one clause on how one condition ended."""
    key, seeds = end.condition, counted(end.n, "seed")
    every = f"in all {seeds}" if end.n != 1 else "in its one seed"
    middle = f"median {percent(end.median_percent)}" if end.n != 1 else percent(end.median_percent)
    if end.n and end.diverged == end.n:
        return f"{key} diverged {every}"
    if not end.finals:
        return f"{key} has no finished run"
    if end.learned == end.n:
        return f"{key} learned {every} ({middle})"
    if end.at_chance == end.n:
        return f"{key} stayed at chance {every} ({middle})"
    if end.split:
        return f"{key} learned in {end.learned} of {seeds} and stayed at chance in {end.at_chance}"
    return f"{key} ended {_range(end)}"


def _range(end: Ends) -> str:
    low, high = min(end.finals), max(end.finals)
    if percent(low) == percent(high):
        return f"at {percent(high)} ({counted(len(end.finals), 'seed')})"
    return f"between {low:.1f} and {percent(high)} ({counted(len(end.finals), 'seed')})"


def ends_sentence(ends: Sequence[Ends], baseline: str) -> str:
    """Returns the title sentence of a figure that shows how these conditions ended."""
    if not ends:
        return "No condition of this figure was run"
    if len(ends) == 1:
        return ended(ends[0])
    if len(ends) == 2 and baseline in {end.condition for end in ends}:
        first = next(end for end in ends if end.condition == baseline)
        other = next(end for end in ends if end.condition != baseline)
        if first.finals and first.learned == first.n:
            return f"{ended(other)}; {baseline} reached {percent(first.median_percent)}"
        return f"{ended(other)}; {ended(first)}"
    if not any(end.n for end in ends):
        return "No run of these conditions gave a number"
    if any(end.unknown for end in ends):
        return _medians_sentence(ends)
    return _learners_sentence(ends)


def _medians_sentence(ends: Sequence[Ends]) -> str:
    measured = [end for end in ends if end.finals]
    if not measured:
        return "No run of these conditions finished"
    low = min(measured, key=lambda end: end.median_percent)
    high = max(measured, key=lambda end: end.median_percent)
    return (
        f"Median accuracy after training runs from {percent(low.median_percent)} ({low.condition}) "
        f"to {percent(high.median_percent)} ({high.condition})"
    )


def _learners_sentence(ends: Sequence[Ends]) -> str:
    everywhere = [end.condition for end in ends if end.n and end.learned == end.n]
    nowhere = [end.condition for end in ends if end.learned == 0]
    between = [end for end in ends if 0 < end.learned < end.n]
    total = len(ends)
    if len(everywhere) == total:
        return f"All {total} conditions learned in every seed"
    if len(nowhere) == total:
        diverged = all(end.n and end.diverged == end.n for end in ends)
        return "Every run diverged" if diverged else f"None of the {total} conditions learned in any seed"
    parts = []
    if everywhere:
        parts.append(f"{_named(everywhere, total)} learned in every seed")
    if len(between) <= _MOST_NAMES:
        parts += [f"{end.condition} {_verb(parts)}in {end.learned} of {counted(end.n, 'seed')}" for end in between]
    else:
        parts.append(f"{len(between)} of {total} conditions {_verb(parts)}in some seeds only")
    if nowhere and parts and len(nowhere) > _MOST_NAMES:
        parts.append(f"the other {len(nowhere)} in none")
    elif nowhere:
        parts.append(f"{_named(nowhere, total)} {_verb(parts)}in none")
    return ", ".join(parts)


def _verb(parts: Sequence[str]) -> str:
    return "" if parts else "learned "


def _named(names: Sequence[str], total: int) -> str:
    return listed(names) if len(names) <= _MOST_NAMES else f"{len(names)} of {total} conditions"
