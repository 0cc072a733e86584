"""What all runs of a folder share, and what each condition means: said once, compared ever after."""

from __future__ import annotations

import json
import shlex
import sqlite3
from collections.abc import Mapping
from pathlib import Path

from initscope.base.errors import UsageError
from initscope.store.faults import Damage
from initscope.store.names import check_key

ABSENT = "absent"
INDENT = "\n         "


def claim_identity(connection: sqlite3.Connection, identity: Mapping[str, object], folder: Path) -> None:
    """Stores the identity of a folder that has none; raises UsageError with every field that differs from its own."""
    new = {field: _canonical(value) for field, value in identity.items()}
    old: dict[str, str] = dict(connection.execute("SELECT field, value FROM identity ORDER BY position"))
    if not old:
        connection.executemany("INSERT INTO identity (field, value) VALUES (?, ?)", new.items())
        return
    differing = differences(old, new)
    if differing:
        raise UsageError(
            "this folder belongs to another study",
            where=str(folder),
            value=INDENT.join(differing),
            legal="the same data, model, training and root seed as the runs that are there",
            do=f"choose another folder, for instance --out {_free_neighbour(folder)}, or undo the change",
        )


def claim_condition(connection: sqlite3.Connection, key: str, definition: Mapping[str, str], folder: Path) -> None:
    """Stores a condition that is new; raises UsageError where its key stands for other overwrites already."""
    check_key(key)
    row = connection.execute("SELECT definition FROM conditions WHERE key = ?", (key,)).fetchone()
    if row is None:
        pairs = json.dumps(list(definition.items()))
        connection.execute("INSERT INTO conditions (key, definition) VALUES (?, ?)", (key, pairs))
        return
    old = _definition(row[0])
    if list(old.items()) != list(definition.items()):
        quoted = ({pattern: _canonical(call) for pattern, call in table.items()} for table in (old, definition))
        found = differences(*quoted) or [f"order: {', '.join(old)} -> {', '.join(definition)}"]
        raise UsageError(
            f"the condition {key!r} has another definition in this folder",
            where=str(folder),
            value=INDENT.join(found),
            legal="one definition a condition and folder",
            do=f"give it a key of its own, or choose another folder, for instance --out {_free_neighbour(folder)}",
        )


def read_identity(connection: sqlite3.Connection) -> dict[str, object]:
    """Returns the stored identity, empty where none was claimed."""
    try:
        rows = connection.execute("SELECT field, value FROM identity ORDER BY position")
        return {field: json.loads(value) for field, value in rows}
    except (ValueError, TypeError) as error:
        raise Damage(f"identity: {error}") from error


def read_conditions(connection: sqlite3.Connection) -> dict[str, dict[str, str]]:
    """Returns condition key -> (pattern -> call text), in the order of first appearance."""
    rows = connection.execute("SELECT key, definition FROM conditions ORDER BY position")
    return {key: _definition(text) for key, text in rows}


def differences(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    """Returns one "field: old -> new" for each field that differs; a field that only one side has is "absent".

    Example:
        >>> differences({"a": "1", "b": "2"}, {"a": "1", "c": "3"})
        ['b: 2 -> absent', 'c: absent -> 3']
    """
    fields = [*old, *(field for field in new if field not in old)]
    pairs = ((field, old.get(field, ABSENT), new.get(field, ABSENT)) for field in fields)
    return [f"{field}: {before} -> {after}" for field, before, after in pairs if before != after]


def _canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True, allow_nan=False, ensure_ascii=False)


def _definition(text: str) -> dict[str, str]:
    try:
        return {str(pattern): str(call) for pattern, call in json.loads(text)}
    except (ValueError, TypeError) as error:
        raise Damage(f"conditions: {error}") from error


def _free_neighbour(folder: Path) -> str:
    number = 2
    while folder.with_name(f"{folder.name}-{number}").exists():
        number += 1
    return shlex.quote(str(folder.with_name(f"{folder.name}-{number}")))
