"""Whether a path can be a study's folder: found out before anything is touched."""

from __future__ import annotations

import os
from pathlib import Path

from initscope.base.errors import UsageError
from initscope.store import lock, weights
from initscope.store.database import DRAFT, NAME, SIDE_FILES
from initscope.store.faults import unwritable

OURS = frozenset(
    {lock.NAME, weights.NAME, "figures", "report.html", "runs.csv", "history.csv", ".work"}
    | {name + end for name in (NAME, DRAFT) for end in ("", *SIDE_FILES)}
)
NOBODYS = frozenset({".DS_Store", "Thumbs.db", "desktop.ini", ".ipynb_checkpoints"})
"""What file managers and notebooks leave in any folder."""
SHOWN = 5
LEGAL = "a new or empty folder, or one with results of initscope"


def make_place(folder: Path) -> None:
    """Makes the folder where it is missing; raises UsageError where it is a file or holds something else."""
    _check_folder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    foreign = sorted(entry.name for entry in folder.iterdir() if entry.name not in OURS | NOBODYS)
    if foreign and not (folder / NAME).exists():
        more = f" and {len(foreign) - SHOWN} more" if len(foreign) > SHOWN else ""
        raise UsageError(
            "this folder holds something else",
            where=str(folder),
            value=", ".join(foreign[:SHOWN]) + more,
            legal=LEGAL,
            do="choose another folder with --out",
        )


def check_results(folder: Path) -> None:
    """Raises UsageError where the folder is missing, a file, or holds no results."""
    _check_folder(folder)
    if not (folder / NAME).exists():
        raise UsageError(
            "there are no results here",
            where=str(folder),
            value="a folder without results.db" if folder.exists() else "no such folder",
            legal="a folder that initscope run has filled",
            do="check the path, or run a study first: initscope run STUDY --out DIR",
        )


def check_writable(folder: Path) -> None:
    """Raises EnvironmentFault where this user may not write into the folder or its results.db."""
    if not os.access(folder, os.W_OK | os.X_OK):
        raise unwritable(folder, "a folder that may not be written")
    if (folder / NAME).exists() and not os.access(folder / NAME, os.W_OK):
        raise unwritable(folder / NAME, "a file that may not be written")


def _check_folder(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise UsageError(
            "this is a file, not a folder", where=str(folder), legal=LEGAL, do="choose another folder with --out"
        )
