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
MAGIC, HEADER_BYTES, LARGEST_PAGE = b"SQLite format 3\0", 100, 65536
"""The database file format: its first bytes, the length of its header, the page size written as 1."""


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
    _check_length(database)
    try:
        return _checked(_connect(database, "mode=ro"), database)
    except sqlite3.OperationalError as error:
        at_rest = not os.access(database.parent, os.W_OK) and not _has_log(database)
        if error.sqlite_errorcode & 0xFF not in CLOSED or not at_rest:
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


def _check_length(database: Path) -> None:
    """Raises Damage where the file is shorter than its header says; SQLite itself reads a torn last page as zeros.

    A log means that a writer may be moving pages into the file just now: then only SQLite can tell. The header is
    read first and the length last, so a writer that starts or ends in between raises no false alarm.
    """
    with database.open("rb") as file:
        header = file.read(HEADER_BYTES)
    if _has_log(database):
        return
    length = database.stat().st_size
    if header[: len(MAGIC)] != MAGIC[: len(header)]:
        raise Damage("not a database")
    page_bytes, pages = int.from_bytes(header[16:18], "big"), int.from_bytes(header[28:32], "big")
    expected = max(pages * (LARGEST_PAGE if page_bytes == 1 else page_bytes), HEADER_BYTES)
    if length < expected:
        raise Damage(f"a file cut off after {length} bytes" if length else "an empty file")


def _has_log(database: Path) -> bool:
    log = database.with_name(database.name + "-wal")
    return log.exists() and log.stat().st_size > 0


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
