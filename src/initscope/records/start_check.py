"""What `check` said of a study's run before its training: findings at step 0, free of torch."""

from __future__ import annotations

from dataclasses import dataclass

from initscope.records.finding import Severity


@dataclass(frozen=True, kw_only=True)
class StartFinding:
    """One finding at the start of a run; fields as those of `Finding`, places relative to the study's network."""

    code: str
    name: str
    severity: Severity
    where: tuple[str, ...]
    message: str


@dataclass(frozen=True, kw_only=True)
class StartCheck:
    """The check of the very start of one run, on samples of its own training set.

    `rules` counts the rules that judged; `crashed` names those that raised. `error` says why the check as a whole could
    not be made ("" otherwise): then nothing is known of this start.
    """

    condition: str
    seed: int
    findings: tuple[StartFinding, ...] = ()
    rules: int = 0
    crashed: tuple[str, ...] = ()
    error: str = ""

    @property
    def known(self) -> bool:
        """True where the check was made."""
        return not self.error

    @property
    def trouble(self) -> bool:
        """True where it found an error or a warning."""
        return any(finding.severity != "info" for finding in self.findings)
