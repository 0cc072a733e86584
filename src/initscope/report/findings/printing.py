"""What every format is given, and the words they share: severities counted, numbers, places, files."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import PurePath

from initscope.base.quantities import counted, significant
from initscope.records.finding import SEVERITIES, CheckReport, Finding, Location, Number
from initscope.report.findings.rule_info import RuleInfo

COUNTED = ("parameters", "modules")
UNSAID = ("seconds", "rules", "rules_run", "loss_function")
"""Facts that are counted things, and those that are told elsewhere."""

PLAIN = {"error": "error", "warn": "warning", "info": "note"}
"""A severity as people read it in a sentence."""


@dataclass(frozen=True, kw_only=True)
class Printing:
    """One report on its way to a reader.

    report      what was found
    rules       every rule there is, in the order of the codes
    fail_on     from which severity on the check fails: "error", "warn" or "never"
    root        the folder that paths of files are shown relative to
    fallback    the file a finding without a place is shown in, relative to `root`
    again       the command that makes this check, to be shown with other options
    width       columns of text;  colour  whether text is coloured
    """

    report: CheckReport
    rules: tuple[RuleInfo, ...] = ()
    fail_on: str = "error"
    root: str = ""
    fallback: str = "pyproject.toml"
    again: str = ""
    width: int = 100
    colour: bool = False

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The findings, gravest first, then by code and place."""
        return tuple(sorted(self.report.findings, key=lambda one: (SEVERITIES.index(one.severity), one.code)))

    @property
    def unjudged(self) -> frozenset[str]:
        """The names of the rules that were skipped or crashed."""
        report = self.report
        return frozenset([*(one.rule for one in report.skipped), *(one.rule for one in report.failed)])

    @property
    def judged(self) -> int | None:
        """How many rules judged; None where that is not known."""
        run = self.report.facts.get("rules_run")
        if isinstance(run, int):
            return run
        return len(self.rules) - len(self.unjudged) if self.rules else None

    def rule(self, name: str) -> RuleInfo | None:
        """Returns the rule called `name` (or with that code), None where it is not known."""
        return next((one for one in self.rules if name in (one.name, one.code)), None)

    def file(self, location: Location) -> str:
        """Returns the file of a place relative to `root` where it lies below, with forward slashes."""
        path = PurePath(location.file)
        if self.root and path.is_absolute() and path.is_relative_to(self.root):
            path = path.relative_to(self.root)
        return path.as_posix()

    def place(self, finding: Finding) -> str:
        """Returns "file:line" of a finding, "" where its place is not known."""
        return "" if finding.location is None else f"{self.file(finding.location)}:{finding.location.line}"


def tally(findings: Iterable[Finding]) -> str:
    """Returns "2 errors, 1 warning", the gravest first, "no findings" where there are none."""
    counts = Counter(finding.severity for finding in findings)
    parts = [counted(counts[severity], PLAIN[severity]) for severity in SEVERITIES if counts[severity]]
    return ", ".join(parts) or "no findings"


def evidence_text(value: Number) -> str:
    """Returns a value of the evidence as people read it: whole numbers with commas, others with three digits."""
    value = plain(value)
    if value is None:
        return "not measured"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return one_line(value)
    if isinstance(value, int):
        return f"{value:,}"
    whole = math.isfinite(value) and abs(value) < 1e6 and value == round(value)
    return f"{value:,.0f}" if whole else significant(float(value))


def plain(value: object) -> Number:
    """Returns a value of the evidence as Python's own type: numbers of numpy as numbers, anything odd as text."""
    if value is None or isinstance(value, bool | str):
        return value
    if type(value).__name__ in ("bool", "bool_"):
        return bool(value)
    if isinstance(value, Integral):
        return int(value)
    return float(value) if isinstance(value, Real) else str(value)


def measured(evidence: Mapping[str, Number]) -> list[str]:
    """Returns "name value" for everything in the evidence, names with blanks for underscores."""
    return [f"{name.replace('_', ' ')} {evidence_text(value)}" for name, value in evidence.items()]


def facts_text(facts: Mapping[str, Number]) -> list[str]:
    """Returns the facts of a check in words: "124 M parameters", "batch 8", "loss 2.41 (cross_entropy)", "chance 2.3".

    Facts that are not known by name here are shown under their own; what was not measured is left out.
    """
    words = []
    for name, value in facts.items():
        number = plain(value)
        if number is None or name in UNSAID or (isinstance(number, float) and math.isnan(number)):
            continue
        if name in COUNTED and isinstance(number, int | float):
            words.append(f"{amount(number)} {name if number != 1 else name[:-1]}")
        elif name == "trainable":
            words += [f"{evidence_text(number)} trainable"] if number != facts.get("parameters") else []
        elif name == "synthetic_input":
            words += ["made-up inputs"] if number else []
        else:
            shown = f"{number:.4g}" if isinstance(number, float) else evidence_text(number)
            function = facts.get("loss_function") if name == "loss" else None
            words.append(f"{name.replace('_', ' ')} {shown}" + (f" ({function})" if function else ""))
    return words


def amount(number: float) -> str:
    """Returns a count as people say it: 812, 12,345, 1.24 M, 7.1 G.

    Example:
        >>> amount(812), amount(124_439_808)
        ('812', '124 M')
    """
    for size, letter in ((1e9, "G"), (1e6, "M")):
        if number >= size:
            return f"{number / size:.3g} {letter}"
    return f"{number:,.0f}"


def sentence(finding: Finding) -> str:
    """Returns the message on one line with a capital at its start, unless it begins with a name of the user's.

    Example:
        >>> sentence(Finding(code="", name="", severity="warn", where=("fc",), message="all of it"))
        'All of it'
    """
    text = one_line(finding.message)
    word = text.partition(" ")[0]
    named = any(word in path.split(".") for path in finding.where)
    return text if named or not word.isalpha() else text[0].upper() + text[1:]


def one_line(text: str) -> str:
    """Returns a text on one line, runs of blanks made one, signs that steer a terminal left out."""
    return " ".join(printable(text).split())


def printable(text: str) -> str:
    """Returns a text without the signs that steer a terminal; blanks and line ends stay."""
    return "".join(sign for sign in text if sign.isprintable() or sign.isspace())
