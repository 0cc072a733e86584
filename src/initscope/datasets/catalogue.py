"""The data sets that have a name, and what is worth saying of each."""

from __future__ import annotations

from dataclasses import dataclass

from initscope.base.errors import unknown_name


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A named data set: `about` is one line, `n_samples` counts the published training and test parts together."""

    name: str
    about: str
    n_samples: int
    n_classes: int
    image_shape: tuple[int, int]
    licence: str
    citation: str
    needs_download: bool

    @property
    def n_features(self) -> int:
        """Number of features of one sample."""
        return self.image_shape[0] * self.image_shape[1]


CATALOGUE = (
    Entry(
        name="digits",
        about="handwritten digits of 8 x 8 pixels, embedded: works offline at once",
        n_samples=1797,
        n_classes=10,
        image_shape=(8, 8),
        licence="CC BY 4.0",
        citation="E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning "
        "Repository, 1998, doi:10.24432/C50P49 (test part)",
        needs_download=False,
    ),
    Entry(
        name="mnist",
        about="handwritten digits of 28 x 28 pixels, the founding study's data in full",
        n_samples=70_000,
        n_classes=10,
        image_shape=(28, 28),
        licence="CC BY-SA 3.0",
        citation="Y. LeCun, C. Cortes and C. J. C. Burges, The MNIST database of handwritten digits, 1998",
        needs_download=True,
    ),
    Entry(
        name="fashion-mnist",
        about="grey images of clothes, 28 x 28 pixels, a harder stand-in for mnist",
        n_samples=70_000,
        n_classes=10,
        image_shape=(28, 28),
        licence="MIT",
        citation="H. Xiao, K. Rasul and R. Vollgraf, Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine "
        "Learning Algorithms, 2017, arXiv:1708.07747",
        needs_download=True,
    ),
)


def names() -> tuple[str, ...]:
    """Returns the names, the embedded data set first."""
    return tuple(entry.name for entry in CATALOGUE)


def find(name: str) -> Entry:
    """Returns the entry called `name`; raises UsageError with the nearest name where there is none."""
    for entry in CATALOGUE:
        if entry.name == name:
            return entry
    raise unknown_name("dataset", name, names())
