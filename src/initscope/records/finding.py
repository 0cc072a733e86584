"""What `check` says of a network: findings, and what could not be judged."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Severity = Literal["error", "warn", "info"]
SEVERITIES: tuple[Severity, ...] = ("error", "warn", "info")
"""The gravest first."""

Number = float | int | str | bool | None
"""A value of a finding's evidence."""


@dataclass(frozen=True, kw_only=True)
class Location:
    """A place in a user's file; `line` counts from 1."""

    file: str
    line: int


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One broken rule at one place.

    `code` is the stable code ("INI301"), `name` the stable name ("signal-fades"). `where` are paths of modules or
    parameters, the most guilty first. `message` is one sentence: what was measured, then what it means. `evidence` are
    the numbers behind it. `fix` is the cure, as code for these very parameters. `confidence` is "exact" for a fact,
    else the p-value or the distance to the sound range, as text. `location` is where the user's code made or last wrote
    the guilty parameter. `notes` are short remarks ("synthetic input: lowered from error").
    """

    code: str
    name: str
    severity: Severity
    where: tuple[str, ...]
    message: str
    evidence: dict[str, Number] = field(default_factory=dict)
    fix: str = ""
    confidence: str = "exact"
    location: Location | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Skipped:
    """A rule that could not judge this network, and why."""

    rule: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Failed:
    """A rule that crashed: an error of ours, never a pass. `trace` is its traceback."""

    rule: str
    error: str
    trace: str = ""


@dataclass(frozen=True, kw_only=True)
class CheckReport:
    """The outcome of one check, free of torch.

    `target` names what was checked. `facts` are a few numbers about it (parameters, batch, loss, chance, seconds).
    `silenced` are findings that an allowance, an ignore or the baseline took out, each with the reason.
    """

    target: str
    findings: tuple[Finding, ...]
    skipped: tuple[Skipped, ...] = ()
    failed: tuple[Failed, ...] = ()
    silenced: tuple[tuple[Finding, str], ...] = ()
    facts: dict[str, Number] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """True where nothing is an error and no rule crashed."""
        return not self.failed and not any(finding.severity == "error" for finding in self.findings)
