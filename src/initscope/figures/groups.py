"""Which runs are drawn together: a condition's runs, or its learners apart from the others where outcomes split."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from initscope.records.results import Results
from initscope.records.run import RunRecord
from initscope.stats.outcomes import Outcome, classify

GAP_PERCENT = 15.0
"""Runs that partly learned are drawn with the learners unless this many points of accuracy lie between them."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """Runs of one condition that share a mean.

    `name` says which of the condition's runs they are ("learned", "left chance", "partly", "at chance"); None where
    they are not split. `runs` finished; `of` is the number of the condition's runs that finished or diverged, `lost`
    the number of those that diverged.
    """

    condition: str
    name: str | None
    runs: tuple[RunRecord, ...]
    of: int
    lost: int = 0

    @property
    def n(self) -> int:
        """Number of runs."""
        return len(self.runs)

    @property
    def median_percent(self) -> float:
        """Median final test accuracy; NaN where none was measured."""
        return median(run.final_test_accuracy_percent for run in self.runs)

    @property
    def title(self) -> str:
        """What the group is called in a table."""
        return self.name or "all"

    @property
    def count(self) -> str:
        """How many runs are behind it, for a label: "n = 10" or "4 of 10 learned"."""
        if self.name is not None:
            return f"{self.n} of {self.of} {self.name}"
        return f"n = {self.n}" + (f", {self.lost} diverged" if self.lost else "")


@dataclass(frozen=True, kw_only=True)
class Ends:
    """How the runs of one condition ended: what title sentences are made of."""

    condition: str
    n: int
    learned: int
    at_chance: int
    diverged: int
    unknown: int
    finals: tuple[float, ...]

    @property
    def median_percent(self) -> float:
        """Median final test accuracy; NaN where none was measured."""
        return median(self.finals)

    @property
    def split(self) -> bool:
        """Whether some runs learned while others never left chance."""
        return self.learned > 0 and self.at_chance > 0


def median(values: Iterable[float]) -> float:
    """Returns the median of the finite ones among `values`; NaN where there is none."""
    finite = [value for value in values if math.isfinite(value)]
    return float(np.median(finite)) if finite else math.nan


def ends_of(results: Results, conditions: Sequence[str]) -> tuple[Ends, ...]:
    """Returns how each of the `conditions` that were run ended, in the order given; failed runs are not counted."""
    outcomes = classify(results)
    found = []
    for condition in shown(results, conditions):
        runs = [run for run in results.of(condition) if run.status != "failed"]
        kinds = [outcomes[run.condition, run.seed] for run in runs]
        finals = [run.final_test_accuracy_percent for run in runs if run.status == "finished"]
        found.append(
            Ends(
                condition=condition,
                n=len(runs),
                learned=kinds.count("learned"),
                at_chance=kinds.count("at chance"),
                diverged=kinds.count("diverged"),
                unknown=kinds.count("unknown"),
                finals=tuple(value for value in finals if math.isfinite(value)),
            )
        )
    return tuple(found)


def groups_of(results: Results, condition: str) -> tuple[Group, ...]:
    """Returns the condition's groups, the best first.

    One group, unless some runs learned while others never left chance: then the runs at chance are a group of their
    own, so that no mean is drawn through the gap. Runs that partly learned go with the learners ("left chance") where
    there is no gap of `GAP_PERCENT` between the two, else they are a third group.
    """
    outcomes = classify(results)
    runs = [run for run in results.of(condition) if run.status != "failed"]
    finished = tuple(run for run in runs if run.status == "finished")
    by_outcome: dict[Outcome, list[RunRecord]] = {}
    for run in finished:
        by_outcome.setdefault(outcomes[condition, run.seed], []).append(run)
    if not {"learned", "at chance"} <= by_outcome.keys():
        return (Group(condition=condition, name=None, runs=finished, of=len(runs), lost=len(runs) - len(finished)),)
    named = _named(by_outcome["learned"], by_outcome.get("partly", []), by_outcome["at chance"])
    return tuple(Group(condition=condition, name=name, runs=tuple(own), of=len(runs)) for name, own in named)


def _named(
    learned: list[RunRecord], partly: list[RunRecord], at_chance: list[RunRecord]
) -> list[tuple[str, list[RunRecord]]]:
    if not partly:
        return [("learned", learned), ("at chance", at_chance)]
    worst = min(run.final_test_accuracy_percent for run in learned)
    best = max(run.final_test_accuracy_percent for run in partly)
    if worst - best <= GAP_PERCENT:
        return [("left chance", sorted([*learned, *partly], key=lambda run: run.seed)), ("at chance", at_chance)]
    return [("learned", learned), ("partly", partly), ("at chance", at_chance)]


def shown(results: Results, conditions: Sequence[str]) -> tuple[str, ...]:
    """Returns those of `conditions` that have runs, in the order given."""
    return tuple(key for key in conditions if key in results.conditions)
