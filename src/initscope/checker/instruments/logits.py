"""What a classification loss is given: the logits in front of it, how they were made, and how far they can reach."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Literal

from initscope.checker.instruments.pre_activations import measured
from initscope.checker.instruments.trace import Op, Trace

Form = Literal["softmax", "log_softmax", "sigmoid", "tanh", "cosine", "distance", "linear", "other"]
"""How logits were made: by an operator with a bounded range, from vectors of length one, as distances, by a layer."""

LOG_SOFTMAX = frozenset({"_log_softmax", "log_softmax"})
_BINARY = frozenset({"binary_cross_entropy_with_logits"})
_SHAPING = frozenset({"view", "copy"})
_ON_THE_WAY = frozenset({"view", "copy", "scale", "reduce", "gain", "join", "loss"})
_MARGINS = frozenset(
    {"neg", "where", "write", "add", "sub", "mul", "acos", "arccos", "cos", "sqrt", "scatter", "clamp", "pow", "square"}
)
"""What angular margins are written with, beside scales."""

_TIMES = frozenset({"mul", "multiply", "div", "true_divide"})
_ELEMENTWISE = frozenset({"view", "copy", "scale", "bias", "gain", "sum", "product", "join"})
_DISTANCES = frozenset({"_euclidean_dist", "cdist", "_cdist_forward", "linalg_vector_norm", "_pdist_forward", "norm"})


@dataclass(frozen=True, kw_only=True, eq=False)
class Logits:
    """The values that a classification loss takes as logits.

    op       the log-softmax, or the binary cross-entropy with logits, that reads them
    value    the value it reads;  classes  their number along its axis, 2 for a binary loss;  rows  how many are judged
    form     how they were made;  maker  the operator that did (None for "other" and inputs)
    scale    largest logit over the largest number that `maker` gave, or over the cosine where its factors were scaled
    learned  whether something learnable lies between the maker and the loss: a temperature
    paired   both factors of a cosine came from the data: samples are told apart within the batch
    """

    op: Op
    value: int
    classes: int
    rows: int
    form: Form
    maker: Op | None
    scale: float
    learned: bool
    paired: bool

    @property
    def binary(self) -> bool:
        """Whether each logit stands for a yes or no."""
        return self.op.name in _BINARY


def loss_logits(trace: Trace) -> tuple[Logits, ...]:
    """Returns the logits of every cross-entropy that the loss is made of, computed inside the model or outside."""
    return tuple(_logits(trace, op) for op in _heads(trace))


def _heads(trace: Trace) -> Iterator[Op]:
    """The log-softmaxes and binary losses that the loss is made of."""
    return (op for op in leading_to_loss(trace) if op.name in LOG_SOFTMAX or op.name in _BINARY)


def leading_to_loss(trace: Trace) -> Iterator[Op]:
    """Yields the operators from which only picking, weighting and averaging lead to the loss, the last first.

    Log-softmaxes and binary losses end the search: what lies before them is the network's answer.
    """
    waiting, seen = ([], set[int]()) if trace.loss is None else ([trace.loss], {trace.loss})
    while waiting:
        op = trace.producer(waiting.pop())
        if op is None:
            continue
        yield op
        ends = op.name in LOG_SOFTMAX or op.name in _BINARY
        if ends or not (
            op.kind in _ON_THE_WAY or op.kind in ("sum", "bias") or op.name in ("neg", "index", "gather", "mul")
        ):
            continue
        following = [index for index in trace.data_operands(op) if index not in seen]
        seen.update(following)
        waiting += following


def _logits(trace: Trace, op: Op) -> Logits:
    value = (
        next(index for index in op.operands if trace.values[index].from_data)
        if trace.data_operands(op)
        else op.operands[0]
    )
    shape = trace.values[value].shape
    binary = op.name in _BINARY
    axis = int(op.numbers[0] or 0) if op.numbers and not binary else -1
    classes = 2 if binary or not shape else shape[axis]
    form, maker, learned = _made(trace, value)
    if form == "other":
        form, maker = _with_margin(trace, value) or (form, maker)
    given = maker.result if maker is not None else None
    before, learned_before = _scale_before(trace, maker) if maker is not None and form == "cosine" else (1.0, False)
    return Logits(
        op=op,
        value=value,
        classes=classes,
        rows=prod(shape) // (1 if binary else max(classes, 1)),
        form=form,
        maker=maker,
        scale=_ratio(trace, value, given) * before,
        learned=learned or learned_before,
        paired=maker is not None and maker.kind == "matmul",
    )


def _made(trace: Trace, value: int) -> tuple[Form, Op | None, bool]:
    """The operator that made logits, through shapes, scales and biases, and whether one of these is learnable."""
    learned, bare = False, True
    while (op := trace.producer(value)) is not None:
        if op.kind == "softmax":
            return ("log_softmax" if op.name in LOG_SOFTMAX else "softmax") if bare else "other", op, learned
        if op.kind == "activation" and op.name in ("sigmoid", "tanh"):
            return ("sigmoid" if op.name == "sigmoid" else "tanh"), op, learned
        if op.name in ("reciprocal", "div") and _own_sigmoid(trace, op):
            return ("sigmoid" if bare else "other"), op, learned
        if op.name == "sum" and _dotted(trace, op):
            return "cosine", op, learned
        if op.name in _DISTANCES or (op.name in ("sum", "mean") and _squared(trace, op)):
            return "distance", op, learned
        if op.kind in ("linear", "matmul"):
            return ("cosine" if _cosine(trace, op) else "linear"), op, learned
        if op.kind == "product" and _own_softmax(trace, op):
            return "softmax" if bare else "other", op, learned
        data = trace.data_operands(op)
        if not data or not (op.kind in (*_SHAPING, "scale", "bias", "gain") or op.name in _MARGINS):
            return "other", op, learned
        learned = learned or op.kind == "gain"
        bare = bare and (op.kind in _SHAPING or (op.name in _TIMES and set(op.numbers) == {1}))
        value = _layered(trace, data) if len(data) > 1 else data[0]
    return "other", None, learned


def _with_margin(trace: Trace, value: int) -> tuple[Form, Op] | None:
    """Cosines from which an angular margin, of whatever formula, was taken: products of unit vectors alone."""
    makers: list[Op] = []
    waiting, seen = [value], {value}
    while waiting and len(seen) < 100:
        op = trace.producer(waiting.pop())
        if op is None:
            continue
        if op.kind in ("linear", "matmul"):
            makers.append(op)
        elif op.kind in _ELEMENTWISE or op.name in _MARGINS:
            following = [index for index in trace.data_operands(op) if index not in seen]
            seen.update(following)
            waiting += following
        elif any(trace.values[index].requires_grad for index in op.operands):
            return None
    return ("cosine", makers[0]) if makers and all(_cosine(trace, one) for one in makers) else None


def _layered(trace: Trace, data: tuple[int, ...]) -> int:
    """Of several operands the one that was made by a product with a weight, else the first: margins are added to it."""
    for index in data:
        op = trace.producer(index)
        while op is not None and op.kind in ("view", "copy", "scale") and trace.data_operands(op):
            op = trace.producer(trace.data_operands(op)[0])
        if op is not None and op.kind in ("linear", "matmul"):
            return index
    return data[0]


def _dotted(trace: Trace, op: Op) -> bool:
    """Whether a sum is one of products of the entries of two vectors of length one."""
    made = trace.producer(op.operands[0])
    if made is None or made.name != "mul" or len(made.operands) != 2:
        return False
    return all(of_length_one(trace, index) for index in made.operands)


def _squared(trace: Trace, op: Op) -> bool:
    """Whether a sum is one of squares of differences."""
    made = trace.producer(op.operands[0])
    if made is None or not (made.name in ("pow", "square") or (made.name == "mul" and len(set(made.operands)) == 1)):
        return False
    behind = trace.producer(made.operands[0])
    return behind is not None and behind.name in ("sub", "rsub", "add")


def _own_softmax(trace: Trace, op: Op) -> bool:
    """Whether a quotient is exp(x) over the sum of exp(x)."""
    if op.name not in ("div", "true_divide") or len(op.operands) != 2:
        return False
    above, below = (_unshaped(trace, index) for index in op.operands)
    summed = trace.producer(below)
    if summed is None or summed.name != "sum" or not summed.operands:
        return False
    first, second = trace.producer(above), trace.producer(_unshaped(trace, summed.operands[0]))
    if first is None or second is None or first.name != "exp" or second.name != "exp":
        return False
    return _unshaped(trace, first.operands[0]) == _unshaped(trace, second.operands[0])


def _own_sigmoid(trace: Trace, op: Op) -> bool:
    """Whether a value is one over one plus exp(x)."""
    summed = trace.producer(_unshaped(trace, op.operands[-1]))
    if summed is None or summed.name not in ("add", "radd") or len(trace.data_operands(summed)) != 1:
        return False
    grown = trace.producer(_unshaped(trace, trace.data_operands(summed)[0]))
    return grown is not None and grown.name == "exp"


def _unshaped(trace: Trace, value: int) -> int:
    """The value in front of views and copies."""
    while (
        (op := trace.producer(value)) is not None and op.kind in _SHAPING and op.operands and op.name != "masked_fill"
    ):
        value = op.operands[0]
    return value


def _cosine(trace: Trace, product: Op) -> bool:
    """Whether both factors of a product were divided by their own length; either may then have been multiplied."""
    factors = product.operands[-2:]
    return len(factors) == 2 and all(of_length_one(trace, _unscaled(trace, index)[0]) for index in factors)


def _scale_before(trace: Trace, maker: Op) -> tuple[float, bool]:
    """What a cosine's factors were multiplied by before their product, and whether something of it is learnable."""
    if maker.kind not in ("linear", "matmul"):
        return 1.0, False
    parts = [_unscaled(trace, index) for index in maker.operands[-2:]]
    return prod(factor for _, factor, _ in parts), any(learned for _, _, learned in parts)


