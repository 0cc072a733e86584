"""Files that are whole or not there: written beside their place, then moved into it."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from initscope.base.errors import EnvironmentFault


def write_atomically(path: Path, content: bytes) -> Path:
    """Writes `content` to `path` so that a reader sees the old file or the new one, never half; returns `path`.

    Folders above it are made. Raises: EnvironmentFault where the place cannot be written.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_bytes(content)
        os.replace(beside, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise EnvironmentFault(
            "cannot write a file of the report",
            where=str(path),
            value=error.strerror or str(error),
            do="free the place or choose another folder with --out",
        ) from error
    return path
