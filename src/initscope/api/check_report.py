"""What `initscope.check` returns: a report with its findings, made to be read, asserted on and shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from initscope.base.errors import UnsoundStartError
from initscope.records.finding import CheckReport, Failed, Finding, Number, Skipped

if TYPE_CHECKING:
    from initscope.report.findings.printing import Printing


@dataclass(frozen=True, kw_only=True, eq=False)
class Report:
    """The outcome of one check. Printed, it is the text of the command line; in a notebook, a page."""

    record: CheckReport

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What is wrong, the gravest first."""
        return self.record.findings

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """Rules that could not judge, each with the reason."""
        return self.record.skipped

    @property
    def failed(self) -> tuple[Failed, ...]:
        """Rules that crashed: never a pass."""
        return self.record.failed

    @property
    def silenced(self) -> tuple[tuple[Finding, str], ...]:
        """Findings taken out by an allowance, a setting, the baseline or their own cause, each with the reason."""
        return self.record.silenced

    @property
    def facts(self) -> Mapping[str, Number]:
        """A few numbers about what was checked."""
        return self.record.facts

    @property
    def ok(self) -> bool:
        """True where nothing is an error and no rule crashed."""
        return self.record.ok

    def raise_on_error(self) -> None:
        """Raises UnsoundStartError with every error and every crashed rule, where there is one."""
        if self.ok:
            return
        errors = [one for one in self.findings if one.severity == "error"]
        lines = [f"{one.name} at {', '.join(one.where[:3])}: {one.message}" for one in errors]
        lines += [f"rule {one.rule} crashed: {one.error}" for one in self.failed]
        raise UnsoundStartError(
            f"the start of {self.record.target} is not sound", value="\n         ".join(lines),
            do=next((one.fix for one in errors if one.fix), None),
        )  # fmt: skip

    def to_json(self) -> str:
        """Returns the versioned JSON of the command line."""
        from initscope.report.findings.json_format import report_json

        return report_json(self.record)

    def __str__(self) -> str:
        from initscope.report.findings.text import text

        return text(self._printing())

    def _repr_html_(self) -> str:
        from initscope.report.findings.html import html

        page = escape(html(self._printing()), quote=True)
        return (
            f'<iframe srcdoc="{page}" title="check of {escape(self.record.target, quote=True)}" sandbox '
            'style="width: 100%; height: 32rem; border: 0"></iframe>'
        )

    def _printing(self) -> Printing:
        from initscope.checker.rule import RULES
        from initscope.report.findings.printing import Printing
        from initscope.report.findings.rule_info import info_of

        rules = sorted((info_of(rule) for _, rule in RULES.items()), key=lambda one: one.code)
        return Printing(report=self.record, rules=tuple(rules), root=str(Path.cwd()))
