"""The user's line behind what torch is doing right now."""

from __future__ import annotations

import sys
from types import FrameType

from initscope.checker.instruments.write_frames import whose
from initscope.records.finding import Location


def is_users(file: str) -> bool:
    """Returns whether a file is neither torch's, nor Python's own, nor ours, nor made up."""
    return whose(file) == "user"


def users_line(depth: int = 1) -> Location | None:
    """Returns the innermost line of the user's code on the stack, None where there is none below our own call of it.

    The search begins `depth` frames above this function: behind the instrument that asks.
    """
    frame: FrameType | None = sys._getframe(depth)
    while frame is not None and whose(frame.f_code.co_filename) != "ours":
        if is_users(frame.f_code.co_filename):
            return Location(file=frame.f_code.co_filename, line=frame.f_lineno)
        frame = frame.f_back
    return None
