"""Reads a CSV without header, one sample a row: column 0 the label, the other columns the features."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from initscope.datasets.compressed import reading
from initscope.datasets.csv_trouble import BYTE_ORDER_MARK, LONGEST_LINE, first_trouble
from initscope.datasets.table import Table, Values, compact, square_side, whole_labels

BLOCK_BYTES = 1 << 20
COMMA, NEWLINE, ZERO = 44, 10, 48
MOST_DIGITS = 9
"""As many digits as always fit an int32; longer numbers take the tolerant way."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Part:
    labels: NDArray[np.int64]
    values: Values


def read_csv(path: Path) -> Table:
    """Returns the table in a .csv or .csv.gz file; the image shape is a square where the pixels make one.

    Numbers may be whole or decimal, with spaces around them; lines may end in LF or CRLF; empty lines are passed over.
    Rows of plain whole numbers are parsed a block at a time with array operations; a block that holds anything else
    is parsed number by number; a file that has anything wrong is read once more to name the first line that has.

    Raises UsageError, with file:line, where the file is empty, a row has another number of columns than the first, the
    first line is a header, there is text, NaN or an infinite number, a label is not a whole number, there are no
    pixel columns, or the bytes are not UTF-8; where a .gz is damaged, with the file alone.
    """
    parts: list[_Part] = []
    with reading(path) as stream:
        for block in _blocks(stream):
            expected = parts[0].values.shape[1] + 1 if parts else None
            part = _plain_numbers(block, expected) or _any_numbers(block, expected)
            if part is None:
                break
            if part.labels.size:
                parts.append(part)
        else:
            if parts:
                return _joined(parts)
    raise first_trouble(path)


def _joined(parts: list[_Part]) -> Table:
    values = np.concatenate([part.values for part in parts])
    labels = np.concatenate([part.labels for part in parts])
    return Table(values=values, labels=labels, image_shape=square_side(values.shape[1]))


def _blocks(stream: IO[bytes]) -> Iterator[bytes]:
    """Pieces of whole lines, the file's last one completed; a piece without a newline is a line that is too long."""
    rest = b""
    first = True
    while chunk := stream.read(BLOCK_BYTES):
        if first:
            chunk, first = chunk.removeprefix(BYTE_ORDER_MARK), False
        rest += chunk
        end = rest.rfind(b"\n") + 1
        if end or len(rest) > LONGEST_LINE:
            yield rest[: end or None]
            rest = rest[end:] if end else b""
    if rest:
        yield rest + b"\n"


def _plain_numbers(block: bytes, expected: int | None) -> _Part | None:
    """The block's rows where they hold nothing but digits, commas and line ends, else None."""
    if b"\r" in block:
        block = block.replace(b"\r\n", b"\n")
    codes = np.frombuffer(block, np.uint8)
    digits = codes - np.uint8(ZERO)  # wraps round: everything but a digit is above 9
    ends = np.flatnonzero(digits > 9)
    columns = expected or block.count(b",", 0, block.find(b"\n")) + 1
    lengths = np.diff(ends, prepend=-1) - 1
    if ends.size == 0 or ends.size % columns or columns < 2 or lengths.min() < 1 or lengths.max() > MOST_DIGITS:
        return None
    marks = codes[ends].reshape(-1, columns)
    if (marks[:, :-1] != COMMA).any() or (marks[:, -1] != NEWLINE).any():
        return None
    table = _numbers(digits, ends, lengths).reshape(-1, columns)
    return _Part(labels=table[:, 0].astype(np.int64), values=compact(table[:, 1:]))


def _numbers(digits: NDArray[np.uint8], ends: NDArray[np.intp], lengths: NDArray[np.intp]) -> NDArray[np.int32]:
    numbers = digits[ends - 1].astype(np.int32)
    which = np.arange(ends.size)
    for power in range(1, int(lengths.max())):
        which = which[lengths[which] > power]
        numbers[which] += digits[ends[which] - 1 - power].astype(np.int32) * np.int32(10**power)
    return numbers


def _any_numbers(block: bytes, expected: int | None) -> _Part | None:
    """The block's rows where all fields are finite numbers and all labels whole, else None."""
    if not block.endswith(b"\n"):
        return None  # a line too long to be one
    try:
        lines = [line for line in block.decode("utf-8").replace("\r\n", "\n").split("\n") if line.strip()]
        if not lines:
            return _Part(labels=np.empty(0, np.int64), values=np.empty((0, 0), np.uint8))
        table = np.loadtxt(lines, dtype=np.float64, delimiter=",", comments=None, ndmin=2)
    except ValueError:  # UnicodeDecodeError is one too
        return None
    rows, columns = table.shape
    labels = whole_labels(table[:, 0])
    if rows != len(lines) or columns != (expected or columns) or columns < 2 or labels is None:
        return None
    if not np.isfinite(table).all():
        return None
    return _Part(labels=labels, values=compact(table[:, 1:]))
