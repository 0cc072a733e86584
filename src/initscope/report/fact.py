"""One measured fact of a condition: a sentence with its numbers, a headline, and how much it decides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from initscope.report.measured import Measured

ORDINARY = 10
"""Weight of facts that say that nothing is out of the ordinary: told only where little else is."""
TELLING = 30
"""From this weight on a fact is worth telling beside others."""


@dataclass(frozen=True, kw_only=True)
class Fact:
    """A fact measured in these runs.

    `weight` orders facts by how far they decide the outcome (100 is most); `headline` is at most 90 characters;
    `kind` names the cause, so that a report can ask for it ("rounding").
    """

    kind: str
    weight: int
    sentence: str
    headline: str


Finder = Callable[[Measured], Fact | None]
