"""INI205: zeros that leave zero."""

from __future__ import annotations

from collections.abc import Iterator

from initscope.checker.evidence import Escape, Evidence
from initscope.checker.instruments.naming import counted
from initscope.checker.rule import Rule, register
from initscope.records.finding import Finding


@register
class HealthyZero(Rule):
    """Tells which gradients are exactly zero at the start and why that is fine: they leave zero within a few steps.

    Why it is bad
    It is not. A head, a gate or the last layer of a branch that starts at zero keeps everything behind it still for one
    step; it moves first, and the rest follows.

    Criterion
    Parameters whose whole gradient is exactly zero at the start and not after the last step of the escape probe.

    When it is fine
    Always, so this is an information: zero heads, zero gains, ReZero, Fixup, LayerScale, LoRA, adaLN-zero, zero
    convolutions, zero queries, couplings that start as the identity.

    Example
        nn.init.zeros_(model.head.weight)

    Corrected
        nn.init.zeros_(model.head.weight)

    Fix
    Nothing is to be done.

    References
    speaker perturbation issue 4: a zero last layer does not stop training, it moves first.
    """

    code = "INI205"
    name = "healthy-zero"
    gravest = "info"
    needs = ("gradients", "escape")
    basis = "exact"

    def judge(self, evidence: Evidence) -> Iterator[Finding]:
        """Yields one information for the model."""
        escape = evidence.escape
        assert isinstance(escape, Escape)
        waiting = {
            path: states.index(False)
            for path, states in escape.zero_at.items()
            if states[0] and not states[-1] and False in states
        }
        if not waiting:
            return
        first = [
            path
            for path, states in escape.zero_at.items()
            if not states[0] and evidence.parameters[path].zero and len(evidence.parameters[path].shape) != 1
        ] or [path for path, states in escape.zero_at.items() if not states[0] and evidence.parameters[path].zero]
        behind = f" behind zeros that move first ({counted(first)})" if first else ""
        last = max(waiting.values())
        yield self.finding(
            f"{len(waiting)} parameters have an exactly zero gradient at the start{behind}; all leave zero by "
            f"probe step {last}, "
            "so these zeros are sound",
            where=first or list(waiting),
            evidence={"waiting_parameters": len(waiting), "zero_parameters": len(first), "last_step": last},
            fix="# nothing to do",
        )
