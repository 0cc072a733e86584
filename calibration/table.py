"""The whole table: every case of every file, found by import and checked for its own consistency."""

from __future__ import annotations

import importlib
import pkgutil
from collections import Counter
from collections.abc import Iterable
from fnmatch import fnmatchcase

from calibration import cases as folder
from calibration.case import Case
from initscope.base.errors import UsageError, nearest


def all_cases() -> tuple[Case, ...]:
    """Returns every case, files in the order of their names.

    Raises:
        ValueError: the table contradicts itself; every contradiction is listed.
    """
    found: list[Case] = []
    for module in sorted(info.name for info in pkgutil.iter_modules(folder.__path__)):
        found += getattr(importlib.import_module(f"{folder.__name__}.{module}"), "CASES", ())
    wrong = contradictions(found)
    if wrong:
        raise ValueError("the calibration contradicts itself:\n" + "\n".join(f"  {line}" for line in wrong))
    return tuple(found)


def contradictions(cases: Iterable[Case]) -> list[str]:
    """Returns one line for each way in which these cases do not fit together; none for a sound table."""
    cases = list(cases)
    kinds = {case.name: case.kind for case in cases}
    lines = [f"{name} stands {count} times" for name, count in Counter(c.name for c in cases).items() if count > 1]
    for case in cases:
        if case.kind == "broken" and not case.rules:
            lines.append(f"{case.name} is broken and names no rule")
        if case.kind == "broken" and kinds.get(case.twin) != "twin":
            lines.append(f"{case.name} has no twin named {case.twin!r}")
        if case.kind != "broken" and (case.rules or case.twin):
            lines.append(f"{case.name} is sound and names a rule or a twin")
        if case.training is None and not case.why_no_training:
            lines.append(f"{case.name} is not trained and does not say why")
    return lines


def chosen(cases: Iterable[Case], patterns: Iterable[str]) -> tuple[Case, ...]:
    """Returns the cases whose name, kind or family fits one of the patterns ("zero-*", "healthy"); all without any.

    Raises:
        UsageError: a pattern fits nothing.
    """
    cases, patterns = tuple(cases), tuple(patterns)
    for pattern in patterns:
        if not any(_fits(case, pattern) for case in cases):
            near = nearest(pattern, [case.name for case in cases])
            raise UsageError(
                "no case fits a pattern",
                where="--cases",
                value=pattern,
                legal="a pattern over names, kinds (broken, twin, healthy, architecture) or families",
                do=f"did you mean {near!r}?" if near else "python -m calibration --list shows them all",
            )
    return tuple(case for case in cases if not patterns or any(_fits(case, pattern) for pattern in patterns))


def _fits(case: Case, pattern: str) -> bool:
    return any(fnmatchcase(text, pattern) for text in (case.name, case.kind, case.family))
