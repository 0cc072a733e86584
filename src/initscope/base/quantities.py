"""How numbers are written for people: percent with a space, three significant digits, intervals in brackets."""

from __future__ import annotations

import math

MISSING = "not measured"


def percent(value: float, *, digits: int = 1) -> str:
    """Returns "95.0 %"; a NaN is "not measured"."""
    return MISSING if math.isnan(value) else f"{value:.{digits}f} %"


def percent_interval(value: float, low: float, high: float) -> str:
    """Returns "95.0 % [94.6, 95.4]"; an interval that is not finite is left out."""
    bounds = f" [{low:.1f}, {high:.1f}]" if math.isfinite(low) and math.isfinite(high) else ""
    return percent(value) + bounds


def significant(value: float, *, digits: int = 3) -> str:
    """Returns the number with three significant digits: 0.0123, 6.8e+06; a NaN is "not measured"."""
    return MISSING if math.isnan(value) else f"{value:.{digits}g}"


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Returns "1 seed", "3 seeds"."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def duration(seconds: float) -> str:
    """Returns "42 s", "3 min 05 s", "2 h 04 min"."""
    if seconds < 99.5:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
