"""The current folder as a place to import a user's own modules from."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def importable_here(*, wanted: bool = True) -> Iterator[None]:
    """Makes the current folder importable inside the block, where it is `wanted` and not importable already.

    It is left out elsewhere, so that a user's file called random.py hides nothing of Python's.
    """
    here = str(Path.cwd())
    added = wanted and here not in sys.path and "" not in sys.path
    if added:
        sys.path.insert(0, here)
    try:
        yield
    finally:
        if added and here in sys.path:
            sys.path.remove(here)
