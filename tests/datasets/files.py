"""Small data files for the tests of this folder, and the real ones where they are."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

REAL = Path(__file__).resolve().parents[2].parent / "shared" / "data"
needs_real_data = pytest.mark.skipif(not REAL.is_dir(), reason="the real data are not beside this repository")


def idx_bytes(array: NDArray[np.uint8], *, magic: bytes | None = None) -> bytes:
    """Returns the array as an IDX file."""
    start = bytes((0, 0, 8, array.ndim)) if magic is None else magic
    return start + np.array(array.shape, ">u4").tobytes() + array.astype(np.uint8).tobytes()


def small_images(n: int = 6, side: int = 3, first: int = 0) -> NDArray[np.uint8]:
    """Returns n images of side x side pixels, all different."""
    return (np.arange(n * side * side).reshape(n, side, side) * 3 + first).astype(np.uint8)


def write_pair(
    folder: Path, images: NDArray[np.uint8], labels: NDArray[np.uint8], part: str = "train", ending: str = ""
) -> None:
    """Writes an IDX pair, gzip-compressed where `ending` is .gz."""
    for name, array in ((f"{part}-images-idx3-ubyte", images), (f"{part}-labels-idx1-ubyte", labels)):
        content = idx_bytes(array)
        (folder / (name + ending)).write_bytes(gzip.compress(content) if ending else content)


def write_csv(path: Path, values: NDArray[np.generic], labels: NDArray[np.generic]) -> Path:
    """Writes label and values, whole numbers, one sample a row; gzip-compressed where the name ends in .gz."""
    rows = [",".join(str(number) for number in (label, *row)) for label, row in zip(labels, values, strict=True)]
    content = ("\n".join(rows) + "\n").encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path
