"""The error for a network that cannot be run: which layer refused what, with the user's own traceback."""

from __future__ import annotations

import textwrap
import traceback

from torch import nn

from initscope.base.errors import UsageError
from initscope.checker.instruments.places import is_users
from initscope.checker.instruments.recording import Refusal
from initscope.checker.instruments.write_frames import whose

FRAMES = 12
"""Frames of a traceback that are shown: the first half and the last."""

LONGEST = 200
"""Characters of a module's path and text that are shown."""

SHAPES = "give inputs of the shape the model takes: --input SHAPE, or a factory that returns (model, inputs)"


def refused(error: Exception, refusal: Refusal | None, *, what: str = "its forward pass") -> UsageError:
    """Returns the error for a model that raised in `what`."""
    place, given = None, ""
    if refusal is not None:
        place = textwrap.shorten(f"{refusal.path or 'the model itself'} ({_one_line(refusal.module)})", LONGEST)
        given = f", given {', '.join(refusal.given) or 'no tensor'}"
    about_inputs = refusal is not None and isinstance(error, RuntimeError | ValueError | IndexError)
    return UsageError(
        f"the model cannot be run on its inputs: {type(error).__name__} in {what}{given}",
        where=place,
        value=textwrap.indent(_told(error), " " * 9).lstrip(),
        do=SHAPES if about_inputs and not isinstance(error, RecursionError) else "mend what the traceback names",
    )


def _told(error: Exception) -> str:
    """The user's own frames, the middle of long ones left out, and the error."""
    frames = traceback.extract_tb(error.__traceback__)
    first = next((number for number, frame in enumerate(frames) if is_users(frame.filename)), len(frames))
    shown = [frame for frame in frames[first:] if whose(frame.filename) != "ours"]
    lines = traceback.format_list(shown[: FRAMES // 2] + shown[-FRAMES // 2 :] if len(shown) > FRAMES else shown)
    if len(shown) > FRAMES:
        lines.insert(FRAMES // 2, f"  ... {len(shown) - FRAMES} frames more ...\n")
    head = ["Traceback (most recent call last):\n"] if lines else []
    return "".join([*head, *lines, *traceback.format_exception_only(error)]).rstrip()


def _one_line(module: nn.Module) -> str:
    try:
        text = repr(module).splitlines()
    except Exception:  # noqa: BLE001  # the user's own __repr__ may raise anything
        text = []
    return text[0] if len(text) == 1 else type(module).__name__
