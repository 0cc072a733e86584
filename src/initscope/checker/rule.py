"""What a rule is: a class with a name, a page as its docstring, and one pure function from evidence to findings."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import ClassVar, Literal

from initscope.base.registry import Registry
from initscope.checker.evidence import Evidence
from initscope.records.finding import Finding, Location, Number, Severity

Need = Literal["builds", "seeds", "capture", "loss", "gradients", "escape", "chance", "batch"]
"""What a rule reads, beside the model itself:
builds     a factory: two seeds, the poisoned build, the write log;  seeds  it can be called again
capture    one forward pass that ran
loss       a scalar loss the user gave, or one that was recognised (not the stand-in)
gradients  one backward pass that ran, from the user's loss or from the stand-in
escape     the escape probe
chance     the loss of the best constant output
batch      inputs from the user: the rule makes no sense on synthetic ones
"""

Basis = Literal["exact", "statistical", "ratio", "heuristic"]


class Rule(ABC):
    """One way in which a start can be unsound.

    The class docstring is the rule's page, in sections headed by a line of their own: the first sentence says what the
    rule finds; then `Why it is bad`, `Criterion`, `When it is fine`, `Example`, `Corrected`, `Fix`, `References`.

    Attributes:
        code: stable, never used again ("INI301").
        name: stable, kebab case ("signal-fades").
        gravest: the highest severity it may give.
        needs: what must have been measured; a rule whose needs are absent is listed as skipped, with the reason.
        basis: what kind of evidence it has.
        requires: names of rules; where one of them found something (error or warn) whose places cause this rule's
            finding, this rule's finding is left out: one cause, one finding. See `silenced_by`.
        data_dependent: True where synthetic inputs lower the severity by one.
    """

    code: ClassVar[str]
    name: ClassVar[str]
    gravest: ClassVar[Severity]
    needs: ClassVar[tuple[Need, ...]] = ()
    basis: ClassVar[Basis]
    requires: ClassVar[tuple[str, ...]] = ()
    data_dependent: ClassVar[bool] = False

    @abstractmethod
    def judge(self, evidence: Evidence) -> Iterable[Finding]:
        """Yields findings; pure: it reads `evidence` and changes nothing. NaN is "not measured": never judge by it."""

    def silenced_by(self, finding: Finding, cause: Finding) -> bool:
        """Whether `cause`, a finding of a required rule, explains `finding`. By default it always does."""
        return True

    def finding(
        self,
        message: str,
        *,
        where: Iterable[str],
        evidence: dict[str, Number],
        fix: str,
        severity: Severity | None = None,
        confidence: str = "exact",
        location: Location | None = None,
        notes: tuple[str, ...] = (),
    ) -> Finding:
        """Returns a finding of this rule; `severity` is `gravest` unless given."""
        return Finding(
            code=self.code,
            name=self.name,
            severity=severity or self.gravest,
            where=tuple(where),
            message=message,
            evidence=evidence,
            fix=fix,
            confidence=confidence,
            location=location,
            notes=notes,
        )


RULES: Registry[type[Rule]] = Registry("rule", "initscope.checker.rules")
"""Every rule by name; its code is an alias. From outside: the entry-point group `initscope.rules`."""


def register(rule: type[Rule]) -> type[Rule]:
    """Enters a rule under its name, its code as an alias."""
    return RULES.register(rule.name, aliases=(rule.code,))(rule)
