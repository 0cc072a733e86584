"""The chain of calls behind what torch is doing right now, and who asked: the user's code or torch's defaults."""

from __future__ import annotations

import os
import sys
import sysconfig
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import FrameType
from typing import Literal

import torch

from initscope.records.finding import Location

Whose = Literal["initializer", "torch", "ours", "library", "user"]

OURS = f"{Path(__file__).parents[2]}{os.sep}"
TORCH = f"{Path(torch.__file__).parent}{os.sep}"
INITIALIZERS = (str(Path(TORCH, "nn", "init.py")), str(Path("transformers", "initialization.py")))
"""torch's functions, and the wrappers that transformers puts in their place while it initialises a model."""

STEPWISE = frozenset({"trunc_normal_", "orthogonal_", "sparse_", "eye_", "dirac_"})
"""Functions of `torch.nn.init` that write several times, or by an operator that does not say what is written."""

DEEPEST = 40
"""Frames of the user's that are kept of one chain: recursion in a factory must not fill the memory."""

_WATCH = f"{Path(__file__).parent}{os.sep}"
_STDLIB = tuple(f"{sysconfig.get_paths()[kind]}{os.sep}" for kind in ("stdlib", "platstdlib"))


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Who asked torch for something.

    location     the innermost line of the user's code; None where there is none
    site         the user's lines of the whole chain, innermost first, as "file:line"
    framework    True where a constructor or a reset of torch's own modules asked, with no user code between
    initializer  the stepwise function of `torch.nn.init` at work, "" where none is
    moving       True inside a module's own moves and casts (`to`, `half`, `cuda`): the values stay what they were
    ours         True where Initscope's own code asked
    """

    location: Location | None
    site: tuple[str, ...]
    framework: bool
    initializer: str
    moving: bool
    ours: bool


@lru_cache(maxsize=8192)
def whose(file: str) -> Whose:
    """Returns whose code a file holds; every package that is not torch, Python's own or ours is the user's."""
    if file.endswith(INITIALIZERS):
        return "initializer"
    if file.startswith(TORCH):
        return "torch"
    if file.startswith(OURS):
        return "ours"
    inside = file.startswith(_STDLIB) and "-packages" not in file
    return "library" if inside or file.startswith(("<frozen", "<string>", "<__array")) else "user"


def caller(root: FrameType | None) -> Caller:
    """Returns who asked, read from the stack between here and `root`, whose callers say nothing of the model."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame is not root and frame.f_code.co_filename.startswith(_WATCH):
        frame = frame.f_back
    initializers: set[str] = set()
    framework = moving = ours = False
    site: list[str] = []
    location: Location | None = None
    while frame is not None and len(site) < DEEPEST:
        owner, name = whose(frame.f_code.co_filename), frame.f_code.co_name
        if owner == "user":
            location = location or Location(file=frame.f_code.co_filename, line=frame.f_lineno)
            site.append(_line(frame.f_code.co_filename, frame.f_lineno))
        elif location is None and not ours:
            ours = owner == "ours" and frame is not root
            initializers.update({name} if owner == "initializer" else ())
            framework = framework or (owner == "torch" and (name == "__init__" or "reset" in name))
            moving = moving or (owner == "torch" and name == "_apply")
        frame = None if frame is root else frame.f_back
    return Caller(
        location=location,
        site=tuple(site),
        framework=framework and not ours,
        initializer=min(initializers & STEPWISE, default=""),
        moving=moving,
        ours=ours,
    )


@lru_cache(maxsize=8192)
def _line(file: str, line: int) -> str:
    return f"{file}:{line}"
