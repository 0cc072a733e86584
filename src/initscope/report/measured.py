"""The probes of one condition's runs laid side by side, and the few counts that explanations are built from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from initscope.records.results import Results
from initscope.records.run import FloatArray, Probes, RunRecord
from initscope.records.study import Study
from initscope.stats.outcomes import Outcome, classify

Quantity = Literal[
    "gradient_norm",
    "gradient_zero",
    "distinct_units",
    "similar_groups",
    "dead_units",
    "signal_rms",
    "input_share",
    "unmoved_share",
]
NEVER = np.inf


@dataclass(frozen=True, kw_only=True, eq=False)
class Measured:
    """What was measured inside the runs of one condition.

    `runs` are all of the condition's; `probed` those with probes, `probes` theirs and `outcomes` theirs too. `baseline`
    are the baseline's runs, empty where this is the baseline itself. Axis `run` below follows `probed`.
    """

    study: Study
    condition: str
    runs: tuple[RunRecord, ...]
    probed: tuple[RunRecord, ...]
    probes: tuple[Probes, ...]
    outcomes: tuple[Outcome, ...]
    baseline: tuple[RunRecord, ...]

    @property
    def n(self) -> int:
        """Number of runs with probes."""
        return len(self.probes)

    @property
    def parameters(self) -> tuple[str, ...]:
        """Parameter paths in the model's order."""
        return self.probes[0].parameters

    @property
    def layers(self) -> tuple[str, ...]:
        """Hidden layers in forward order."""
        return self.probes[0].layers

    @property
    def units(self) -> NDArray[np.float64]:
        """Number of units of each hidden layer."""
        return np.array(self.probes[0].units, dtype=np.float64)

    @property
    def learned(self) -> NDArray[np.bool_]:
        """Bool "run": the outcome is "learned"."""
        return np.array([outcome == "learned" for outcome in self.outcomes])

    @property
    def judged(self) -> bool:
        """Whether every probed run has a known outcome."""
        return "unknown" not in self.outcomes

    @property
    def mostly_learned(self) -> bool:
        """Whether at least half of the probed runs learned."""
        return bool(self.judged and 2 * int(self.learned.sum()) >= self.n > 0)

    def start(self, quantity: Quantity) -> FloatArray:
        """Returns Float "run x" at step 0; NaN in runs that were not probed there."""
        return _at_start(self.probes, quantity)

    def end(self, quantity: Quantity) -> FloatArray:
        """Returns Float "run x" at each run's last probe."""
        return np.stack([getattr(probes, quantity)[-1] for probes in self.probes])

    def baseline_start(self, quantity: Quantity) -> FloatArray | None:
        """Returns the baseline's values at step 0, or None where there are none to compare with."""
        found = tuple(run.probes for run in self.baseline if _same_shape(run.probes, self.probes[0]))
        return _at_start([probes for probes in found if probes is not None], quantity) if found else None

    def first_gradient(self) -> FloatArray:
        """Returns Float "run parameter": the first probed step with a gradient that is not all zero, else inf.

        NaN where the gradient was never measured.
        """
        return np.stack(
            [_first_step(probes.steps, probes.gradient_zero == 0.0, probes.gradient_zero) for probes in self.probes]
        )

    def dead_since(self) -> FloatArray:
        """Returns Float "run layer": the probed step from which on all units are dead to the end; inf for never."""
        return np.stack([_dead_since(probes) for probes in self.probes])


def measure(results: Results, condition: str) -> Measured:
    """Returns what was measured in the runs of `condition`.

    Runs whose probes have other axes than the first's are left out.
    """
    outcomes = classify(results)
    runs = results.of(condition)
    first = next((run.probes for run in runs if run.probes is not None), None)
    probed = tuple(run for run in runs if first is not None and _same_shape(run.probes, first))
    return Measured(
        study=results.study,
        condition=condition,
        runs=runs,
        probed=probed,
        probes=tuple(run.probes for run in probed if run.probes is not None),
        outcomes=tuple(outcomes[run.condition, run.seed] for run in probed),
        baseline=() if condition == results.study.baseline else results.baseline,
    )


def most_common_row(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], int]:
    """Returns the row that occurs most often in Float "run x", the first of equals, and how many rows equal it."""
    counted = Counter(row.tobytes() for row in values)
    bytes_of, count = counted.most_common(1)[0]
    return np.frombuffer(bytes_of, dtype=values.dtype), count


def _same_shape(probes: Probes | None, other: Probes) -> bool:
    if probes is None or not probes.steps.size:
        return False
    return (probes.parameters, probes.layers, probes.units) == (other.parameters, other.layers, other.units)


def _at_start(many: Sequence[Probes], quantity: Quantity) -> FloatArray:
    rows = []
    for probes in many:
        values: FloatArray = getattr(probes, quantity)
        rows.append(values[0] if probes.steps[0] == 0 else np.full(values.shape[1], np.nan))
    return np.stack(rows)


def _first_step(steps: NDArray[np.int64], reached: NDArray[np.bool_], measured: FloatArray) -> FloatArray:
    first = np.where(reached.any(axis=0), steps[reached.argmax(axis=0)].astype(np.float64), NEVER)
    return np.where(np.isnan(measured).all(axis=0), np.nan, first)


def _dead_since(probes: Probes) -> FloatArray:
    alive = probes.dead_units < np.array(probes.units, dtype=np.float64)
    unknown = np.isnan(probes.dead_units)
    since = np.full(len(probes.layers), NEVER)
    for layer in range(len(probes.layers)):
        dead = ~alive[:, layer] & ~unknown[:, layer]
        if dead[-1]:
            awake = np.flatnonzero(~dead)
            since[layer] = probes.steps[awake[-1] + 1 if awake.size else 0]
    return since
