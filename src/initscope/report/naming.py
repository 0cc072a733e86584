"""How explanations name parameters, seeds and spreads: short lists, counts out of counts, medians with ranges."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from initscope.base.quantities import significant

MOST_NAMES = 5


def parameter_names(chosen: Sequence[str], everything: Sequence[str]) -> str:
    """Returns the chosen parameter paths as words; a module all of whose parameters are chosen is written `module.*`.

    Example:
        >>> parameter_names(["a.weight", "a.bias", "b.bias"], ["a.weight", "a.bias", "b.weight", "b.bias"])
        'a.* and b.bias'
    """
    parts: dict[str, None] = {}
    for path in chosen:
        module = path.rpartition(".")[0]
        whole = [other for other in everything if other.rpartition(".")[0] == module]
        parts[f"{module}.*" if module and len(whole) > 1 and set(whole) <= set(chosen) else path] = None
    return listed(list(parts))


def listed(names: Sequence[str]) -> str:
    """Returns "a", "a and b", "a, b and c"; past five names the rest is counted.

    Example:
        >>> listed(["a", "b", "c"])
        'a, b and c'
    """
    if len(names) > MOST_NAMES + 1:
        return f"{', '.join(names[:MOST_NAMES])} and {len(names) - MOST_NAMES} more"
    return " and ".join(part for part in (", ".join(names[:-1]), names[-1] if names else "") if part)


def in_seeds(count: int, n: int) -> str:
    """Returns "in all 10 seeds", "in 4 of 10 seeds", "in none of 10 seeds", "in the one seed"."""
    if n == 1 and count == 1:
        return "in the one seed"
    if count == n:
        return f"in all {n} seeds"
    return f"in {count or 'none'} of {n} seed{'' if n == 1 else 's'}"


def middle(values: NDArray[np.float64]) -> str:
    """Returns "16 (10 to 19)": median and range of the finite values, or the one value they all have."""
    known = values[np.isfinite(values)]
    if not known.size:
        return significant(float("nan"))
    low, high, median = float(known.min()), float(known.max()), float(np.median(known))
    return significant(median) if low == high else f"{significant(median)} ({significant(low)} to {significant(high)})"


def fitting(*candidates: str, width: int = 90) -> str:
    """Returns the first candidate of at most `width` characters; the last one, cut, where none is."""
    for candidate in candidates:
        if len(candidate) <= width:
            return candidate
    return candidates[-1][: width - 1].rstrip() + "…"
