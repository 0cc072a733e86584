"""INI702 init-skipped."""

from __future__ import annotations

import math
from collections.abc import Iterable

from initscope.checker.evidence import Builds, Evidence
from initscope.checker.instruments.missed_layers import Missed, missed_layers
from initscope.checker.instruments.naming import counted
from initscope.checker.instruments.write_passes import Passes
from initscope.checker.rule import Rule, register
from initscope.records.finding import Finding

MATERIAL = 1.3
"""Factor between the deviation a missed weight has and the one the pass would have given it."""


@register
class InitSkipped(Rule):
    """Finds layers that an init function left at torch's default while it drew others of their class.

    Why it is bad

    A loop over `children()` stops at the first level, `type(m) == nn.Linear` misses subclasses, a condition on names
    misses what was renamed, `encoder.apply` leaves the decoder out. Half of the network then has another law than the
    rest: torch's default, a third of what rectifiers need, fades with depth.

    Criterion

    From the log of all writes while the factory ran. One line of the user's code drew the weights of several linear
    or convolution layers in one go, of more than one shape or place. Layers of the same class, made between the first
    that it reached and its beginning, still hold what torch's constructor drew; one of them has the shape of a weight
    that was reached, or they are at least as many as those reached; and their standard deviation differs by a factor
    of 1.3 and more from what the law of the pass gives for their size.

    When it is fine

    Heads and embeddings at the default; layers of another class (convolutions drawn, the linear head not); layers
    made after the pass, or in another component; a line that starts one place of every block (the last layer of a
    branch); frozen layers.

    Example

        self.encoder.apply(init)

    Corrected

        self.apply(init)

    Fix

    Let the pass run over `self.modules()` and ask with `isinstance`.

    References

    transformers pull request 44575 and issue 43717, llm-foundry pull request 1745, bionemo-recipes pull request 1368.
    """

    code = "INI702"
    name = "init-skipped"
    gravest = "warn"
    needs = ("builds",)
    basis = "heuristic"
    requires = ("uninitialised",)

    def judge(self, evidence: Evidence) -> Iterable[Finding]:
        """Yields one finding for each line that passed layers by."""
        assert isinstance(evidence.builds, Builds)
        passes = Passes(builds=evidence.builds, model=evidence.model, facts=evidence.parameters)
        for one in missed_layers(passes):
            if one.ratio >= MATERIAL:
                yield self._told(evidence, one)

    def _told(self, evidence: Evidence, one: Missed) -> Finding:
        paths = [facts.path for facts in one.missed]
        worst = max(one.missed, key=lambda facts: abs(math.log(facts.std / one.expected[facts.path])))
        place = one.write.location
        line = "" if place is None else f" at {place.file.rpartition('/')[2]}:{place.line}"
        entries = ", ".join(f'"{facts.path}": "normal(std={one.expected[facts.path]:.3g})"' for facts in one.missed[:8])
        return self.finding(
            f"the init line{line} drew {len(one.done)} {one.layer} weights and passed {len(paths)} by: "
            f"{counted(paths)} still "
            f"hold torch's default, {worst.path} with std {worst.std:.3g} where that line gives "
            f"{one.expected[worst.path]:.3g}",
            where=paths,
            evidence={
                "missed": len(paths),
                "reached": len(one.done),
                "ratio": one.ratio,
                "std": worst.std,
                "expected_std": one.expected[worst.path],
                "margin_log10": round(math.log10(one.ratio / MATERIAL), 3),
            },
            fix=f"run the same init over them (self.modules(), isinstance): initscope.initialize(model, {{{entries}}})",
            confidence=f"{len(one.done)} of {len(one.done) + len(paths)} layers of one class were drawn",
            location=place,
        )
