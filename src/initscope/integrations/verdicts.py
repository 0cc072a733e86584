"""One check of a TARGET as plain data, a verdict a rule: what items of a test run need and processes can exchange."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from initscope.integrations.told import crash_text, findings_text, grave

if TYPE_CHECKING:
    from initscope.checker.settings import Settings
    from initscope.records.finding import CheckReport

Rules = tuple[tuple[str, str], ...]
"""(code, name) of each rule, in the order of the codes."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What one rule says of one target.

    `outcome` is "passed", "failed", "skipped" or "error" (the rule crashed). `text` are its findings, the reason or the
    traceback; of a rule that passed, what it found below the severity that fails.
    """

    code: str
    name: str
    outcome: str
    text: str = ""


@dataclass(frozen=True, kw_only=True)
class TargetVerdicts:
    """All verdicts of one target; `error` says why there are none, with the user's own traceback."""

    verdicts: tuple[Verdict, ...] = ()
    error: str | None = None

    def plain(self) -> dict[str, Any]:
        """Returns dicts, lists and texts alone."""
        rows = [[one.code, one.name, one.outcome, one.text] for one in self.verdicts]
        return {"verdicts": rows, "error": self.error}

    @classmethod
    def of_plain(cls, plain: dict[str, Any]) -> TargetVerdicts:
        """Returns what `plain` was made of."""
        rows = [Verdict(code=code, name=name, outcome=done, text=text) for code, name, done, text in plain["verdicts"]]
        return cls(verdicts=tuple(rows), error=plain["error"])


def verdicts_of(target: str, *, folder: Path, run: bool = True) -> TargetVerdicts:
    """Returns the verdicts on what `target` names, with the settings of the pyproject.toml nearest to `folder`.

    Arguments: `run` False names the rules and checks nothing: every verdict is then "passed".
    """
    from initscope.base.errors import InitscopeError
    from initscope.checker.settings import find_settings

    try:
        settings = find_settings(folder)
        rules = rules_of(settings)
        if not run:
            return TargetVerdicts(
                verdicts=tuple(Verdict(code=code, name=name, outcome="passed") for code, name in rules)
            )
        from initscope.api.check import check_source

        report = check_source(target, settings=settings)
    except InitscopeError as error:
        return TargetVerdicts(error=str(error))
    return TargetVerdicts(verdicts=judged(report, rules=rules, fail_on=settings.fail_on))


def rules_of(settings: Settings) -> Rules:
    """Returns the rules that `settings` choose."""
    from initscope.checker.rule_names import known_rules
    from initscope.checker.selection import chosen

    known = known_rules()
    return tuple((known[name], name) for name in chosen(settings, known))


def judged(report: CheckReport, *, rules: Rules, fail_on: str) -> tuple[Verdict, ...]:
    """Returns one verdict for each of `rules`: a crash before findings, findings before a reason for not judging."""
    return tuple(_verdict(report, code, name, fail_on) for code, name in rules)


def _verdict(report: CheckReport, code: str, name: str, fail_on: str) -> Verdict:
    of: Callable[[str], bool] = (code, name).__contains__
    found = [one for one in report.findings if of(one.name)]
    failing = grave(found, fail_on=fail_on)
    crashed = next((one for one in report.failed if of(one.rule)), None)
    skipped = next((one for one in report.skipped if of(one.rule)), None)
    if crashed is not None:
        return Verdict(code=code, name=name, outcome="error", text=crash_text(crashed))
    if failing:
        return Verdict(code=code, name=name, outcome="failed", text=findings_text(failing))
    if skipped is not None and not found:
        return Verdict(code=code, name=name, outcome="skipped", text=" ".join(skipped.reason.split()))
    return Verdict(code=code, name=name, outcome="passed", text=findings_text(found))
