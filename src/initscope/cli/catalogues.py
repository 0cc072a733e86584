"""What can be listed and explained: names with one line each."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

from initscope.base.errors import UsageError

if TYPE_CHECKING:
    from initscope.report.findings.rule_info import RuleInfo

Rows = list[tuple[str, str]]


def studies() -> Rows:
    """Returns the built-in studies with their titles."""
    from initscope.study.builtin_studies import builtin_names
    from initscope.study.file import load_study

    return [(name, load_study(name).title) for name in builtin_names()]


def datasets() -> Rows:
    """Returns the named datasets with what they hold."""
    from initscope.datasets import catalogue

    rows = []
    for name in catalogue.names():
        entry = catalogue.find(name)
        where = "downloaded at first use" if entry.needs_download else "embedded"
        rows.append((name, f"{entry.about}; {entry.n_samples:,} samples, {entry.n_classes} classes; {where}"))
    return rows


def initializers() -> Rows:
    """Returns every initializer with its first sentence, its source, its kind and its status."""
    from initscope.initializers.method import METHODS

    return [
        (name, f"{first_line(kind)} [{kind.paper}; {kind.kind}, {kind.status()}]") for name, kind in METHODS.items()
    ]


def models() -> Rows:
    """Returns every registered model with its first sentence."""
    from initscope.models.registry import MODELS

    return [(name, first_line(builder)) for name, builder in MODELS.items()]


def rules() -> Rows:
    """Returns every rule of `check` in the order of the codes, with its gravest severity and its first sentence."""
    infos = rule_infos()
    width = max((len(one.name) for one in infos), default=0)
    return [(f"{one.code}  {one.name:<{width}}  {one.gravest:<5}", one.summary) for one in infos]


def rule_infos() -> tuple[RuleInfo, ...]:
    """Returns what there is to know of every rule, in the order of the codes."""
    from initscope.checker.rule import RULES
    from initscope.report.findings.rule_info import info_of

    return tuple(sorted((info_of(rule) for _, rule in RULES.items()), key=lambda one: one.code))


def find_rule(name: str) -> RuleInfo | None:
    """Returns the rule with this name, this code in any case, or this former name; None where there is none."""
    from initscope.checker.rule_names import resolve_rules

    infos = rule_infos()
    try:
        (found,) = resolve_rules([name], where="NAME", known={one.name: one.code for one in infos})
    except (UsageError, ValueError):  # ValueError: the beginning of several codes
        return None
    return next(one for one in infos if one.name == found)


def first_line(thing: object) -> str:
    """Returns the first line of a docstring."""
    return (inspect.getdoc(thing) or "").partition("\n")[0]
