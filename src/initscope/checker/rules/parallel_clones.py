"""INI102: modules in parallel that start as copies and stay so."""

from __future__ import annotations

from collections.abc import Iterator
from math import log10

from initscope.checker.evidence import Builds, Escape, Evidence, ParameterFacts
from initscope.checker.instruments.naming import counted, differing
from initscope.checker.instruments.redraw import of_matrices, redrawn
from initscope.checker.rule import Rule, register
from initscope.records.finding import Finding, Number

TOLERANCE = 1e-5
"""Relative difference after the probe below which two copies still agree; rounding alone gives about 1e-7."""


@register
class ParallelClones(Rule):
    """Finds modules that start bit for bit equal and get equal gradients, so that they stay one module many times over.

    Why it is bad
    Heads, experts, branches or ensemble members that are copies of each other and get the same gradient never part:
    several of them do what one would, and what chooses between them has nothing to choose.

    Criterion
    Trainable parameters of equal shape and equal bits at the start (all zeros, and vectors of one constant, are no
    copies) whose values and gradients still agree to 1e-5 of the largest entry after the escape probe, with a gradient
    that is not zero. Measured: copies in parallel differ by at most 1e-6 after the probe (rounding), copies in series,
    and heads with targets of their own, by more than 1e-3.

    When it is fine
    Copies in series (nn.TransformerEncoder copies its layer) part at the first step: see clones-in-series. Momentum and
    target copies have no gradient. One module used twice is one module, no copy.

    Example
        self.experts = nn.ModuleList(copy.deepcopy(expert) for _ in range(8))

    Corrected
        self.experts = nn.ModuleList(Expert(width) for _ in range(8))

    Fix
    Construct each copy anew, without a seed in its constructor, or draw its weights again.

    References
    deepregression pull request 15; torchtune issue 2270.
    """

    code = "INI102"
    name = "parallel-clones"
    gravest = "error"
    needs = ("capture", "gradients", "escape")
    basis = "exact"
    requires = ("non-finite", "uninitialised")
    data_dependent = True

    def judge(self, evidence: Evidence) -> Iterator[Finding]:
        """Yields one finding for each set of modules that correspond."""
        found: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
        for group in still_equal(evidence):
            found.setdefault(differing(group), []).append(group)
        for modules, groups in found.items():
            if all(len(evidence.parameters[group[0]].shape) < 2 for group in groups):
                continue  # copied biases under weights of their own: equal gradients do no harm
            yield self._finding(evidence, modules, groups)

    def _finding(self, evidence: Evidence, modules: tuple[str, ...], groups: list[tuple[str, ...]]) -> Finding:
        escape = evidence.escape
        assert isinstance(escape, Escape)
        apart = max(escape.apart[path].values for group in groups for path in group[1:])
        numbers: dict[str, Number] = {
            "copies": len(modules), "parameters_each": len(groups), "values_apart": apart,
            "margin_log10": log10(TOLERANCE / max(apart, 1e-12)),
        }  # fmt: skip
        return self.finding(
            f"{counted(modules)} start bit for bit equal and after {escape.steps} probe steps still agree to "
            f"{max(apart, 1e-12):.0e}, "
            f"gradients too: {len(modules)} copies in parallel act as one",
            where=modules,
            evidence=numbers,
            fix=_fix(evidence, groups),
            location=evidence.locate(groups[0][1]) or evidence.locate(groups[0][0]),
            notes=_seeded(evidence),
        )


def still_equal(evidence: Evidence) -> list[tuple[str, ...]]:
    """Returns groups of parameters that are copies at the start and after the probe, their gradients not zero."""
    escape = evidence.escape
    assert isinstance(escape, Escape)
    groups: dict[str, list[str]] = {}
    for path, apart in escape.apart.items():
        moving = not escape.zero_at.get(path, (True,))[-1]
        if moving and apart.values < TOLERANCE and apart.gradients < TOLERANCE and _distinct(evidence.parameters[path]):
            groups.setdefault(apart.twin, [apart.twin]).append(path)
    return [tuple(group) for group in groups.values()]


def _distinct(facts: ParameterFacts) -> bool:
    """Whether equal values say something: norm gains of one are equal everywhere."""
    return not (facts.zero or (facts.constant and len(facts.shape) < 2))


def _fix(evidence: Evidence, groups: list[tuple[str, ...]]) -> str:
    copies = [path for group in groups for path in group[1:]]
    return redrawn(evidence.parameters, of_matrices(evidence.parameters, copies, "xavier_normal"))


def _seeded(evidence: Evidence) -> tuple[str, ...]:
    if isinstance(evidence.builds, Builds) and evidence.builds.seed_calls:
        place = evidence.builds.seed_calls[0]
        return (f"a global generator is seeded at line {place.line} while the model is built",)
    return ()
