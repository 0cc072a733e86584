"""Rules run over evidence: what is absent is said, what crashes is told, one cause gives one finding."""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from initscope.checker.evidence import Evidence
from initscope.checker.rule import RULES, Need, Rule
from initscope.records.finding import SEVERITIES, Failed, Finding, Severity, Skipped


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What rules said: findings by gravity, those explained by another, rules not run, rules that crashed."""

    findings: tuple[Finding, ...]
    explained: tuple[tuple[Finding, str], ...]
    skipped: tuple[Skipped, ...]
    failed: tuple[Failed, ...]


def judge(evidence: Evidence, rules: Iterable[type[Rule]]) -> Judgement:
    """Returns what `rules` find in `evidence`. Required rules run too, and their findings count as causes only.

    A rule that raises becomes an entry of `failed`; the others go on.
    """
    asked = sorted(set(rules), key=lambda rule: rule.code)
    found: dict[str, list[Finding]] = {}
    skipped, failed = [], []
    for rule in _with_required(asked):
        reason = missing(evidence, rule)
        if reason is not None:
            skipped.append(Skipped(rule=rule.name, reason=reason))
            continue
        try:
            found[rule.name] = [_placed(_lowered(one, rule, evidence), evidence) for one in rule().judge(evidence)]
        except Exception as error:  # noqa: BLE001  # a crashed rule is told, and never ends the check
            failed.append(
                Failed(rule=rule.name, error=f"{type(error).__name__}: {error}", trace=traceback.format_exc())
            )
    names = {rule.name for rule in asked}
    kept, explained = _without_consequences({rule.name: rule for rule in asked}, found)
    return Judgement(
        findings=tuple(sorted(kept, key=lambda one: (SEVERITIES.index(one.severity), one.code, one.where))),
        explained=tuple(explained),
        skipped=tuple(one for one in skipped if one.rule in names),
        failed=tuple(failed),
    )


def needs_of(rules: Iterable[type[Rule]]) -> frozenset[Need]:
    """Returns what these rules and the rules they require read."""
    return frozenset(need for rule in _with_required(list(rules)) for need in rule.needs)


def missing(evidence: Evidence, rule: type[Rule]) -> str | None:
    """Returns why a rule cannot judge this evidence, None where it can."""
    absent = {
        "builds": getattr(evidence.builds, "reason", None),
        "seeds": getattr(getattr(evidence.builds, "second_seed", None), "reason", None),
        "capture": getattr(evidence.trace, "reason", None),
        "loss": None if evidence.user_loss else "no loss and no targets were given",
        "gradients": getattr(evidence.gradients, "reason", None),
        "escape": getattr(evidence.escape, "reason", None),
        "chance": getattr(evidence.chance, "reason", None),
        "batch": "the inputs were made up" if evidence.synthetic else None,
    }
    return next((reason for need in rule.needs if (reason := absent[need]) is not None), None)


def _with_required(rules: Sequence[type[Rule]]) -> list[type[Rule]]:
    """The rules and those they require, which may require others; sorted by code."""
    found: dict[str, type[Rule]] = {}
    waiting = list(rules)
    while waiting:
        rule = waiting.pop()
        if rule.name not in found:
            found[rule.name] = rule
            waiting += [RULES.get(name) for name in rule.requires if name in RULES]
    return sorted(found.values(), key=lambda rule: rule.code)


def _placed(finding: Finding, evidence: Evidence) -> Finding:
    """The finding with the place of its most guilty path, where it has none of its own."""
    if finding.location is not None or not finding.where:
        return finding
    return replace(finding, location=evidence.locate(finding.where[0]))


def _lowered(finding: Finding, rule: type[Rule], evidence: Evidence) -> Finding:
    """The finding one severity lower where it was made on inputs that nobody gave."""
    if not (evidence.synthetic and rule.data_dependent) or finding.severity == "info":
        return finding
    lower: Severity = SEVERITIES[SEVERITIES.index(finding.severity) + 1]
    return replace(finding, severity=lower, notes=(*finding.notes, f"synthetic input: lowered from {finding.severity}"))


def _without_consequences(
    rules: dict[str, type[Rule]], found: dict[str, list[Finding]]
) -> tuple[list[Finding], list[tuple[Finding, str]]]:
    """A finding is left out where a required rule gives its cause, and gives it at least as gravely."""
    kept, explained = [], []
    for name, rule in rules.items():
        causes = [
            cause
            for required in rule.requires
            for cause in found.get(required, [])
            if cause.severity in ("error", "warn")
        ]
        for finding in found.get(name, []):
            graver = [one for one in causes if SEVERITIES.index(one.severity) <= SEVERITIES.index(finding.severity)]
            cause = next((one for one in graver if rule().silenced_by(finding, one)), None)
            if cause is None:
                kept.append(finding)
            else:
                explained.append((finding, f"follows from {cause.name} at {', '.join(cause.where[:1]) or 'the model'}"))
    return kept, explained
