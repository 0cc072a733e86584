"""What the disk or SQLite refuses, said as an EnvironmentFault: where, what it was, what to do."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from initscope.base.errors import EnvironmentFault

FULL = frozenset({errno.ENOSPC, errno.EDQUOT}) if hasattr(errno, "EDQUOT") else frozenset({errno.ENOSPC})
FORBIDDEN = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
CLOSED = frozenset({sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM})
BROKEN = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_IOERR})


class Damage(Exception):
    """Something stored is not what this program writes; `guarded` turns it into an EnvironmentFault."""


@contextmanager
def guarded(path: Path) -> Iterator[None]:
    """Turns errors of the disk, of SQLite and of decoding into an EnvironmentFault that names `path`.

    Errors that only a mistake in this program can cause (a broken constraint, a wrong type) pass unchanged.
    """
    try:
        yield
    except Damage as damage:
        raise damaged(path, str(damage)) from damage
    except sqlite3.Error as error:
        fault = _of_database(error, path)
        if fault is None:
            raise
        raise fault from error
    except OSError as error:
        raise _of_disk(error, path) from error


def damaged(path: Path, found: str) -> EnvironmentFault:
    """Returns the fault for a stored file whose content cannot be read."""
    return EnvironmentFault(
        "the stored results cannot be read",
        where=str(path),
        value=found,
        legal="a whole file written by initscope",
        do="put back a copy of it, or move its folder away and run the study again; nothing was changed or deleted",
    )


def unwritable(path: Path, found: str) -> EnvironmentFault:
    """Returns the fault for a place where this user may not write or read."""
    return EnvironmentFault(
        "no permission to read or write here",
        where=str(path),
        value=found,
        do="change the permissions of the folder, or choose another one with --out",
    )


def _full(path: Path, found: str) -> EnvironmentFault:
    return EnvironmentFault(
        "the disk is full",
        where=str(path),
        value=found,
        do="make room and give the same command again; the runs stored so far stay",
    )


def _of_database(error: sqlite3.Error, path: Path) -> EnvironmentFault | None:
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        # Text that is not UTF-8 is reported without a code.
        return damaged(path, str(error)) if isinstance(error, sqlite3.OperationalError) else None
    primary = code & 0xFF
    if primary == sqlite3.SQLITE_FULL:
        return _full(path, str(error))
    if primary in CLOSED:
        return unwritable(path, str(error))
    if primary in BUSY:
        return EnvironmentFault(
            "another program holds the database",
            where=str(path),
            value=str(error),
            do="close the program that has it open (a database browser, say) and give the same command again",
        )
    return damaged(path, str(error)) if primary in BROKEN else None


def _of_disk(error: OSError, path: Path) -> EnvironmentFault:
    found = error.strerror or str(error)
    if error.errno in FULL:
        return _full(path, found)
    if error.errno in FORBIDDEN:
        return unwritable(path, found)
    return EnvironmentFault(
        "the folder cannot be used",
        where=str(path),
        value=found,
        do="check the path and the disk, or choose another folder with --out",
    )
