"""What `check` said of the starts of runs, as rows of results.db, and back."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import asdict

from initscope.records.start_check import StartCheck, StartFinding
from initscope.store.faults import Damage

KEYS = ("condition", "seed")


def insert_check(connection: sqlite3.Connection, check: StartCheck) -> None:
    """Writes one check in place of an earlier one of the same run. Must be called inside a transaction."""
    content = {name: value for name, value in asdict(check).items() if name not in KEYS}
    text = json.dumps(content).encode(errors="backslashreplace").decode()
    connection.execute("INSERT OR REPLACE INTO start_checks VALUES (?, ?, ?)", (check.condition, check.seed, text))


def read_checks(connection: sqlite3.Connection) -> tuple[StartCheck, ...]:
    """Returns all checks, conditions in the order of their first appearance, then by seed; none of an older schema."""
    known = connection.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'start_checks'").fetchone()
    if known is None:
        return ()
    query = """SELECT condition, seed, content FROM start_checks JOIN conditions ON conditions.key = condition
        ORDER BY position, seed"""
    return tuple(_check(condition, seed, content) for condition, seed, content in connection.execute(query))


def _check(condition: str, seed: int, content: str) -> StartCheck:
    try:
        fields = json.loads(content)
        findings = tuple(StartFinding(**{**one, "where": tuple(one["where"])}) for one in fields.pop("findings"))
        crashed = tuple(fields.pop("crashed"))
        return StartCheck(condition=condition, seed=seed, findings=findings, crashed=crashed, **fields)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise Damage(f"start check of {condition!r}, seed {seed}: {error}") from error
