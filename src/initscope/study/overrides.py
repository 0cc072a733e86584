"""Options of the form `--set key.path=value`: one value of a study, changed from outside its file."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from typing import Any

from initscope.base.errors import UsageError
from initscope.study.toml_index import unquoted

_PART = re.compile(r"""\s*("(?:\\.|[^"\\])*"|'[^']*'|[^\s.="']+)\s*([.=])""")
_FORM = "key.path=value, such as train.epochs=3 or data.source=mnist"


@dataclass(frozen=True, kw_only=True)
class Override:
    """One `--set`: its text as given, the path it sets, and the value."""

    text: str
    path: tuple[str, ...]
    value: object
    label: str
    """The option as the user wrote it, for messages."""


def set_label(text: str) -> str:
    """Returns "--set TEXT", shortened where the text is long."""
    return f"--set {text if len(text) <= 60 else text[:57] + '...'}"


def parse_override(text: str, *, label: str | None = None) -> Override:
    """Returns the override that `key.path=value` writes; raises UsageError where it has not that form.

    `label` is how the user wrote it where that was not `--set TEXT`.

    The key is dotted as in TOML, quotes included. The value is read as TOML, and is plain text where it is no TOML.
    Below `conditions.KEY` everything up to the equals sign is one pattern, since shells take the quotes away.

    Example:
        >>> parse_override("data.source=mnist").value
        'mnist'
        >>> parse_override("conditions.mine.*.bias=zeros").path
        ('conditions', 'mine', '*.bias')
    """
    parts: list[str] = []
    at, mark = 0, "."
    while mark == ".":
        found = _PART.match(text, at)
        if not found:
            raise UsageError(_complaint(text), where=set_label(text), legal=_FORM)
        parts.append(_key(found.group(1), text))
        at, mark = found.end(), found.group(2)
    if parts[0] == "conditions" and len(parts) > 3:
        parts[2:] = [".".join(parts[2:])]
    return Override(text=text, path=tuple(parts), value=_value(text[at:]), label=label or set_label(text))


def apply_override(study: dict[str, Any], override: Override) -> None:
    """Sets one value in a study given as plain tables, in place.

    Tables on the way are made where they are absent. A table given as value replaces the one that is there.
    Raises: UsageError where the path leads through something that is no table.
    """
    table = study
    for depth, key in enumerate(override.path[:-1], start=1):
        inner = table.setdefault(key, {})
        if not isinstance(inner, dict):
            outer, whole = ".".join(override.path[:depth]), ".".join(override.path)
            raise UsageError(f"{outer} is not a table, so {whole} cannot be set", do=f"set {outer} as a whole")
        table = inner
    table[override.path[-1]] = override.value


def _complaint(text: str) -> str:
    return "cannot read the key before the equals sign" if "=" in text else "there is no equals sign"


def _key(part: str, text: str) -> str:
    try:
        return unquoted(part)
    except ValueError as error:
        raise UsageError(f"cannot read the key {part}", where=set_label(text), legal=_FORM) from error


def _value(text: str) -> object:
    """Returns the TOML value that `text` writes, or the text itself."""
    try:
        found = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    return found["value"] if len(found) == 1 else text
