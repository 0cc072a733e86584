"""What is given to `initscope.run`: checked before anything is read, and named in messages as the user wrote it."""

from __future__ import annotations

import operator
import os
from collections.abc import Callable
from typing import Any

from initscope.base.errors import UsageError

Style = Callable[[str, object], str]
"""(argument, value) -> how the user wrote it."""


def as_option(name: str, value: object) -> str:
    """Returns an argument as the command line has it: "--seeds 3"."""
    return f"--{name} {value}"


def as_argument(name: str, value: object) -> str:
    """Returns an argument as Python has it: "seeds=3"."""
    return f"{name}={value!r}"


def whole_number(value: Any, *, name: str) -> int | None:
    """Returns a whole number of any kind (numpy's too) as an int, None as None.

    Raises: UsageError for anything else, truth values and texts included.
    """
    if value is None:
        return None
    try:
        if isinstance(value, bool):
            raise TypeError("a truth value is no number of things")
        return operator.index(value)
    except TypeError as error:
        raise UsageError(
            f"{name} must be a whole number",
            where=as_argument(name, value),
            legal="a whole number of at least 1, or None",
        ) from error


def texts(value: Any, *, name: str) -> tuple[str, ...]:
    """Returns a list of texts as a tuple.

    Raises: UsageError for anything else, and for one text alone, which would be read letter by letter.
    """
    if isinstance(value, str) or not hasattr(value, "__iter__") or not all(isinstance(text, str) for text in value):
        proposed = f"{name}=[{value!r}]" if isinstance(value, str) else None
        raise UsageError(
            f"{name} must be a list of texts",
            where=as_argument(name, value),
            legal="a list or tuple of str",
            do=f"write {proposed}" if proposed else None,
        )
    return tuple(value)


def path_text(value: Any, *, name: str) -> str:
    """Returns a name or path as text; raises UsageError where it is neither."""
    try:
        return os.fsdecode(value)
    except TypeError as error:
        raise UsageError(
            f"{name} must be a name or a path",
            where=f"{name} is of type {type(value).__name__}",
            legal="str or pathlib.Path",
        ) from error
