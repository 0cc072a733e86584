"""INI204: random parameters that are frozen."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from initscope.checker.evidence import Builds, Evidence
from initscope.checker.instruments.graph import descendants
from initscope.checker.instruments.naming import counted
from initscope.checker.instruments.trace import Op, Trace
from initscope.checker.rule import Rule, register
from initscope.records.finding import Finding


@register
class FrozenRandom(Rule):
    """Finds layers that are frozen though their values were drawn at random, not loaded.

    Why it is bad
    A backbone that is frozen for fine-tuning and whose weights were never loaded is a random projection, and the head
    on top can only learn what that lets through.

    Criterion
    Matrices with requires_grad False that differ between two builds under different seeds, so that they are drawn and
    not loaded. A warning where two and more such layers in series, or an embedding of the inputs, come before
    everything that learns (biases, gains and prompts too), and what learns is one layer deep or gets fewer numbers than
    the network does. An information otherwise.

    When it is fine
    Random features (one frozen layer), reservoirs (a frozen recurrent matrix), the base under adapters or LoRA,
    momentum targets, random targets for exploration: what learns is beside or before the frozen layers.

    Example
        backbone.requires_grad_(False)   # and no weights were loaded

    Corrected
        backbone.load_state_dict(torch.load("weights.pt")); backbone.requires_grad_(False)

    Fix
    Load the weights, or unfreeze the layers.

    References
    Catalogue entry; no public report.
    """

    code = "INI204"
    name = "frozen-random"
    gravest = "warn"
    needs = ("builds", "capture")
    basis = "heuristic"

    def judge(self, evidence: Evidence) -> Iterator[Finding]:
        """Yields at most one finding for the model."""
        builds, trace = evidence.builds, evidence.trace
        assert isinstance(builds, Builds) and isinstance(trace, Trace)
        frozen = [
            one.path
            for one in evidence.parameters.values()
            if not (one.trainable or one.buffer or one.constant) and one.used and len(one.shape) > 1
        ]
        drawn = [path for path in frozen if path not in builds.equal_in_seeds] if builds.second_seed else []
        if not drawn:
            return
        grave = _is_backbone(evidence, trace, frozenset(drawn))
        entries = sum(prod(evidence.parameters[path].shape) for path in drawn)
        share = 100 * entries / max(sum(prod(one.shape) for one in evidence.parameters.values() if not one.buffer), 1)
        meaning = (
            "everything that learns comes after them, so it sees the input through a random projection"
            if grave
            else "what learns is beside or before them, or they are random features"
        )
        yield self.finding(
            f"{counted(drawn)} are frozen and drawn at random ({share:.2g} % of all entries): {meaning}",
            where=drawn,
            evidence={"frozen_random": len(drawn), "entries": entries, "share_percent": share},
            fix="# load the trained weights, or train these too:\n"
            + "\n".join(f'model.get_parameter("{path}").requires_grad_(True)' for path in drawn[:16]),
            severity="warn" if grave else "info",
            confidence="two builds differ" if grave else "exact",
            location=evidence.locate(drawn[0]),
        )


def _is_backbone(evidence: Evidence, trace: Trace, drawn: frozenset[str]) -> bool:
    """Whether everything that learns is computed from every random layer, and these are more than random features."""
    layers = [op for op in trace.forward_ops("linear", "lookup") if op.weight]
    random = [op for op in layers if op.weight in drawn]
    learning = [op for op in trace.forward_ops() if any(evidence.parameters[one].trainable for one in _read(trace, op))]
    if not random or not learning:
        return False
    after = [descendants(trace, op.results) for op in random]
    if not all(op.result in reached for op in learning for reached in after):
        return False
    if any(op.kind == "lookup" for op in random):
        return True
    if _is_reservoir(trace, random):
        return False
    in_series = any(_follows(random, reached) for reached in after)
    deep = any(_follows(learning, descendants(trace, op.results)) for op in learning)
    return in_series and not (deep and _keeps_size(trace, learning, after))


def _read(trace: Trace, op: Op) -> frozenset[str]:
    """The parameters that an operator reads directly, or through others that read parameters alone."""
    return frozenset(name for operand in op.operands for name in trace.values[operand].parameters)


def _follows(ops: list[Op], reached: frozenset[int]) -> bool:
    """Whether one of the operators reads something of `reached`."""
    return any(operand in reached for op in ops for operand in op.operands)


def _keeps_size(trace: Trace, learning: list[Op], after: list[frozenset[int]]) -> bool:
    """Whether the first layers that learn get at least as many numbers as the network does."""
    given = sum(prod(value.shape) for value in trace.values if value.origin == "input")
    read = {operand for op in learning for operand in op.operands if all(operand in reached for reached in after)}
    return max((prod(trace.values[one].shape) for one in read), default=0) >= given


def _is_reservoir(trace: Trace, random: list[Op]) -> bool:
    """Whether a random matrix is applied to its own result again."""
    for op in random:
        reached = descendants(trace, op.results)
        if any(other.weight == op.weight and other.result in reached for other in random if other is not op):
            return True
    return False
