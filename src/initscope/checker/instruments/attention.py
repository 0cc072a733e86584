"""Softmaxes inside a network: which choose between keys or experts, and the scores they choose by."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

from initscope.checker.instruments.graph import readers
from initscope.checker.instruments.pre_activations import measured
from initscope.checker.instruments.trace import Op, Trace


@dataclass(frozen=True, kw_only=True, eq=False)
class Choice:
    """A softmax whose shares weight something else.

    op      the softmax;  scores  the value in front of masks, biases and noise: products of queries and keys, scaled
    std     standard deviation of the scores;  product  the operator that made them
    learned whether a learnable factor scales the scores
    """

    op: Op
    scores: int
    std: float
    product: Op
    learned: bool


def choices(trace: Trace) -> Iterator[Choice]:
    """Yields the softmaxes over at least four keys that are not what the model returns, and whose scores are known."""
    for op in trace.forward_ops("softmax"):
        if op.activity is None or op.activity.keys < 4 or _returned(trace, op.result):
            continue
        found = _scores(trace, trace.data_operands(op)[0])
        moments = measured(trace, found[0]) if found is not None else None
        if found is not None and moments is not None and moments.finite:
            yield Choice(op=op, scores=found[0], std=moments.std, product=found[1], learned=found[2])


def _returned(trace: Trace, value: int) -> bool:
    """Whether the shares go out of the model, or into the loss, as they are."""
    if trace.values[value].output:
        return True
    return any(op.in_loss for op in readers(trace, value)) or not any(True for _ in readers(trace, value))


def _scores(trace: Trace, value: int) -> tuple[int, Op, bool] | None:
    """The value nearest to the softmax behind which nothing but scales, and the product, stand; the way is unmasked."""
    first, learned = value, False
    while (op := trace.producer(value)) is not None:
        data = trace.data_operands(op)
        if op.kind in ("matmul", "linear"):
            return first, op, learned
        if not data or op.kind not in ("view", "copy", "scale", "bias", "gain", "join", "sum", "norm"):
            return None
        learned = learned or op.kind == "gain"
        if op.kind not in ("view", "gain", "norm") and not (op.kind == "scale" and _is_number(trace, op)):
            first = data[0]  # a mask, noise or a bias: the scores are what was there before
        value = data[0]
    return None


def _is_number(trace: Trace, op: Op) -> bool:
    """Whether a scale multiplies by one number: every other operand has a single entry, or there is none."""
    if op.name not in ("mul", "div", "multiply", "divide", "true_divide"):
        return False
    return all(trace.values[index].from_data or prod(trace.values[index].shape) == 1 for index in op.operands)
