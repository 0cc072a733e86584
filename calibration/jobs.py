"""The two things done with a case in a process of its own: it is checked, and it is trained."""

from __future__ import annotations

import statistics
from functools import cache
from typing import Any

from calibration.case import Case
from calibration.desk import seconds
from calibration.records import Checked, Said
from calibration.table import all_cases
from calibration.training import Outcome, train

SEEDS = 3
"""Trainings of each case."""


@cache
def _by_name() -> dict[str, Case]:
    return {case.name: case for case in all_cases()}


def check_case(name: str, seed: int, *, select: tuple[str, ...] = ()) -> Checked:
    """Returns what the checker says of a case under a seed."""
    from initscope.api.check import check

    clock = seconds()
    report = check(_by_name()[name].build, seed=seed, select=select)
    return Checked(
        said=tuple(_said(finding) for finding in report.findings),
        skipped={one.rule: one.reason for one in report.skipped},
        failed={one.rule: one.error for one in report.failed},
        seconds=clock(),
    )


def _said(finding: Any) -> Said:
    margin = finding.evidence.get("margin_log10")
    return Said(
        rule=finding.name,
        severity=finding.severity,
        where=finding.where[0] if finding.where else "",
        message=finding.message,
        margin_log10=float(margin) if isinstance(margin, int | float) else None,
    )


def train_case(name: str, _seed: int) -> list[Outcome]:
    """Returns what the trainings of a case came to; none where it is not trained."""
    case = _by_name()[name]
    return train(case, seeds=SEEDS) if case.training is not None else []


def median(outcomes: list[Outcome], what: str) -> float:
    """Returns the median of a number over the trainings of a case."""
    return float(statistics.median(getattr(outcome, what) for outcome in outcomes))
