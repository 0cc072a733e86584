"""One run: what determined it, how it ended, its history and what was measured on the way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Status = Literal["finished", "diverged", "failed"]
"""finished: all epochs trained. diverged: the loss left the finite numbers, the run was frozen there.
failed: the engine raised; the run has no numbers."""

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class History:
    """Curves of one run, one entry an epoch (index 0 is epoch 1); NaN where not measured.

    `train_loss` and `train_accuracy_percent` are means over the epoch's batches, taken before each update;
    `test_accuracy_percent` is over the whole held-out set after the epoch.
    """

    train_loss: FloatArray
    train_accuracy_percent: FloatArray
    test_accuracy_percent: FloatArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Probes:
    """What was measured inside the network at a few moments of one run.

    Axis `probe` follows `steps`: the number of updates already made (0 is the start). Axis `parameter` follows
    `parameters` (all trainable ones, model order), axis `layer` follows `layers` (the hidden ones, forward order, named
    by the module that holds their weights). NaN is "not measured" everywhere.

    gradient_norm    Float "probe parameter", Euclidean norm of the gradient on the batch about to be used
    gradient_zero    Float "probe parameter", 1 where every entry of that gradient is exactly zero, else 0
    distinct_units   Float "probe layer", number of distinct rows of [weights, bias], equal to the bit
    similar_groups   Float "probe layer", the same, rows closer than `tolerance` x (largest row norm) counted as one
    dead_units       Float "probe layer", number of units whose activation is zero for every test sample
    signal_rms       Float "probe layer", root mean square of the layer's output (before the activation), test set
    input_share      Float "probe layer", std over test samples (rms over units) / signal_rms: 0 where inputs look alike
    unmoved_share    Float "probe parameter", share of entries that equal their value at step 0 to the bit
    """

    steps: NDArray[np.int64]
    parameters: tuple[str, ...]
    layers: tuple[str, ...]
    units: tuple[int, ...]
    tolerance: float
    gradient_norm: FloatArray
    gradient_zero: FloatArray
    distinct_units: FloatArray
    similar_groups: FloatArray
    dead_units: FloatArray
    signal_rms: FloatArray
    input_share: FloatArray
    unmoved_share: FloatArray


@dataclass(frozen=True, kw_only=True, eq=False)
class RunRecord:
    """One finished, diverged or failed run.

    `class_shares` are those of this run's held-out set (they depend on the seed's split): the largest one is chance.
    `n_test` is the size of that set. `diverged_step` is the update (0-based) whose loss, gradient or step left
    the finite numbers, else None.
    `wall_s` is the wall time of the run's ensemble divided by its number of runs.
    """

    condition: str
    seed: int
    key: str
    status: Status
    epochs: int
    steps: int
    n_test: int
    class_shares: tuple[float, ...]
    first_step_loss: float
    wall_s: float
    history: History
    probes: Probes | None
    diverged_step: int | None = None
    error: str = ""

    @property
    def chance_percent(self) -> float:
        """Accuracy of always answering the held-out set's largest class; NaN for a failed run."""
        return 100.0 * max(self.class_shares) if self.class_shares else float("nan")

    @property
    def final_test_accuracy_percent(self) -> float:
        """Test accuracy after the last epoch; NaN where none was measured."""
        return last(self.history.test_accuracy_percent)

    @property
    def best_test_accuracy_percent(self) -> float:
        """Largest test accuracy after any epoch; NaN where none was measured."""
        values = self.history.test_accuracy_percent
        return float(np.nanmax(values)) if np.isfinite(values).any() else float("nan")

    @property
    def final_train_accuracy_percent(self) -> float:
        """Mean training accuracy of the last epoch's batches."""
        return last(self.history.train_accuracy_percent)

    @property
    def final_train_loss(self) -> float:
        """Mean training loss of the last epoch's batches."""
        return last(self.history.train_loss)


def last(values: FloatArray) -> float:
    """Returns the last entry, or NaN of an empty array."""
    return float(values[-1]) if values.size else float("nan")
