"""A check's report in the few lines that a failed test or a stopped training shows. Without torch."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path

from initscope.base.quantities import counted
from initscope.records.finding import CheckReport, Failed, Finding, Location, Severity

FAIL_ON = ("error", "warn", "never")
WIDTH, PLACES = 100, 5


def grave(findings: Iterable[Finding], *, fail_on: str) -> tuple[Finding, ...]:
    """Returns the findings that fail a check: errors, warnings too with "warn", none with "never"."""
    failing: dict[str, tuple[Severity, ...]] = {"error": ("error",), "warn": ("error", "warn"), "never": ()}
    return tuple(one for one in findings if one.severity in failing[fail_on])


def failing_text(report: CheckReport, *, fail_on: str) -> str | None:
    """Returns what a failed check says: findings from `fail_on` on, rules that crashed; None where it passes."""
    found = grave(report.findings, fail_on=fail_on)
    failed = report.failed if fail_on != "never" else ()
    if not found and not failed:
        return None
    counts = [counted(len(found), "finding")] if found else []
    counts += [f"{counted(len(failed), 'rule')} crashed"] if failed else []
    head = f"the start of {report.target} is not sound: {', '.join(counts)}"
    return "\n\n".join([head, *map(finding_text, found), *map(crash_text, failed)])


def finding_text(finding: Finding) -> str:
    """Returns one finding: severity and rule, its places, the sentence, the cure."""
    lines = [f"{finding.severity}  {finding.name} ({finding.code}){_place(finding.location)}"]
    lines += _labelled("at", [_listed(finding.where)]) if finding.where else []
    lines += textwrap.wrap(" ".join(finding.message.split()), WIDTH, initial_indent="  ", subsequent_indent="  ")
    lines += [f"  ({note})" for note in finding.notes]
    lines += _labelled("fix", finding.fix.splitlines())
    return "\n".join(lines)


def findings_text(findings: Iterable[Finding]) -> str:
    """Returns several findings with a blank line between them."""
    return "\n\n".join(map(finding_text, findings))


def crash_text(failed: Failed) -> str:
    """Returns what a crashed rule raised; its traceback where there is one."""
    return f"crashed  {failed.rule}: {failed.error}" + (f"\n\n{failed.trace.rstrip()}" if failed.trace else "")


def _place(location: Location | None) -> str:
    """The file as seen from the current folder, where it lies below."""
    if location is None:
        return ""
    path, here = Path(location.file), Path.cwd()
    return f"  {path.relative_to(here) if path.is_relative_to(here) else path}:{location.line}"


def _labelled(label: str, lines: Sequence[str]) -> list[str]:
    return [f"  {label if number == 0 else '':<4} {line}" for number, line in enumerate(lines)]


def _listed(where: Sequence[str]) -> str:
    shown = ", ".join(path or "the model itself" for path in where[:PLACES])
    return shown + (f" and {len(where) - PLACES} more" if len(where) > PLACES else "")
