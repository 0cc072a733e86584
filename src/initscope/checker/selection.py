"""Which rules speak and which findings are silenced: select, ignore, path ignores, allowances, the baseline. Pure."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

from initscope.checker.baseline import Baseline, fingerprint
from initscope.checker.rule_names import known_rules, resolve_rules
from initscope.checker.settings import PathIgnore, Settings
from initscope.records.finding import Finding

IN_BASELINE = "in the baseline"
"""The reason why a finding that the baseline knows is silent."""


@dataclass(frozen=True, kw_only=True)
class Allowance:
    """What a user's code allows: that `rule` (name, code, beginning of a code, ALL) speaks of `path` and below.

    `path` is the path of a module or parameter, "" the whole model.
    """

    path: str
    rule: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Unused:
    """A suppression that silenced nothing: how it was made, its place, and the rules it names.

    `kind` is "allow" (`place` the path of the module), "per-path-ignores" (`place` the pattern) or "baseline" (`place`
    the fingerprint). `source` is the file it stands in, where it stands in one. `number` is how many of a baseline's
    entries matched nothing.
    """

    kind: Literal["allow", "per-path-ignores", "baseline"]
    place: str
    rules: tuple[str, ...]
    reason: str = ""
    source: str = ""
    number: int = 1


def chosen(settings: Settings, known: Mapping[str, str]) -> tuple[str, ...]:
    """Returns the names of the rules whose findings are wanted, in the order of `known` ({name: code})."""
    wanted = settings.select or tuple(known)
    return tuple(name for name in known if name in wanted and name not in settings.ignore)


def silence(
    findings: Sequence[Finding],
    *,
    settings: Settings,
    allowances: Sequence[Allowance] = (),
    baseline: Baseline | None = None,
    judged: Collection[str] | None = None,
    known: Mapping[str, str] | None = None,
) -> tuple[tuple[Finding, ...], tuple[tuple[Finding, str], ...], tuple[Unused, ...]]:
    """Returns (kept, silenced with reasons, unused suppressions).

    Findings of rules that are not selected are neither kept nor silenced; those of ignored rules are silenced. The
    first of allowance, path ignore and baseline that matches gives the reason, and all that match are in use. A
    finding stands where its first place is: the others are part of its evidence.

    Arguments: `judged` are the names of the rules that could judge; a suppression of other rules is never called unused
    (None: all rules). `known` is {name: code}, all registered rules unless given.
    """
    rules = known_rules() if known is None else known
    wanted = [one for one in findings if not settings.select or one.name in settings.select]
    makers: list[_Suppression] = [
        *(_Allowed(one, resolve_rules([one.rule], where=_said(one), known=rules)) for one in allowances),
        *(_IgnoredPath(one, settings.source) for one in settings.per_path_ignores),
    ]
    if baseline is not None:
        makers.append(_Known(baseline, rules))
    kept: list[Finding] = []
    silenced: list[tuple[Finding, str]] = []
    for finding in wanted:
        reasons = [reason for one in makers if (reason := one.reason(finding)) is not None]
        if finding.name in settings.ignore:
            silenced.append((finding, "the rule is ignored"))
        elif reasons:
            silenced.append((finding, reasons[0]))
        else:
            kept.append(finding)
    names = set(chosen(settings, rules)) & set(rules if judged is None else judged)
    return tuple(kept), tuple(silenced), tuple(left for one in makers for left in one.unused(names))


def lies_under(path: str, place: str) -> bool:
    """Returns whether `path` is `place` or lies below it; everything lies under "".

    Example:
        >>> lies_under("blocks.1.fc.weight", "blocks.1"), lies_under("blocks.10", "blocks.1")
        (True, False)
    """
    return not place or path == place or path.startswith(f"{place}.")


def matches(path: str, pattern: str) -> bool:
    """Returns whether a glob matches `path` or something it lies below; `*` crosses dots.

    Example:
        >>> matches("blocks.3.gate.weight", "blocks.*.gate"), matches("blocks.3.fc", "blocks.*.gate")
        (True, False)
    """
    return fnmatchcase(path, pattern) or fnmatchcase(path, f"{pattern}.*")


def _first(finding: Finding) -> str:
    return finding.where[0] if finding.where else ""


def _said(allowance: Allowance) -> str:
    return f"initscope.allow({allowance.path or 'the model'!r}, {allowance.rule!r})"


class _Suppression(ABC):
    """One way to silence findings; it remembers whether it did."""

    @abstractmethod
    def reason(self, finding: Finding) -> str | None:
        """The reason why `finding` is silent, None where it is not by this."""

    @abstractmethod
    def unused(self, judged: Collection[str]) -> Iterable[Unused]:
        """What of it matched nothing although all its rules judged."""


class _Allowed(_Suppression):
    def __init__(self, allowance: Allowance, rules: tuple[str, ...]) -> None:
        self._own, self._rules, self._used = allowance, rules, False

    def reason(self, finding: Finding) -> str | None:
        if finding.name not in self._rules or not lies_under(_first(finding), self._own.path):
            return None
        self._used = True
        return f"allowed: {self._own.reason}"

    def unused(self, judged: Collection[str]) -> Iterable[Unused]:
        if not self._used and set(self._rules) <= set(judged):
            yield Unused(kind="allow", place=self._own.path, rules=self._rules, reason=self._own.reason)


class _IgnoredPath(_Suppression):
    def __init__(self, ignore: PathIgnore, source: str) -> None:
        self._own, self._source, self._used = ignore, source, False

    def reason(self, finding: Finding) -> str | None:
        if finding.name not in self._own.rules or not matches(_first(finding), self._own.pattern):
            return None
        self._used = True
        return f"per-path-ignores {self._own.pattern!r}: {self._own.reason}"

    def unused(self, judged: Collection[str]) -> Iterable[Unused]:
        own = self._own
        if not self._used and set(own.rules) <= set(judged):
            yield Unused(
                kind="per-path-ignores", place=own.pattern, rules=own.rules, reason=own.reason, source=self._source
            )


class _Known(_Suppression):
    def __init__(self, baseline: Baseline, known: Mapping[str, str]) -> None:
        self._file, self._left = baseline.file, Counter(baseline.counts)
        self._names = {code: name for name, code in known.items()}

    def reason(self, finding: Finding) -> str | None:
        mark = fingerprint(finding)
        if self._left[mark] < 1:
            return None
        self._left[mark] -= 1
        return IN_BASELINE

    def unused(self, judged: Collection[str]) -> Iterable[Unused]:
        for mark, number in self._left.items():
            name = self._names.get(mark.partition(" ")[0])
            if number > 0 and (name is None or name in judged):
                rules = () if name is None else (name,)
                yield Unused(kind="baseline", place=mark, rules=rules, source=self._file, number=number)
