"""INI104: modules that start equal and train apart."""

from __future__ import annotations

from collections.abc import Iterator

from initscope.checker.evidence import Escape, Evidence
from initscope.checker.instruments.naming import counted, differing
from initscope.checker.instruments.redraw import redrawn
from initscope.checker.rule import Rule, register
from initscope.checker.rules.parallel_clones import TOLERANCE
from initscope.records.finding import Finding


@register
class ClonesInSeries(Rule):
    """Tells which modules start as copies of each other though each gets gradients of its own.

    Why it is bad
    It is seldom bad: the copies part at the first step. Yet the start is less varied than it was meant to be, and
    seldom wanted.

    Criterion
    Trainable matrices of equal bits at the start that differ, in values or gradients, after the escape probe.

    When it is fine
    Always, so this is an information. nn.TransformerEncoder copies the layer it is given.

    Example
        nn.TransformerEncoder(layer, 6)

    Corrected
        for p in encoder.parameters():
            if p.dim() > 1: nn.init.xavier_uniform_(p)

    Fix
    Draw the copies again, one after the other.

    References
    pytorch issues 72253, 86274 and 120396; torchtune issue 2270; annotated-transformer issue 9.
    """

    code = "INI104"
    name = "clones-in-series"
    gravest = "info"
    needs = ("gradients", "escape")
    basis = "exact"

    def judge(self, evidence: Evidence) -> Iterator[Finding]:
        """Yields one information for all copies of the model."""
        escape = evidence.escape
        assert isinstance(escape, Escape)
        groups: dict[str, list[str]] = {}
        for path, apart in escape.apart.items():
            facts = evidence.parameters[path]
            parted = apart.values >= TOLERANCE or apart.gradients >= TOLERANCE
            if parted and len(facts.shape) > 1 and not facts.constant and facts.grad in ("some", "zero"):
                groups.setdefault(apart.twin, [apart.twin]).append(path)
        if groups:
            modules = dict.fromkeys(name for group in groups.values() for name in differing(group))
            copies = [path for group in groups.values() for path in group[1:]]
            yield self.finding(
                f"{counted(list(modules))} start as copies of each other ({len(copies)} repeated matrices); "
                "their gradients differ, so they train apart",
                where=modules,
                evidence={"repeated_matrices": len(copies), "modules": len(modules)},
                fix=redrawn(evidence.parameters, dict.fromkeys(copies, "xavier_uniform")),
                location=evidence.locate(copies[0]),
            )
