"""The user's random generators, left as they were: every draw that must use a global one happens inside this guard."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def seeded_generators(seed: int) -> Iterator[None]:
    """Seeds torch's, numpy's and random's global generators inside the block and restores their states after it.

    `seed` is any non-negative integer (torch takes its lowest 63 bits, numpy 32). CUDA generators are forked too where
    CUDA has been initialised already; the guard itself never initialises CUDA.
    """
    python_state, numpy_state = random.getstate(), np.random.get_state()
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]  # torch ships it without types
    with torch.random.fork_rng(devices=devices):
        try:
            torch.manual_seed(seed % 2**63)
            random.seed(seed)
            np.random.seed(seed % 2**32)
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)
