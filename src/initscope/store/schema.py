"""The tables of results.db, as a list of named migrations; the schema version is how many of them were applied.

Numbers that may be -0.0 stand in columns without a type: in a REAL column SQLite stores -0.0 as 0. NaN is NULL.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path

from initscope.base.errors import EnvironmentFault
from initscope.store.faults import Damage

APPLICATION_ID = 0x494E5343
"""Marks a database as one of ours: the letters INSC."""


@dataclass(frozen=True, kw_only=True)
class Migration:
    """One step of the schema: a name and its statements, applied in one transaction."""

    name: str
    statements: tuple[str, ...]


RUN = "FOREIGN KEY (condition, seed) REFERENCES runs (condition, seed) ON DELETE CASCADE"

MIGRATIONS: tuple[Migration, ...] = (
    Migration(
        name="0001-first-tables",
        statements=(
            "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
            "CREATE TABLE identity (position INTEGER PRIMARY KEY, field TEXT NOT NULL UNIQUE, value TEXT NOT NULL)",
            """CREATE TABLE conditions (
                position INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, definition TEXT NOT NULL)""",
            """CREATE TABLE runs (
                condition TEXT NOT NULL REFERENCES conditions (key), seed INTEGER NOT NULL, key TEXT NOT NULL,
                status TEXT NOT NULL CHECK (status IN ('finished', 'diverged', 'failed')),
                epochs INTEGER NOT NULL, steps INTEGER NOT NULL, n_test INTEGER NOT NULL, class_shares TEXT NOT NULL,
                first_step_loss, wall_s, diverged_step INTEGER, error TEXT NOT NULL, kept TEXT NOT NULL,
                PRIMARY KEY (condition, seed)) WITHOUT ROWID""",
            f"""CREATE TABLE history (
                condition TEXT NOT NULL, seed INTEGER NOT NULL, epoch INTEGER NOT NULL,
                train_loss, train_accuracy_percent, test_accuracy_percent,
                PRIMARY KEY (condition, seed, epoch), {RUN}) WITHOUT ROWID""",
            f"""CREATE TABLE probes (
                condition TEXT NOT NULL, seed INTEGER NOT NULL, names TEXT NOT NULL, arrays BLOB NOT NULL,
                PRIMARY KEY (condition, seed), {RUN})""",
            """CREATE TABLE environments (
                session INTEGER PRIMARY KEY, started TEXT NOT NULL, command TEXT NOT NULL, initscope TEXT NOT NULL,
                engine INTEGER NOT NULL, python TEXT NOT NULL, torch TEXT NOT NULL, numpy TEXT NOT NULL,
                platform TEXT NOT NULL, processor TEXT NOT NULL, device TEXT NOT NULL, workers INTEGER NOT NULL)""",
        ),
    ),
    Migration(
        name="0002-start-checks",
        statements=(
            """CREATE TABLE start_checks (
                condition TEXT NOT NULL REFERENCES conditions (key) ON DELETE CASCADE, seed INTEGER NOT NULL,
                content TEXT NOT NULL, PRIMARY KEY (condition, seed)) WITHOUT ROWID""",
        ),
    ),
)


def version_of(connection: sqlite3.Connection) -> int:
    """Returns the schema version of a database; raises Damage where it is not one of ours."""
    if _number(connection, "application_id") != APPLICATION_ID:
        raise Damage("a database of another program")
    return _number(connection, "user_version")


def refuse_newer(version: int, database: Path) -> None:
    """Raises EnvironmentFault where `version` is one that this program does not know yet."""
    newest = len(MIGRATIONS)
    if version > newest:
        raise EnvironmentFault(
            "these results were written by a newer initscope",
            where=str(database),
            value=f"schema version {version}",
            legal=f"schema version {newest} or older",
            do="update initscope, or choose another folder with --out; nothing was changed or deleted",
        )


def migrate(connection: sqlite3.Connection) -> None:
    """Brings the database to the newest schema; each migration is applied whole or not at all."""
    for number in range(_number(connection, "user_version"), len(MIGRATIONS)):
        connection.execute("BEGIN IMMEDIATE")
        try:
            for statement in MIGRATIONS[number].statements:
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {number + 1}")
            connection.execute("COMMIT")
        except BaseException:
            connection.rollback()
            raise


def _number(connection: sqlite3.Connection, pragma: str) -> int:
    return int(connection.execute(f"PRAGMA {pragma}").fetchone()[0])
