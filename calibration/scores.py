"""How well the checker's findings fit the labels, and how well they foretell training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from calibration.records import Checked, Observed, Said

LOUD = ("error", "warn")
"""Severities that say that something is wrong; an info line does not."""


@dataclass(frozen=True, kw_only=True)
class RuleScore:
    """One rule on the whole table. Lists hold names of cases.

    hits        broken networks for which it is a right cause, and it spoke
    otherwise   those for which it is the best cause, it was silent, and another right cause was named
    missed      those for which it is the best cause, and no right cause was named
    false_errors, false_warns   sound networks on which it gave an error, a warning
    strays      broken networks with another cause on which it gave an error
    hit_margin  the smallest log10 distance to its threshold on hits; sound_margin the largest on sound networks
    failed      cases on which it crashed
    """

    rule: str
    hits: list[str] = field(default_factory=list)
    otherwise: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)
    false_errors: list[str] = field(default_factory=list)
    false_warns: list[str] = field(default_factory=list)
    strays: list[str] = field(default_factory=list)
    hit_margin: float | None = None
    sound_margin: float | None = None
    failed: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Overall:
    """The table as a whole; lists hold names of cases that were checked.

    named      broken networks of which an error or a warning names a right cause
    informed   those of which only an info line does
    """

    broken: list[str]
    named: list[str]
    informed: list[str]
    sound: list[str]
    false_errors: list[str]
    false_warns: list[str]
    troubled: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Foretold:
    """How a rule's findings (errors and warnings) fit the outcome of training.

    fired     trained networks on which it spoke; bad those of them that trained badly: precision is bad / fired
    relevant  badly trained networks for which it is a right cause; caught those on which it spoke: recall
    """

    rule: str
    fired: int
    bad: int
    relevant: int
    caught: int

    @property
    def precision(self) -> float | None:
        """Share of its findings after which training went badly; None where it never spoke."""
        return self.bad / self.fired if self.fired else None

    @property
    def recall(self) -> float | None:
        """Share of the networks that trained badly for its reason on which it spoke; None where there are none."""
        return self.caught / self.relevant if self.relevant else None


def spoke(checked: Checked, rule: str, gravest: Mapping[str, str]) -> bool:
    """Returns whether a rule said that something is wrong; of a rule that only informs, whether it said anything."""
    return rule in (checked.rules() if gravest.get(rule) == "info" else checked.rules(*LOUD))


def named(one: Observed, gravest: Mapping[str, str]) -> bool:
    """Returns whether a right cause of a broken network was named."""
    return one.checked is not None and any(spoke(one.checked, rule, gravest) for rule in one.rules)


def overall(table: Iterable[Observed]) -> Overall:
    """Returns the counts over all cases that were checked; of those in trouble, broken ones count as not named."""
    checked = [(one, one.checked) for one in table if one.checked is not None]
    sound = [(one.name, said) for one, said in checked if one.kind != "broken" and not said.trouble]
    broken = [(one.name, said.rules(*LOUD) & set(one.rules), said.rules() & set(one.rules)) for one, said in checked]
    return Overall(
        broken=[one.name for one, _ in checked if one.kind == "broken"],
        named=[name for name, loud, _ in broken if loud],
        informed=[name for name, loud, any_ in broken if any_ and not loud],
        sound=[name for name, _ in sound],
        false_errors=[name for name, said in sound if said.rules("error")],
        false_warns=[name for name, said in sound if said.rules("warn")],
        troubled={one.name: said.trouble for one, said in checked if said.trouble},
    )


def rule_scores(table: Sequence[Observed], gravest: Mapping[str, str]) -> list[RuleScore]:
    """Returns one score a rule, in the order of `gravest` (rule -> its highest severity), unknown rules after them."""
    mentioned = {rule for one in table for rule in (*one.rules, *(one.checked.rules() if one.checked else ()))}
    return [_score(rule, table, gravest) for rule in (*gravest, *sorted(mentioned - set(gravest)))]


def _score(rule: str, table: Sequence[Observed], gravest: Mapping[str, str]) -> RuleScore:
    score = RuleScore(rule=rule)
    margins: dict[bool, list[float]] = {True: [], False: []}
    for one in table:
        if one.checked is None:
            continue
        said = [finding for finding in one.checked.said if finding.rule == rule]
        if one.kind == "broken" and rule in one.rules:
            _judge_broken(score, one, gravest)
        elif one.kind == "broken" and "error" in {finding.severity for finding in said}:
            score.strays.append(one.name)
        elif one.kind != "broken":
            _judge_sound(score, one.name, said)
        if rule in one.checked.failed:
            score.failed.append(one.name)
        if one.kind != "broken" or rule in one.rules:
            margins[one.kind == "broken"] += [one.margin_log10 for one in said if one.margin_log10 is not None]
    return RuleScore(
        **{
            **vars(score),
            "hit_margin": min(margins[True], default=None),
            "sound_margin": max(margins[False], default=None),
        }
    )


def _judge_broken(score: RuleScore, one: Observed, gravest: Mapping[str, str]) -> None:
    if one.checked is not None and spoke(one.checked, score.rule, gravest):
        score.hits.append(one.name)
    elif one.rules[0] == score.rule:
        (score.otherwise if named(one, gravest) else score.missed).append(one.name)


def _judge_sound(score: RuleScore, name: str, said: Sequence[Said]) -> None:
    severities = {finding.severity for finding in said}
    if "error" in severities:
        score.false_errors.append(name)
    elif "warn" in severities:
        score.false_warns.append(name)


def foretold(table: Sequence[Observed], rules: Iterable[str]) -> list[Foretold]:
    """Returns, for each rule and first for "any error" and "any error or warning", how its findings fit training.

    A network trained badly where it got clearly less far than its twin, or, without a twin, where it did not learn.
    """
    trained = [
        (one, one.checked, _bad(one))
        for one in table
        if one.checked is not None and one.proof is not None and one.proof.learns is not None
    ]
    lines = [
        _foretold("any error", [(True, bool(said.rules("error")), bad) for _, said, bad in trained]),
        _foretold("any error or warning", [(True, bool(said.rules(*LOUD)), bad) for _, said, bad in trained]),
    ]
    lines += [
        _foretold(rule, [(rule in one.rules, rule in said.rules(*LOUD), bad) for one, said, bad in trained])
        for rule in rules
    ]
    return lines


def _bad(one: Observed) -> bool:
    assert one.proof is not None
    return bool(one.proof.proven) if one.kind == "broken" else not one.proof.learns


def _foretold(rule: str, rows: Sequence[tuple[bool, bool, bool]]) -> Foretold:
    """Counts rows of (is a right cause, spoke, trained badly)."""
    return Foretold(
        rule=rule,
        fired=sum(spoke for _, spoke, _ in rows),
        bad=sum(spoke and bad for _, spoke, bad in rows),
        relevant=sum(right and bad for right, _, bad in rows),
        caught=sum(right and bad and spoke for right, spoke, bad in rows),
    )
