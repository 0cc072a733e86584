"""Whether training agrees with the labels of the table."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from calibration.case import Case
from calibration.jobs import median
from calibration.records import Proof
from calibration.training import Outcome, clearly_worse

BELOW = 0.25
"""A sound network learns where its median run ends at least this share of |chance| below chance."""

RUNAWAY = -1e6
"""A chance loss below this is no constant output: the loss has no lower bound in a part of the output."""


def proofs(cases: Mapping[str, Case], outcomes: Mapping[str, Any]) -> dict[str, Proof]:
    """Returns what the trainings say of each case; `outcomes` holds a text where a training crashed."""
    return {name: _proof(case, outcomes, cases) for name, case in cases.items()}


def _proof(case: Case, outcomes: Mapping[str, Any], cases: Mapping[str, Case]) -> Proof:
    own = outcomes.get(case.name)
    if case.training is None:
        return Proof(proven=None, learns=None, text=case.why_no_training)
    if isinstance(own, str) or not own:
        return Proof(proven=False, learns=None, text=own or "not trained")
    first, chance, final = (_finite(median(own, what)) for what in ("first_loss", "chance", "final_loss"))
    learns = learnt(own)
    proven, text = learns, ""
    if case.kind == "broken":
        twin = outcomes.get(case.twin)
        if case.twin not in cases or isinstance(twin, str) or not twin:
            return Proof(proven=False, learns=learns, first=first, chance=chance, final=final, text="twin not trained")
        verdict = clearly_worse(own, twin)
        proven, text = verdict.worse, verdict.reason
    return Proof(proven=proven, learns=learns, first=first, chance=chance, final=final, text=text)


def learnt(outcomes: list[Outcome]) -> bool:
    """Returns whether the median run ended clearly below chance (the first loss where there is no constant to fit)."""
    chance, first, final = (median(outcomes, what) for what in ("chance", "first_loss", "final_loss"))
    start = chance if math.isfinite(chance) and chance > RUNAWAY else first
    return math.isfinite(final) and final <= start - BELOW * abs(start)


def _finite(number: float) -> float | None:
    return float(f"{number:.4g}") if math.isfinite(number) else None
