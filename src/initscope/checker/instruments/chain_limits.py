"""From how many decades on a change along a chain hurts: measured in `calibration/depth_table.py`."""

from __future__ import annotations

from initscope.checker.instruments.chain_loss import ChainChange
from initscope.records.finding import Severity

LOST = -6.0
"""Decades lost from which no optimiser trained any network of the depth table well."""

FADED = -3.3
"""Decades lost from which plain gradient descent did not move any network of the depth table."""

STEEP = (-2.3, -0.7)
"""Decades in all and decades a layer that hurt together: squashing functions in series, small fixed scales."""

EXPLODED = 3.0
"""Decades gained from which neither momentum descent nor Adam trained any network of the depth table."""

GROWN = 1.3
"""Decades gained from which both were hurt."""

BACK_EXPLODED = 4.5
BACK_GROWN = 2.5
"""The same for the back-signal; normalised plain networks of usual depth gain up to 2.2."""


def loss_severity(change: ChainChange) -> Severity | None:
    """Returns how grave a loss of signal or back-signal is, None where it is none.

    A chain that uses one weight again and again is a recurrence, whose rules judge it.
    """
    if change.layers < 2 or not change.names or change.repeats:
        return None
    if change.decades <= LOST:
        return "error"
    steep = change.decades <= STEEP[0] and change.rate <= STEEP[1]
    return "warn" if change.decades <= FADED or steep else None


def gain_severity(change: ChainChange, *, grown: float = GROWN, exploded: float = EXPLODED) -> Severity | None:
    """Returns how grave a gain of signal is, None where it is none."""
    if change.layers < 2 or not change.names or change.repeats or change.decades < grown:
        return None
    return "error" if change.decades >= exploded else "warn"


def depth_budget(rate: float) -> float:
    """Returns the number of layers that a signal changing by `rate` decades a layer passes: six e-foldings.

    Reference: Schoenholz, Gilmer, Ganguli, Sohl-Dickstein, ICLR 2017, section 5: networks train up to about six depth
    scales.
    """
    return 6.0 / max(abs(rate) * 2.302585, 1e-9)
