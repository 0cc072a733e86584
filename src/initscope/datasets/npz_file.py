"""Reads samples and labels from a numpy .npz archive, never unpickling anything."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from initscope.base.errors import UsageError
from initscope.datasets.table import Table, compact, square_side, whole_labels

SAMPLES = ("x", "inputs", "images", "data")
LABELS = ("y", "labels", "targets")
LEGAL = (
    "samples named x, inputs, images or data with labels named y, labels or targets; or x_train with y_train, "
    "and x_test with y_test"
)
LARGEST_RATIO = 1100
"""No deflate stream unpacks to more than 1,032 times its size."""


def read_npz(path: Path) -> Table:
    """Returns the samples and labels in an .npz file; capitals in the arrays' names do not matter.

    Samples have shape (sample, ...); all axes but the first are the features, and with more than one they are the
    image's shape (an axis of length 1 is left out). x_test is put after x_train: the study splits at random itself.
    Raises UsageError where the file is not such an archive, or an array is missing, damaged, of Python objects or
    of a wrong shape.
    """
    arrays = _arrays(path)
    pairs = _pairs(arrays, path)
    samples = [_samples(arrays[x], x, path) for x, _ in pairs]
    labels = [_labels(arrays[y], y, len(arrays[x]), path) for x, y in pairs]
    shapes = {part.shape[1:] for part in samples}
    if len(shapes) > 1:
        raise UsageError(
            "the arrays of samples have more than one shape",
            where=str(path),
            value=", ".join(f"{x}: {arrays[x].shape}" for x, _ in pairs),
            legal="arrays that differ in their first size only",
        )
    shape = shapes.pop()
    flat = [compact(part.reshape(len(part), math.prod(shape))) for part in samples]
    values = compact(np.concatenate(flat)) if len(flat) > 1 else flat[0]
    return Table(values=values, labels=np.concatenate(labels), image_shape=_image_shape(shape))


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Lower-case name -> array, of those that may be wanted and no others."""
    wanted = {*SAMPLES, *LABELS, "x_train", "y_train", "x_test", "y_test"}
    try:
        with zipfile.ZipFile(path) as archive:
            _check_sizes(archive, path)
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name.lower(): stored[name] for name in stored.files if name.lower() in wanted}
        return {name: array for name, array in arrays.items() if isinstance(array, np.ndarray)}
    except UsageError:
        raise
    except zipfile.BadZipFile as error:
        raise UsageError("this is not an .npz file", where=str(path), value=str(error)) from error
    except OSError as error:
        raise UsageError("cannot read the file", where=str(path), value=error.strerror or str(error)) from error
    except Exception as error:  # zipfile, zlib and numpy raise almost any class on a damaged archive
        raise UsageError("cannot read the arrays in this file", where=str(path), value=str(error)) from error


def _check_sizes(archive: zipfile.ZipFile, path: Path) -> None:
    """numpy allocates what an array's header asks for before it reads, so the headers must fit the file."""
    for entry in archive.infolist():
        if not entry.filename.endswith(".npy"):
            continue
        limit = min(entry.file_size, LARGEST_RATIO * min(entry.compress_size, path.stat().st_size))
        with archive.open(entry) as stream:
            version = np.lib.format.read_magic(stream)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, dtype = read(stream)
        if not dtype.hasobject and math.prod(shape) * dtype.itemsize > limit:
            raise UsageError(
                f"the array {entry.filename.removesuffix('.npy')!r} is larger than the file that holds it",
                where=str(path),
                value=f"shape {shape} of {dtype}",
                do="copy or download the file again",
            )


def _pairs(arrays: Mapping[str, Any], path: Path) -> list[tuple[str, str]]:
    if "x_train" in arrays and "y_train" in arrays:
        both = "x_test" in arrays and "y_test" in arrays
        return [("x_train", "y_train"), ("x_test", "y_test")] if both else [("x_train", "y_train")]
    x = next((name for name in SAMPLES if name in arrays), None)
    y = next((name for name in LABELS if name in arrays), None)
    if x is None or y is None:
        raise UsageError(
            "the archive lacks an array of samples" if x is None else "the archive lacks an array of labels",
            where=str(path),
            value=", ".join(arrays) or "no array with a name known here",
            legal=LEGAL,
        )
    return [(x, y)]


def _samples(array: NDArray[Any], name: str, path: Path) -> NDArray[Any]:
    if array.dtype.kind not in "biuf" or array.ndim < 2:
        raise UsageError(
            f"the array {name!r} cannot be samples",
            where=str(path),
            value=f"shape {array.shape} of {array.dtype}",
            legal="real numbers of shape (sample, feature) or (sample, row, column)",
        )
    return array


def _labels(array: NDArray[Any], name: str, samples: int, path: Path) -> NDArray[np.int64]:
    if array.size != samples or array.ndim == 0 or len(array) != samples:
        one_hot = array.ndim == 2 and len(array) == samples
        raise UsageError(
            f"the array {name!r} does not hold one label for every sample",
            where=str(path),
            value=f"shape {array.shape}",
            legal=f"shape ({samples},)",
            do="store the number of the class (argmax over axis 1), not one column a class" if one_hot else None,
        )
    labels = whole_labels(array.reshape(-1))
    if labels is None:
        raise UsageError(
            f"the labels in {name!r} are not whole numbers",
            where=str(path),
            value=f"{array.dtype}, starting {', '.join(str(label) for label in array.reshape(-1)[:3])}",
            legal="whole numbers of at most 2**53 in size",
        )
    return labels


def _image_shape(shape: tuple[int, ...]) -> tuple[int, ...] | None:
    if len(shape) == 1:
        return square_side(shape[0])
    long = tuple(size for size in shape if size != 1)
    return long if len(long) > 1 else None
