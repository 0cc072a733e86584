"""Opening results.db: made whole or not at all, checked before anything is written, read beside a writer."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from initscope.store.faults import CLOSED, Damage
from initscope.store.schema import migrate, refuse_newer, version_of
from initscope.store.weights import sync_folder

NAME = "results.db"
DRAFT = "results.db.new"
SIDE_FILES = ("-wal", "-shm", "-journal")
PATIENCE_S = 15.0


def create_database(folder: Path) -> None:
    """Makes an empty results.db in `folder`; a kill on the way leaves none.

    It is built under another name, so that an empty or torn results.db is always damage and never a beginning.
    """
    orphans = [NAME + end for end in SIDE_FILES if (folder / (NAME + end)).exists()]
    if orphans:
        # SQLite would replay the orphaned log into the new database.
        raise Damage(f"{', '.join(orphans)} without {NAME}")
    for end in ("", *SIDE_FILES):
        (folder / (DRAFT + end)).unlink(missing_ok=True)
    connection = sqlite3.connect(folder / DRAFT, isolation_level=None)
    try:
        connection.execute("PRAGMA synchronous = FULL")
        migrate(connection)
        connection.execute("PRAGMA journal_mode = WAL")
    finally:
        connection.close()
    os.replace(folder / DRAFT, folder / NAME)
    sync_folder(folder)


def connect_writing(database: Path) -> sqlite3.Connection:
    """Returns a connection for writing, after a check of the whole file and the migrations it lacks."""
    checked = connect_reading(database)
    try:
        found = checked.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            raise Damage(str(found))
    finally:
        checked.close()
    connection = _connect(database, "mode=rw")
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        migrate(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def connect_reading(database: Path) -> sqlite3.Connection:
    """Returns a connection that cannot write; raises Damage or EnvironmentFault where the file is not readable by us.

    In a folder where this user may not write, SQLite cannot keep its side files; if no writer left any, the
    file stands still and is read as it is.
    """
    if not database.stat().st_size:
        raise Damage("an empty file")
    try:
        return _checked(_connect(database, "mode=ro"), database)
    except sqlite3.OperationalError as error:
        log = database.with_name(NAME + "-wal")
        still = not os.access(database.parent, os.W_OK) and not (log.exists() and log.stat().st_size)
        if error.sqlite_errorcode & 0xFF not in CLOSED or not still:
            raise
        return _checked(_connect(database, "mode=ro&immutable=1"), database)


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All writes inside are kept together at the end, or none of them."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        connection.rollback()
        raise


@contextmanager
def snapshot(connection: sqlite3.Connection) -> Iterator[None]:
    """All reads inside see the database as it was at the first of them."""
    connection.execute("BEGIN")
    try:
        yield
    finally:
        connection.rollback()


def _connect(database: Path, options: str) -> sqlite3.Connection:
    address = f"{database.resolve().as_uri()}?{options}"
    return sqlite3.connect(address, uri=True, timeout=PATIENCE_S, isolation_level=None)


def _checked(connection: sqlite3.Connection, database: Path) -> sqlite3.Connection:
    try:
        refuse_newer(version_of(connection), database)
        # The header may be whole while the rest is cut off; touching a table makes SQLite look.
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection
