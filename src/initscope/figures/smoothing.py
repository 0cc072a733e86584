"""The moving average through which accuracy curves are drawn."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from initscope.records.run import FloatArray

WINDOW = 2
LEAST_EPOCHS = 4
"""Shorter curves are drawn as they are: at two epochs the average makes every curve flat."""


def moving_average(values: NDArray[np.floating], k: int = WINDOW) -> FloatArray:
    """Returns the moving average along the last axis, with a window that shrinks at the edges.

    Entry i is the mean of the entries max(0, i - k//2) .. min(n, i + k//2 + 1), the end excluded: with k = 2 an epoch
    and its two neighbours, at both ends two entries. A NaN makes the entries whose window holds it NaN, and no others.

    Arguments: `values` Float "... epoch"; `k` >= 0, 0 and 1 leave the values as they are.
    Raises: ValueError where `k` is negative.

    Example:
        >>> moving_average(np.array([0.0, 3.0, 6.0, 0.0])).tolist()
        [1.5, 3.0, 3.0, 3.0]
    """
    if k < 0:
        raise ValueError(f"k must be at least 0, got {k}")
    given = np.asarray(values, dtype=np.float64)
    n, reach = given.shape[-1], k // 2
    smoothed = np.empty_like(given)
    for i in range(n):
        smoothed[..., i] = given[..., max(0, i - reach) : min(n, i + reach + 1)].mean(axis=-1)
    return smoothed


def smoothed(values: NDArray[np.floating]) -> FloatArray:
    """Returns accuracy curves as they are drawn: the moving average, or below `LEAST_EPOCHS` epochs the values.

    Arguments: `values` Float "... epoch".

    Example:
        >>> smoothed(np.array([10.0, 90.0])).tolist()
        [10.0, 90.0]
    """
    return moving_average(values, WINDOW if values.shape[-1] >= LEAST_EPOCHS else 0)
