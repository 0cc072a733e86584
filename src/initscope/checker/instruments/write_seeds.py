"""Who seeds a global generator: torch's, numpy's and random's seeding functions, watched for a while."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from types import FrameType, ModuleType
from typing import Any

import numpy as np
import torch

from initscope.checker.instruments.write_frames import caller
from initscope.records.finding import Location

_WATCHED: tuple[tuple[ModuleType, str], ...] = (
    (torch.cuda, "manual_seed_all"),  # torch.manual_seed calls it, under whatever name the user's file imported that
    (torch, "manual_seed"),
    (torch.random, "manual_seed"),
    (torch, "seed"),
    (random, "seed"),
    (np.random, "seed"),
)


@contextmanager
def watched_seeding(root: FrameType | None) -> Iterator[list[Location]]:
    """Gives a list of the user's lines that seeded a global generator inside the block, each once, in order.

    The functions are wrapped in their modules and put back at the end. A `random.seed` or `numpy.random.seed` that a
    user's file imported by name before is not seen; generators that belong to nobody else are none of our business.
    """
    seen: list[Location] = []
    wrapped: list[tuple[ModuleType, str, Any, Any]] = []
    try:
        for module, name in _WATCHED:
            original = getattr(module, name)
            ours = _noting(original, seen, root)
            wrapped.append((module, name, original, ours))
            setattr(module, name, ours)
        yield seen
    finally:
        for module, name, original, ours in reversed(wrapped):
            if getattr(module, name) is ours:  # the user's code may have put something else there meanwhile
                setattr(module, name, original)


def _noting(original: Callable[..., Any], seen: list[Location], root: FrameType | None) -> Callable[..., Any]:
    @wraps(original)
    def seeding(*args: Any, **kwargs: Any) -> Any:
        who = caller(root)
        if who.location is not None and not who.ours and who.location not in seen:
            seen.append(who.location)
        return original(*args, **kwargs)

    return seeding
