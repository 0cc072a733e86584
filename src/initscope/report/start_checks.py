"""What check said before training beside what training did, and how often the two agreed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from initscope.base.quantities import counted
from initscope.records.finding import SEVERITIES, Severity
from initscope.records.results import Results
from initscope.records.start_check import StartCheck, StartFinding
from initscope.report.naming import listed
from initscope.stats.outcomes import Share
from initscope.stats.summary import ConditionSummary

Answer = Literal["yes", "no", "not known"]
WORDS: dict[Severity, str] = {"error": "error", "warn": "warning", "info": "note"}


@dataclass(frozen=True, kw_only=True)
class Foretold:
    """One condition: what check said, whether that is trouble, what training did.

    `said` are pairs of a severity word and the names of its rules; `remark` is what there is instead of findings
    ("nothing", "not checked", the error of a check), `message` the sentence of the gravest finding that is no note.
    `trouble` is whether check said error or warning, `happened` whether a run did not learn.
    """

    key: str
    said: tuple[tuple[str, tuple[str, ...]], ...]
    remark: str
    message: str
    trouble: Answer
    learned: str
    happened: Answer


def foretold(results: Results, rows: Sequence[ConditionSummary]) -> tuple[Foretold, ...]:
    """Returns one row a condition, none where no start of the study was checked."""
    if not results.start_checks:
        return ()
    return tuple(_foretold(results, row) for row in rows)


def agreement(table: Sequence[Foretold]) -> str:
    """Returns one sentence or two: for how many conditions trouble was predicted, and in how many training agreed."""
    known = [row for row in table if "not known" not in (row.trouble, row.happened)]
    if not known:
        return "Whether training agreed is not known: no condition was both checked and told learned from not learned."
    warned = [row for row in known if row.trouble == "yes"]
    agreed = [row for row in known if row.trouble == row.happened]
    said = (
        f"Check predicted trouble for {len(warned)} of {counted(len(known), 'condition')}; "
        f"training agreed in {len(agreed)} of {len(known)}"
    )
    silent = [f"{row.key} ({row.learned})" for row in known if (row.trouble, row.happened) == ("no", "yes")]
    vain = [f"{row.key} ({row.learned})" for row in known if (row.trouble, row.happened) == ("yes", "no")]
    parts = [f"check was silent about {listed(silent)}, where runs did not learn"] if silent else []
    parts += [f"it warned of {listed(vain)}, where every run learned"] if vain else []
    return f"{said}: {'; '.join(parts)}." if parts else f"{said}."


def checked_seeds(results: Results) -> str:
    """Returns which starts were checked: "seed 0"."""
    seeds = sorted({check.seed for check in results.start_checks})
    return f"seed{'' if len(seeds) == 1 else 's'} {listed([str(seed) for seed in seeds])}"


def _foretold(results: Results, row: ConditionSummary) -> Foretold:
    checks = [check for check in results.start_checks if check.condition == row.condition]
    findings = [finding for check in checks for finding in check.findings]
    grave = [finding for finding in findings if finding.severity != "info"]
    return Foretold(
        key=row.condition,
        said=_said(findings),
        remark=_remark(checks, findings),
        message=min(grave, key=lambda one: SEVERITIES.index(one.severity)).message if grave else "",
        trouble=_trouble(checks),
        learned=_learned(row.outcomes.learned),
        happened=_happened(row.outcomes.learned),
    )


def _said(findings: Sequence[StartFinding]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    groups = []
    for severity in SEVERITIES:
        names = dict.fromkeys(one.name for one in findings if one.severity == severity)
        if names:
            groups.append((WORDS[severity], tuple(names)))
    return tuple(groups)


def _remark(checks: Sequence[StartCheck], findings: Sequence[StartFinding]) -> str:
    if not checks:
        return "not checked"
    errors = [check.error for check in checks if not check.known]
    crashed = sorted({name for check in checks for name in check.crashed})
    parts = [f"not checked: {errors[0]}"] if errors else []
    parts += [f"{counted(len(crashed), 'rule')} crashed: {listed(crashed)}"] if crashed else []
    return "; ".join(parts) or ("" if findings else "nothing")


def _trouble(checks: Sequence[StartCheck]) -> Answer:
    """A crashed rule might have found something, so silence beside it is no answer."""
    if any(check.trouble for check in checks):
        return "yes"
    return "no" if checks and all(check.known and not check.crashed for check in checks) else "not known"


def _learned(share: Share) -> str:
    return f"{share.count}/{share.n} learned" if math.isfinite(share.share) else "not known"


def _happened(share: Share) -> Answer:
    if not math.isfinite(share.share):
        return "not known"
    return "yes" if share.count < share.n else "no"