def _unscaled(trace: Trace, value: int) -> tuple[int, float, bool]:
    """The value in front of multiplications: it, their product (NaN where not known), whether one is learnable."""
    factor, learned = 1.0, False
    while (op := trace.producer(_unshaped(trace, value))) is not None and op.name in _TIMES and op.operands:
        vector = op.operands[0]
        if len(op.operands) == 1:
            factor *= _constant(op)
        elif op.kind == "gain" and not of_length_one(trace, value):
            vector = trace.data_operands(op)[0]
            factor, learned = factor * _ratio(trace, value, vector), True
        else:
            break
        value = vector
    return value, factor, learned


def _constant(op: Op) -> float:
    number = next((float(one) for one in op.numbers if one is not None), float("nan"))
    return number if op.name in ("mul", "multiply") else 1 / number if number else float("nan")


def of_length_one(trace: Trace, value: int) -> bool:
    """Returns whether a value is some tensor divided by a norm of that same tensor."""
    while True:
        value = _unshaped(trace, value)
        op = trace.producer(value)
        if op is None:
            return False
        if op.name in ("cat", "stack", "index", "index_select", "embedding") and op.operands:
            value = op.operands[0]
            continue
        break
    if op.name not in ("div", "mul", "true_divide", "multiply") or len(op.operands) != 2:
        return False
    vector, factor = (_unshaped(trace, index) for index in op.operands)
    return _is_length(trace, factor, vector) or _is_length(trace, vector, factor)


def _is_length(trace: Trace, value: int, vector: int) -> bool:
    """Whether `value` was computed from `vector` by a norm, a sum of squares, guards and roots alone."""
    for _ in range(10):
        value = _unshaped(trace, value)
        if value == vector:
            return False
        op = trace.producer(value)
        if op is None or not op.operands:
            return False
        if op.name in ("linalg_vector_norm", "norm"):
            return _unshaped(trace, op.operands[0]) == vector
        if op.name == "sum":
            squares = trace.producer(_unshaped(trace, op.operands[0]))
            return squares is not None and _unshaped(trace, squares.operands[0]) == vector
        if op.name not in ("clamp_min", "clamp", "maximum", "add", "sqrt", "rsqrt", "reciprocal", "pow"):
            return False
        value = op.operands[0]
    return False


def _ratio(trace: Trace, value: int, made: int | None) -> float:
    """How much larger logits are than what the operator gave: the product of the scales in between."""
    now = measured(trace, value)
    before = trace.values[made].forward if made is not None else None
    if now is None or before is None or not (now.finite and before.finite) or before.std == 0:
        return float("nan")
    return now.std / before.std
