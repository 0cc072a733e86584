"""The parameters nearest to an output: the layer that makes it, and the bias it adds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from initscope.checker.evidence import Evidence
from initscope.checker.instruments.graph import main_outputs
from initscope.checker.instruments.logits import loss_logits
from initscope.checker.instruments.trace import Op, Trace


@dataclass(frozen=True, kw_only=True, eq=False)
class Head:
    """The last layer of a network. `weight` is "" where none was found, `bias` where it adds none.

    linear   whether nothing but shapes, biases and factors lie between it and the output
    """

    weight: str
    bias: str
    linear: bool

    def places(self, evidence: Evidence) -> tuple[str, ...]:
        """What to call it, most telling first; the class of the model where nothing was found."""
        return tuple(one for one in (self.weight, self.bias) if one) or (f"({type(evidence.model).__name__})",)


def head_of(evidence: Evidence) -> Head:
    """Returns the last layer in front of what the loss reads."""
    trace = evidence.trace
    if not isinstance(trace, Trace):
        return Head(weight="", bias="", linear=False)
    logits = loss_logits(trace)
    outputs = (logits[0].value,) if logits else main_outputs(trace)
    if not outputs:
        return Head(weight="", bias="", linear=False)
    found = _walk(evidence, trace, outputs[0])
    maker = logits[0].maker if logits else None
    if found.weight or maker is None:
        return found
    return _walk(evidence, trace, maker.result)


def _walk(evidence: Evidence, trace: Trace, value: int) -> Head:
    bias, linear = "", True
    while (op := trace.producer(value)) is not None and trace.data_operands(op):
        if op.kind in ("linear", "bias") and not bias:
            bias = _bias_of(evidence, trace, op)
        if op.kind in ("linear", "matmul") or (op.kind == "gain" and _is_matrix(evidence, op.weight)):
            return Head(weight=op.weight, bias=bias, linear=linear)
        linear = linear and op.kind in ("view", "copy", "scale", "gain", "bias")
        value = trace.data_operands(op)[0]
    return Head(weight="", bias=bias, linear=linear)


def _is_matrix(evidence: Evidence, path: str) -> bool:
    facts = evidence.parameters.get(path)
    return facts is not None and sum(size > 1 for size in facts.shape) > 1


def _bias_of(evidence: Evidence, trace: Trace, op: Op) -> str:
    """The parameter of one axis (or one entry a unit) that an operator adds."""
    paths = {path for index in op.operands for path in trace.values[index].parameters} - {
        op.weight if op.kind == "linear" else ""
    }
    facts = [evidence.parameters[path] for path in sorted(paths) if path in evidence.parameters]
    vectors = [one.path for one in facts if sum(size > 1 for size in one.shape) <= 1 and prod(one.shape) > 0]
    return vectors[0] if vectors else ""


def numbers_text(values: Sequence[float] | np.ndarray[tuple[int, ...], np.dtype[np.float64]], *, most: int = 16) -> str:
    """Returns numbers as a Python list of three digits each; "" where there are more than `most`.

    Example:
        >>> numbers_text([0.5, -3.25159])
        '[0.5, -3.25]'
    """
    if len(values) > most:
        return ""
    return "[" + ", ".join(f"{float(value):.3g}" for value in values) + "]"
