"""Paired differences to the baseline as text, with a true minus sign."""

from __future__ import annotations

import math

from initscope.stats.summary import ConditionSummary


def difference_text(row: ConditionSummary) -> str:
    """Returns "-0.3 [-0.9, +0.4]" in percentage points, "baseline" for the baseline itself, or "no pairs"."""
    if row.is_baseline:
        return "baseline"
    if row.paired is None or not math.isfinite(row.paired.mean):
        return "no pairs"
    interval = row.paired.interval
    bounds = f" [{signed(interval.low)}, {signed(interval.high)}]" if interval.known else ""
    return f"{signed(row.paired.mean)}{bounds}"


def signed(value: float) -> str:
    """Returns "+0.4", "−0.3" with a true minus sign, "0.0".

    Example:
        >>> signed(-0.04), signed(1.25)
        ('0.0', '+1.2')
    """
    text = f"{value:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text.replace("-", "−")
