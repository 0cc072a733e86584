"""The embedded data set: 1,797 real handwritten digits of 8 x 8 pixels, there without any download."""

from __future__ import annotations

from importlib import resources

import numpy as np

from initscope.datasets.table import Table


def read_digits() -> Table:
    """Returns the UCI handwritten digits: values 0..16, labels 0..9; data/ATTRIBUTION.md says whose they are.

    Example:
        >>> read_digits().values.shape
        (1797, 64)
    """
    packed = resources.files("initscope.datasets").joinpath("data", "digits.npz")
    with packed.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
        images, labels = stored["images"], stored["labels"]
    return Table(values=images.reshape(len(images), -1), labels=labels.astype(np.int64), image_shape=images.shape[1:])
