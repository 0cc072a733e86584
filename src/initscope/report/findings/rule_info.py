"""What the formats and the pages need to know of a rule: its facts and its page, taken from the class's docstring."""

from __future__ import annotations

import inspect
import re
import textwrap
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from initscope.records.finding import Severity

HEADINGS = (
    "Why it is bad", "Criterion", "When it is fine", "Example", "Corrected", "Fix", "References",
)  # fmt: skip
"""The sections of a rule's docstring, each headed by a line of its own, in the order of the page."""

CODE = ("Example", "Corrected")
FAMILIES = {
    "INI1": "Symmetry", "INI2": "Reachability", "INI3": "Signal and gradient scale", "INI4": "Units and inputs",
    "INI5": "Outputs and loss", "INI6": "Numbers", "INI7": "How the start was written", "INI8": "Conditioning",
    "INI9": "Suppressions",
}  # fmt: skip
"""The beginning of a code -> what such rules are about."""

NEEDS = {
    "builds": "a factory that can be called again",
    "capture": "one forward pass",
    "loss": "a loss of yours",
    "gradients": "one backward pass",
    "escape": "a few tiny steps on the batch",
    "chance": "the loss of the best constant output",
    "batch": "inputs of yours",
}
BASES = {
    "exact": "a fact: it holds or it does not",
    "statistical": "a test with a null hypothesis",
    "ratio": "a measured ratio against a calibrated range",
    "heuristic": "a rule of thumb with a calibrated threshold",
}


@dataclass(frozen=True, kw_only=True)
class RuleInfo:
    """A rule without its code: the attributes of `initscope.checker.rule.Rule` and its docstring, dedented."""

    code: str
    name: str
    gravest: Severity
    basis: str = "exact"
    needs: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    data_dependent: bool = False
    doc: str = ""

    @property
    def family(self) -> str:
        """What rules whose code begins like this one's are about."""
        return FAMILIES.get(self.code[:4], "Further rules")

    @cached_property
    def summary(self) -> str:
        """The first sentence of the docstring, on one line."""
        first = re.split(r"(?<=[.:])\s", " ".join(self.parts[""].partition("\n\n")[0].split()), maxsplit=1)
        return f"{first[0][:-1]}." if first[0].endswith(":") else first[0]

    @cached_property
    def parts(self) -> dict[str, str]:
        """{heading: text} of the docstring, in its own order; what stands before the first heading is under ""."""
        found: dict[str, list[str]] = {"": []}
        here = ""
        for line in self.doc.splitlines():
            title = line.strip().rstrip(":")
            if title in HEADINGS and not line.startswith(" "):
                here = title
                found[here] = []
            elif not (re.fullmatch(r"[-=~]{3,}", line.strip()) and not found[here] and here):
                found[here].append(line)
        return {title: textwrap.dedent("\n".join(lines).strip("\n")).rstrip() for title, lines in found.items()}


def info_of(rule: Any) -> RuleInfo:
    """Returns what there is to know of a rule's class; it is read by its attributes, so that torch stays out."""
    return RuleInfo(
        code=rule.code, name=rule.name, gravest=rule.gravest, basis=rule.basis, needs=tuple(rule.needs),
        requires=tuple(rule.requires), data_dependent=rule.data_dependent, doc=inspect.getdoc(rule) or "",
    )  # fmt: skip
