"""Names for several parameters at once: what differs in their paths, and paths that differ in numbers alone."""

from __future__ import annotations

import re
from collections.abc import Sequence


def differing(paths: Sequence[str]) -> tuple[str, ...]:
    """Returns the paths without the last parts that all of them share: the modules that correspond.

    >>> differing(["heads.0.fc.weight", "heads.1.fc.weight"])
    ('heads.0', 'heads.1')
    """
    parts = [path.split(".") for path in paths]
    while all(len(one) > 1 for one in parts) and len({one[-1] for one in parts}) == 1:
        parts = [one[:-1] for one in parts]
    return tuple(".".join(one) for one in parts)


def pattern(path: str) -> str:
    """Returns a path with each number replaced by a star: equal for the same place in every block of a stack."""
    return re.sub(r"(?<=\.)\d+(?=\.|$)|^\d+(?=\.|$)", "*", path)


def counted(paths: Sequence[str], *, most: int = 3) -> str:
    """Returns the first few paths as text, and how many more there are."""
    shown = ", ".join(paths[:most])
    return f"{shown} and {len(paths) - most} more" if len(paths) > most else shown
