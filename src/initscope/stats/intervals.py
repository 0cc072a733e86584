"""Two intervals: Wilson's for a share, Student's t for a mean."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A two-sided interval from `low` to `high` that covers with probability `level` (0.95 is 95 %).

    Bounds are NaN where the interval is not defined, for instance a mean of one value.
    """

    low: float
    high: float
    level: float

    @property
    def known(self) -> bool:
        """Whether both bounds are finite numbers."""
        return math.isfinite(self.low) and math.isfinite(self.high)


def wilson(successes: int, n: int, *, level: float = 0.95) -> Interval:
    """Returns Wilson's interval of a binomial share, as shares in 0..1.

    centre = (p + z^2/2n) / (1 + z^2/n), half width = z sqrt(p(1-p)/n + z^2/4n^2) / (1 + z^2/n), with p = successes/n.
    It stays inside 0..1 and keeps its coverage at few runs and at shares of 0 and 1, where the usual +- does not.

    Arguments: `successes` in 0..n; `n` >= 0, number of runs (0 gives NaN bounds); `level` in (0, 1).
    Raises: ValueError where an argument is out of range.

    Example:
        >>> interval = wilson(8, 20)
        >>> round(interval.low, 3), round(interval.high, 3)
        (0.219, 0.613)
    """
    _check_level(level)
    if not 0 <= successes <= n:
        raise ValueError(f"successes must lie in 0..n, got {successes} of {n}")
    if n == 0:
        return _nowhere(level)
    from scipy.special import ndtri

    z = float(ndtri(0.5 + level / 2))
    share = successes / n
    stretch = 1 + z * z / n
    centre = (share + z * z / (2 * n)) / stretch
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / stretch
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == n else min(1.0, centre + half)
    return Interval(low=low, high=high, level=level)


def mean_interval(values: Iterable[float], *, level: float = 0.95) -> Interval:
    """Returns Student's t interval of the mean of `values`, in their unit.

    mean +- t sqrt(var/n) with n-1 degrees of freedom. Values that are not finite are left out; below two values that
    remain the bounds are NaN. A constant series has an interval of width zero.

    Arguments: `values` Float "run"; `level` in (0, 1).
    Raises: ValueError where `level` is out of range.

    Example:
        >>> interval = mean_interval([1.0, 2.0, 3.0])
        >>> round(interval.low, 2), round(interval.high, 2)
        (-0.48, 4.48)
    """
    _check_level(level)
    kept = np.asarray(list(values), dtype=np.float64)
    kept = kept[np.isfinite(kept)]
    if kept.size < 2:
        return _nowhere(level)
    from scipy.special import stdtrit

    half = float(stdtrit(kept.size - 1, 0.5 + level / 2)) * float(kept.std(ddof=1)) / math.sqrt(kept.size)
    mean = float(kept.mean())
    return Interval(low=mean - half, high=mean + half, level=level)


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise ValueError(f"level must lie in (0, 1), got {level}")


def _nowhere(level: float) -> Interval:
    return Interval(low=math.nan, high=math.nan, level=level)
