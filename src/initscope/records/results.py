"""Everything a figure or a report may read: the study, its data's summary, its runs, kept weights, provenance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from initscope.records.dataset import DatasetSummary
from initscope.records.run import RunRecord
from initscope.records.start_check import StartCheck
from initscope.records.study import Study

Moment = Literal["initial", "final"]
WeightReader = Callable[[str, int, str, Moment], NDArray[np.floating] | None]
"""(condition, seed, parameter path, moment) -> the values, or None where they were not kept."""


@dataclass(frozen=True, kw_only=True)
class Environment:
    """What computed some of the runs: one of these for every session that trained into the folder."""

    started: str
    command: str
    initscope: str
    engine: int
    python: str
    torch: str
    numpy: str
    platform: str
    processor: str
    device: str
    workers: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Results:
    """A study as far as it has been run. `runs` are ordered by the study's conditions, then by seed.

    `start_checks` are what `check` said of some runs before their training; conditions without one were not checked.
    """

    study: Study
    data: DatasetSummary
    runs: tuple[RunRecord, ...]
    weights: WeightReader
    environments: tuple[Environment, ...] = field(default=())
    start_checks: tuple[StartCheck, ...] = field(default=())

    @property
    def conditions(self) -> tuple[str, ...]:
        """The conditions that have at least one run, in the study's order."""
        have = {run.condition for run in self.runs}
        return tuple(key for key in self.study.conditions if key in have)

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds that have at least one run, ascending."""
        return tuple(sorted({run.seed for run in self.runs}))

    def of(self, condition: str) -> tuple[RunRecord, ...]:
        """Returns the runs of one condition, by seed."""
        return tuple(run for run in self.runs if run.condition == condition)

    @property
    def baseline(self) -> tuple[RunRecord, ...]:
        """The runs of the study's baseline condition (empty where it was not run)."""
        return self.of(self.study.baseline)
