"""Kept values of a parameter, read and described."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from initscope.base.quantities import significant
from initscope.records.results import Moment, Results
from initscope.records.run import FloatArray


def flat_values(results: Results, condition: str, seed: int, parameter: str, moment: Moment) -> FloatArray | None:
    """Returns the parameter's values as one Float64 "entry" array, or None where they were not kept."""
    values = results.weights(condition, seed, parameter, moment)
    return None if values is None else np.asarray(values, dtype=np.float64).ravel()


def kept_values(results: Results, condition: str, parameter: str, moment: Moment) -> dict[int, FloatArray]:
    """Returns seed -> values of the condition's finished runs whose values were kept and are not empty."""
    found = {}
    for run in results.of(condition):
        values = flat_values(results, condition, run.seed, parameter, moment) if run.status == "finished" else None
        if values is not None and values.size:
            found[run.seed] = values
    return found


def zero_percent(values: FloatArray) -> float:
    """Returns the share of entries that are exactly zero, in percent."""
    return 100.0 * float(np.mean(values == 0.0))


def described(values: FloatArray) -> str:
    """Returns "at 1" where all entries are equal, else "random within ±0.125" or the range where it is lopsided.

    Example:
        >>> described(np.ones(4)), described(np.array([-0.1, 0.0, 0.1]))
        ('at 1', 'random within ±0.1')
    """
    finite = values[np.isfinite(values)]
    if not finite.size:
        return "not finite"
    low, high = float(finite.min()), float(finite.max())
    if low == high:
        return f"at {significant(low + 0.0)}"  # + 0.0 turns -0 into 0
    if abs(low + high) <= 0.2 * (high - low):
        return f"random within ±{significant(max(abs(low), abs(high)))}"
    return f"spread from {significant(low)} to {significant(high)}"


def alike(texts: Sequence[tuple[str, str]]) -> list[tuple[list[str], str]]:
    """Returns (name, text) pairs with names of one text gathered, in the order of their first appearance."""
    found: dict[str, list[str]] = {}
    for name, text in texts:
        found.setdefault(text, []).append(name)
    return [(names, text) for text, names in found.items()]
