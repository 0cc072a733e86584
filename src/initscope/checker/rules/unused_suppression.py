"""INI901 unused-suppression."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from initscope.checker.evidence import Evidence
from initscope.checker.rule import Rule, register
from initscope.checker.selection import Unused
from initscope.records.finding import Finding

WORDS = {
    "allow": "initscope.allow",
    "per-path-ignores": "per-path-ignores",
    "baseline": "the baseline",
}
FIXES = {
    "allow": "remove the call of initscope.allow",
    "per-path-ignores": "remove the entry from [tool.initscope] in pyproject.toml",
    "baseline": "write it again: initscope check TARGET --write-baseline FILE",
}


@register
class UnusedSuppression(Rule):
    """Finds an allowance, a path ignore or a baseline entry that silenced nothing.

    Why it is bad

    A suppression that matches nothing is a leftover: the fault it stood for is mended, or its pattern misses. It will
    hide the next fault at that place without anybody having decided so.

    Criterion

    Of every `initscope.allow`, entry of `per-path-ignores` and entry of the baseline: no finding matched it, although
    every rule it names could judge the network. Those of rules that could not run are never called unused.

    When it is fine

    A setting shared by several models, of which only some have the module. It is a warning, and never fails a check
    unless `--fail-on warn` is given.

    Example

        initscope.allow(model.gate, "dead-units", reason="starts shut")    # the gate was rewritten since

    Corrected

        # the call is gone

    Fix

    Remove the suppression; write the baseline again.

    References

    ruff's rule for unused `noqa` comments (RUF100) is the model of this one.
    """

    code = "INI901"
    name = "unused-suppression"
    gravest = "warn"
    basis = "exact"

    def judge(self, evidence: Evidence) -> Iterable[Finding]:
        """Finds nothing in evidence: what is unused is known once all findings are; see `unused_findings`."""
        return ()


def unused_findings(unused: Iterable[Unused]) -> Iterator[Finding]:
    """Yields a finding for each suppression that silenced nothing."""
    for one in unused:
        rules = ", ".join(one.rules) or "no known rule"
        yield UnusedSuppression().finding(
            f"{WORDS[one.kind]} of {rules} for {one.place or 'the whole model'} silenced nothing",
            where=[one.place or "(the model)"],
            evidence={"kind": one.kind, "rules": rules, "reason": one.reason, "entries": one.number},
            fix=FIXES[one.kind],
        )
