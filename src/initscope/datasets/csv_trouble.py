"""Finds the first line of a CSV that cannot be used, and says what is wrong with it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from initscope.base.errors import UsageError
from initscope.base.quantities import counted
from initscope.datasets.compressed import GZIP_MAGIC, reading
from initscope.datasets.table import LARGEST_LABEL

LONGEST_LINE = 1 << 26
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
LAYOUT = "numbers separated by commas, no header: column 0 the label, columns 1 and up the pixels"
SHOWN = 40
PLAIN_NUMBERS = re.compile(r"[0-9]{1,9}(?:,[0-9]{1,9})+")
OTHER_SEPARATOR = re.compile(r"[;\t|]")


@dataclass(frozen=True, kw_only=True)
class _Line:
    """One line that is not empty: `first` is whether it is the first such, `plain` whether it is all plain numbers."""

    where: str
    first: bool
    plain: bool
    fields: tuple[str, ...]


def first_trouble(path: Path) -> UsageError:
    """Returns the error for the first line that `read_csv` cannot use; columns are counted from 0, the label's.

    The pass is slow and holds one line at a time. Raises UsageError itself where the file cannot be unpacked.
    """
    columns: int | None = None
    try:
        with reading(path) as stream:
            for line in _lines(stream, path):
                error = _trouble_of(line, columns or len(line.fields))
                if error is not None:
                    return error
                columns = len(line.fields)
    except _LineError as found:
        return found.error
    if columns is None:
        return UsageError("the file is empty", where=str(path), legal=LAYOUT)
    return UsageError("cannot read this file as numbers", where=str(path), legal=LAYOUT)


class _LineError(Exception):
    def __init__(self, error: UsageError) -> None:
        super().__init__(error.what)
        self.error = error


def _lines(stream: IO[bytes], path: Path) -> Iterator[_Line]:
    first, number = True, 0
    while raw := stream.readline(LONGEST_LINE + 1):
        number += 1
        where = f"{path}:{number}"
        if number == 1:
            _check_kind(raw, str(path))
            raw = raw.removeprefix(BYTE_ORDER_MARK)
        text = _decoded(raw, where)
        if text.strip():
            plain = PLAIN_NUMBERS.fullmatch(text) is not None
            yield _Line(where=where, first=first, plain=plain, fields=tuple(text.split(",")))
            first = False


def _check_kind(raw: bytes, where: str) -> None:
    if raw.startswith(GZIP_MAGIC):
        do = "end its name in .csv.gz"
        raise _LineError(UsageError("this is a gzip file, although its name does not say so", where=where, do=do))


def _decoded(raw: bytes, where: str) -> str:
    if len(raw) > LONGEST_LINE:
        legal = f"at most {LONGEST_LINE} bytes a line"
        raise _LineError(UsageError("the line is too long", where=where, legal=legal))
    try:
        return raw.decode("utf-8").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError as error:
        value = f"byte {raw[error.start]:#04x} at position {error.start + 1} of the line"
        raise _LineError(UsageError("the line is not text", where=where, value=value, legal=LAYOUT)) from error


def _trouble_of(line: _Line, columns: int) -> UsageError | None:
    if line.first and not line.plain and _is_quoted(line.fields):
        return UsageError(
            "the numbers are in quotes",
            where=line.where,
            value=_shown(",".join(line.fields)),
            legal=LAYOUT,
            do="write the file again without quotes; no line is to be removed",
        )
    if line.first and not line.plain and _is_header(line.fields):
        return UsageError(
            "the first line is a header",
            where=line.where,
            value=_shown(",".join(line.fields)),
            legal=LAYOUT,
            do="remove this line",
        )
    if len(line.fields) != columns:
        return UsageError(
            f"this row has {counted(len(line.fields), 'column')} where the first has {columns}",
            where=line.where,
            legal=f"{counted(columns, 'column')} in every row",
            do="complete or remove this row",
        )
    if len(line.fields) == 1:
        return _no_pixels(line)
    for column, field in enumerate(() if line.plain else line.fields):
        error = _field_trouble(field, column, line.where)
        if error is not None:
            return error
    return None


def _is_quoted(fields: tuple[str, ...]) -> bool:
    """A label in quotes that would be a number without them."""
    label = fields[0].strip()
    return len(label) > 2 and label[0] == label[-1] and label[0] in "\"'" and _number(label[1:-1]) is not None


def _is_header(fields: tuple[str, ...]) -> bool:
    """A label that is a word, or words in more than half of the columns."""
    words = [bool(field.strip()) and _number(field) is None for field in fields]
    starts_with_name = words[0] and any(letter.isalpha() for letter in fields[0])
    return len(fields) > 1 and (starts_with_name or sum(words) > len(fields) / 2)


def _no_pixels(line: _Line) -> UsageError:
    other = OTHER_SEPARATOR.search(line.fields[0])
    return UsageError(
        "there are no pixel columns",
        where=line.where,
        value=_shown(line.fields[0]),
        legal=LAYOUT,
        do=f"separate the columns by commas, not by {other.group()!r}" if other else None,
    )


def _field_trouble(field: str, column: int, where: str) -> UsageError | None:
    number = _number(field)
    if not field.strip():
        return UsageError(f"column {column} is empty", where=where, legal=LAYOUT)
    if number is None:
        return UsageError(f"column {column} is not a number", where=where, value=_shown(field), legal=LAYOUT)
    if not math.isfinite(number):
        return UsageError(
            f"column {column} is not a finite number", where=where, value=_shown(field), legal="finite numbers"
        )
    if column == 0 and (number != math.floor(number) or abs(number) > LARGEST_LABEL):
        return UsageError(
            "the label is not a whole number",
            where=where,
            value=_shown(field),
            legal="in column 0 a whole number of at most 2**53 in size",
        )
    return None


def _number(field: str) -> float | None:
    """The number as numpy reads it: underscores, foreign digits and a CR that ends no line make it text."""
    if "_" in field or "\r" in field or not field.isascii():
        return None
    try:
        return float(field)
    except ValueError:
        return None


def _shown(text: str) -> str:
    return repr(text if len(text) <= SHOWN else text[: SHOWN - 3] + "...")
