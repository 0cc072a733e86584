"""The lock of a folder: one writing process at a time; the system lifts it when that process ends, however it ends."""

from __future__ import annotations

import os
import platform
import shlex
import sys
import weakref
from pathlib import Path

from initscope.base.errors import EnvironmentFault, UsageError

NAME = ".lock"
FAR_BYTE = 1 << 30
"""Windows locks bytes so that nobody can read them; this one lies beyond the note in the file."""


class FolderLock:
    """The right to write into one folder. Made by `acquire`, ended by `release` or with the process."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor
        if hasattr(os, "register_at_fork"):
            # A forked worker would share the lock and keep it alive after its parent was killed.
            reference = weakref.ref(self)
            os.register_at_fork(after_in_child=lambda: _drop_in_child(reference))

    def release(self) -> None:
        """Empties the note and lifts the lock; a second call does nothing."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            try:
                os.ftruncate(descriptor, 0)
                _unlock(descriptor)
            finally:
                os.close(descriptor)

    def forget(self) -> None:
        """Closes the descriptor and leaves the lock to whoever else holds it (a forked child's duty)."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def acquire(folder: Path) -> FolderLock:
    """Returns the lock of `folder`, with the process number and the command written into it.

    Raises UsageError where another process (or another opening in this one) holds it, EnvironmentFault where
    the file system cannot lock, OSError where the lock file cannot be written.
    """
    path = folder / NAME
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        _lock(descriptor, folder)
        note = f"pid {os.getpid()} on {platform.node()}: {shlex.join(sys.argv)}\n"
        os.ftruncate(descriptor, 0)
        os.write(descriptor, note.encode(errors="replace"))
    except BaseException:
        os.close(descriptor)
        raise
    return FolderLock(descriptor)


def _drop_in_child(reference: weakref.ref[FolderLock]) -> None:
    lock = reference()
    if lock is not None:
        lock.forget()


def _lock(descriptor: int, folder: Path) -> None:
    try:
        _lock_now(descriptor)
    except (BlockingIOError, PermissionError) as error:
        raise _refused(folder) from error
    except OSError as error:
        raise EnvironmentFault(
            "this file system cannot lock files",
            where=str(folder),
            value=error.strerror or str(error),
            do="choose a folder on a local disk with --out",
        ) from error


def _refused(folder: Path) -> UsageError:
    note = (folder / NAME).read_text(errors="replace").strip()
    return UsageError(
        "another process is writing into this folder",
        where=str(folder),
        value=note or "a process that has not said its name yet",
        legal="one writing process a folder",
        do="wait until it has ended or stop it, or choose another folder with --out",
    )


if sys.platform == "win32":
    import msvcrt

    def _lock_now(descriptor: int) -> None:
        os.lseek(descriptor, FAR_BYTE, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        os.lseek(descriptor, 0, os.SEEK_SET)

    def _unlock(descriptor: int) -> None:
        os.lseek(descriptor, FAR_BYTE, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _lock_now(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _unlock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
