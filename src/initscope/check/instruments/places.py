"""The user's line behind what torch is doing right now."""

from __future__ import annotations

import sys
from functools import lru_cache
from pathlib import Path

import torch

from initscope.records.finding import Location

OURS = str(Path(__file__).resolve().parents[2])
TORCH = str(Path(torch.__file__).resolve().parent)


@lru_cache(maxsize=4096)
def is_users(file: str) -> bool:
    """Returns whether a file is neither torch's, nor ours, nor made up (<string>, frozen modules)."""
    return not (file.startswith((TORCH, OURS, "<")) or "importlib" in file)


def users_line(depth: int = 1) -> Location | None:
    """Returns the innermost line of the user's code on the stack, None where there is none."""
    frame = sys._getframe(depth)
    while frame is not None:
        if is_users(frame.f_code.co_filename):
            return Location(file=frame.f_code.co_filename, line=frame.f_lineno)
        frame = frame.f_back  # type: ignore[assignment]  # None ends the loop
    return None
