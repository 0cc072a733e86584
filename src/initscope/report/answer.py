"""The answer of a study in one sentence with its numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence

from initscope.base.quantities import counted, percent
from initscope.records.results import Results
from initscope.report.naming import listed
from initscope.stats.summary import ConditionSummary

NAMED = 4
"""Up to this many conditions of one kind are named; more are counted."""


def question(results: Results) -> str:
    """Returns the study's question, or one made from what was run where it asks none."""
    study = results.study
    if study.question:
        return study.question
    return f"What does {study.model.label} learn from {counted(len(results.conditions), 'starting point')}?"


def answer(results: Results, rows: Sequence[ConditionSummary]) -> str:
    """Returns one sentence: which conditions learned in every seed, which in some, which in none, with accuracies."""
    if not rows:
        return "No run has been stored yet, so there is no answer."
    judged = [row for row in rows if not math.isnan(row.outcomes.learned.share)]
    always = [row for row in judged if row.outcomes.learned.count == row.outcomes.n]
    never = [row for row in judged if row.outcomes.learned.count == 0]
    some = [row for row in judged if row not in always and row not in never]
    parts = [
        f"{_names(always)} learned in {_every(always)} (median test accuracy {_medians(always)})" if always else "",
        "; ".join(
            f"{row.condition} in {row.outcomes.learned.count} of {row.outcomes.n} ({_range(row)})" for row in some
        ),
        f"{_names(never)} in none ({_medians(never)}{_chance(never)})" if never else "",
    ]
    told = [part for part in parts if part]
    if not told:
        return f"Whether these runs learned is not known: no baseline learned; they end at {_medians(rows)}."
    if not always:
        told[0] = told[0].replace(" in ", " learned in ", 1)
    return f"After {counted(results.study.train.epochs, 'epoch')}, {'; '.join(told)}."


def _names(rows: Sequence[ConditionSummary]) -> str:
    names = [row.condition for row in rows]
    return listed(names) if len(names) <= NAMED else f"{len(names)} conditions ({', '.join(names)})"


def _every(rows: Sequence[ConditionSummary]) -> str:
    counts = {row.outcomes.n for row in rows}
    if len(counts) > 1:
        return "every seed"
    n = counts.pop()
    return "the one seed" if n == 1 else f"all {n} seeds"


def _medians(rows: Sequence[ConditionSummary]) -> str:
    medians = [row.median for row in rows if math.isfinite(row.median)]
    if not medians:
        return "no measured accuracy"
    low, high = percent(min(medians)), percent(max(medians))
    return low if low == high else f"{low.removesuffix(' %')} to {high}"


def _range(row: ConditionSummary) -> str:
    return (
        f"from {percent(row.minimum)} to {percent(row.maximum)}"
        if math.isfinite(row.minimum)
        else "no measured accuracy"
    )


def _chance(rows: Sequence[ConditionSummary]) -> str:
    known = [row.chance_percent for row in rows if math.isfinite(row.chance_percent)]
    return f"; the largest class alone gives {percent(sum(known) / len(known))}" if known else ""
