"""The data the measurements run on: a file that is given, or made-up images of the founding study's size."""

from __future__ import annotations

import time

import numpy as np

from initscope.datasets.source import load
from initscope.records.dataset import Dataset

ROWS, PIXELS, CLASSES = 20_000, 784, 10


def read_or_make(path: str | None) -> tuple[Dataset, float | None]:
    """Returns the data and the seconds it took to read them (None for made-up ones)."""
    if path is None:
        return made_up(), None
    started = time.perf_counter()
    data = load(path)
    return data, time.perf_counter() - started


def made_up() -> Dataset:
    """Returns 20,000 made-up images of 784 pixels, four of five of them blank as in handwriting, in ten classes."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, CLASSES, ROWS)
    ink = rng.random((CLASSES, PIXELS)) < 0.2
    inputs = (ink[labels] * rng.random((ROWS, PIXELS), dtype=np.float32)).astype(np.float32)
    return Dataset(
        name="made-up",
        source="made-up",
        inputs=inputs,
        labels=labels,
        class_values=tuple(range(CLASSES)),
        image_shape=(28, 28),
        scale=1.0,
        sha256="0" * 64,
    )
