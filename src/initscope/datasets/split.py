"""Which samples are held out for testing, and in which order the others are shown. Nothing here is stratified."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from initscope.base.errors import UsageError
from initscope.base.quantities import counted

Indices = NDArray[np.int64]


def split_indices(n: int, test_fraction: float, seed: int) -> tuple[Indices, Indices]:
    """Returns (train, test): a random permutation of 0..n-1, its first ceil(n * test_fraction) entries the test set.

    `test_fraction` lies between 0 and 1, both excluded; both parts hold at least one sample. `seed` is a stream seed
    of `initscope.base.streams`; the same one always gives the same split.
    Raises UsageError where the fraction is out of range or there are fewer than two samples.

    Example:
        >>> train, test = split_indices(20_000, 0.1, seed=0)
        >>> len(train), len(test)
        (18000, 2000)
    """
    if not 0.0 < test_fraction < 1.0:
        raise UsageError("test_fraction is out of range", value=test_fraction, legal="between 0 and 1")
    if n < 2:
        raise UsageError(
            "there are too few samples to hold some out", value=counted(n, "sample"), legal="at least 2 samples"
        )
    n_test = math.ceil(n * test_fraction - 1e-9)  # without 1e-9, 30 * 0.1 = 3.0000000000000004 would hold out 4
    n_test = min(max(n_test, 1), n - 1)
    order = _generator(seed).permutation(n).astype(np.int64)
    return order[n_test:], order[:n_test]


def epoch_order(train: Indices, seed: int) -> Indices:
    """Returns a shuffled copy of `train`, the order of one epoch; `seed` is that epoch's stream seed."""
    return _generator(seed).permutation(train)


def _generator(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(seed))
