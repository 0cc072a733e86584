"""The data a study trains on, and what is worth remembering of them without the numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    """Samples with whole-number class labels.

    `inputs` are Float32 "sample feature", already divided by `scale`, the largest value found in the whole array;
    `labels` are Int64 "sample" in 0..n_classes-1, indices into `class_values`, the labels as the source has them.
    `sha256` is the hash of the content (labels and undivided features), so equal data from two sources agree.
    """

    name: str
    source: str
    inputs: NDArray[np.float32]
    labels: NDArray[np.int64]
    class_values: tuple[int, ...]
    image_shape: tuple[int, ...] | None
    scale: float
    sha256: str
    licence: str = ""

    @property
    def n_samples(self) -> int:
        """Number of samples."""
        return int(self.inputs.shape[0])

    @property
    def n_features(self) -> int:
        """Number of features of one sample."""
        return int(self.inputs.shape[1])

    @property
    def n_classes(self) -> int:
        """Number of distinct labels."""
        return len(self.class_values)

    def summary(self) -> DatasetSummary:
        """Returns what reports say of these data."""
        shares = np.bincount(self.labels, minlength=self.n_classes) / self.n_samples
        return DatasetSummary(
            name=self.name,
            source=self.source,
            n_samples=self.n_samples,
            n_features=self.n_features,
            class_values=self.class_values,
            class_shares=tuple(float(share) for share in shares),
            image_shape=self.image_shape,
            scale=self.scale,
            sha256=self.sha256,
            licence=self.licence,
        )


@dataclass(frozen=True, kw_only=True)
class DatasetSummary:
    """A `Dataset` without its numbers; `class_shares` are over all samples and sum to 1."""

    name: str
    source: str
    n_samples: int
    n_features: int
    class_values: tuple[int, ...]
    class_shares: tuple[float, ...]
    image_shape: tuple[int, ...] | None
    scale: float
    sha256: str
    licence: str = ""

    @property
    def n_classes(self) -> int:
        """Number of distinct labels."""
        return len(self.class_values)
