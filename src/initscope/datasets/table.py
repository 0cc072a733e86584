"""What every reader returns, undivided numbers beside their labels, and how a `Dataset` is made of it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from initscope.base.errors import UsageError
from initscope.records.dataset import Dataset

Values = NDArray[np.uint8] | NDArray[np.float64]
CHUNK_BYTES = 1 << 24
LARGEST_LABEL = 2**53


@dataclass(frozen=True, kw_only=True, eq=False)
class Table:
    """Numbers as a source has them.

    `values` are UInt8 or Float64 "sample feature", not yet divided; `labels` are Int64 "sample", any whole numbers;
    `image_shape` is the shape of one sample as an image, or None where it is not one.
    """

    values: Values
    labels: NDArray[np.int64]
    image_shape: tuple[int, ...] | None


def to_dataset(table: Table, *, name: str, source: str, where: str, licence: str = "") -> Dataset:
    """Returns the data of `table`, divided by the largest value found in the whole array, labels counted from 0.

    Where the largest absolute value belongs to a negative number, that one divides, so that all inputs lie in -1..1.
    `where` is the file that error messages name.
    Raises UsageError where there are no samples or features, a value is not finite, all values are equal, or all
    labels are.

    Example:
        >>> raw = Table(values=np.array([[0, 4], [2, 0]], np.uint8), labels=np.array([7, 3]), image_shape=None)
        >>> data = to_dataset(raw, name="two", source="two.csv", where="two.csv")
        >>> data.inputs.tolist(), data.labels.tolist(), data.class_values, data.scale
        ([[0.0, 1.0], [0.5, 0.0]], [1, 0], (3, 7), 4.0)
    """
    _check_not_empty(table, where)
    _check_finite(table.values, where)
    low, high = float(table.values.min()), float(table.values.max())
    if low == high:
        raise UsageError(
            "all features have the same value, so there is nothing to learn from",
            where=where,
            value=f"{low:g} everywhere",
            legal="features that differ between samples",
        )
    class_values, labels = np.unique(table.labels, return_inverse=True)
    if class_values.size < 2:
        raise UsageError(
            "all samples have the same label, so there is nothing to tell apart",
            where=where,
            value=f"label {class_values[0]} everywhere",
            legal="labels of at least two classes",
        )
    scale = max(abs(low), abs(high))
    return Dataset(
        name=name,
        source=source,
        inputs=_divided(table.values, scale),
        labels=labels.astype(np.int64),
        class_values=tuple(int(value) for value in class_values),
        image_shape=table.image_shape,
        scale=scale,
        sha256=content_sha256(table),
        licence=licence,
    )


def content_sha256(table: Table) -> str:
    """Returns the hash of the content: equal numbers in equal order agree, from whatever kind of file they come.

    Hashed are the number of samples and of features and the labels (int64), then the undivided values row by row: as
    one byte each where all of them are whole numbers in 0..255, otherwise as float64; everything little endian.
    """
    table = Table(values=compact(table.values), labels=table.labels, image_shape=None)
    digest = hashlib.sha256(np.array(table.values.shape, "<i8").tobytes())
    digest.update(np.ascontiguousarray(table.labels, "<i8").data)
    kind = "|u1" if table.values.dtype == np.uint8 else "<f8"
    digest.update(kind.encode())
    for rows in _row_chunks(table.values):
        chunk = table.values[rows] if kind == "|u1" else table.values[rows] + 0.0  # + 0.0 makes -0.0 and 0.0 agree
        digest.update(np.ascontiguousarray(chunk, kind).data)
    return digest.hexdigest()


def compact(values: NDArray[Any]) -> Values:
    """Returns the values as uint8 where all of them are whole numbers in 0..255, otherwise as float64."""
    if values.dtype == np.uint8:
        return values
    if all(_fits_a_byte(values[rows]) for rows in _row_chunks(values)):
        return values.astype(np.uint8)
    return values.astype(np.float64, copy=False)


def square_side(features: int) -> tuple[int, int] | None:
    """Returns (side, side) where that many features make a square image of at least 2 x 2, else None.

    Example:
        >>> square_side(784), square_side(10)
        ((28, 28), None)
    """
    side = math.isqrt(features)
    return (side, side) if side >= 2 and side * side == features else None


def whole_labels(labels: NDArray[Any]) -> NDArray[np.int64] | None:
    """Returns the labels as int64, or None where one is not a whole number of at most 2**53 in size."""
    if labels.dtype.kind not in "biuf":
        return None
    if labels.dtype.kind == "f" and not (np.isfinite(labels).all() and (labels == np.rint(labels)).all()):
        return None
    if labels.size and (labels.max() > LARGEST_LABEL or labels.min() < -LARGEST_LABEL):
        return None
    return labels.astype(np.int64)


def _row_chunks(values: NDArray[Any]) -> Iterator[slice]:
    rows = max(1, CHUNK_BYTES // max(1, 8 * values.shape[1]))
    return (slice(start, start + rows) for start in range(0, values.shape[0], rows))


def _fits_a_byte(values: NDArray[Any]) -> bool:
    if values.size == 0:
        return True
    inside = values.min() >= 0 and values.max() <= 255  # false for NaN
    return bool(inside and (values.dtype.kind in "biu" or (values == np.rint(values)).all()))


def _divided(values: Values, scale: float) -> NDArray[np.float32]:
    """Each quotient is correctly rounded to float32 for whole numbers, whichever type held them."""
    inputs = np.empty(values.shape, np.float32)
    for rows in _row_chunks(values):
        if values.dtype == np.uint8:
            np.divide(values[rows], np.float32(scale), out=inputs[rows], dtype=np.float32)
        else:
            inputs[rows] = values[rows] / scale
    return inputs


def _check_not_empty(table: Table, where: str) -> None:
    samples, features = table.values.shape
    if samples == 0 or features == 0:
        raise UsageError(
            "there are no samples here" if samples == 0 else "the samples have no features",
            where=where,
            value=f"{samples} samples of {features} features",
            legal="at least two samples of at least one feature",
        )


def _check_finite(values: Values, where: str) -> None:
    if values.dtype == np.uint8:
        return
    for rows in _row_chunks(values):
        wrong = np.argwhere(~np.isfinite(values[rows]))
        if wrong.size:
            sample, feature = int(wrong[0, 0]) + rows.start, int(wrong[0, 1])
            raise UsageError(
                f"feature {feature} of sample {sample} is not finite (both counted from 0)",
                where=where,
                value=f"{values[sample, feature]}",
                legal="finite numbers",
            )
