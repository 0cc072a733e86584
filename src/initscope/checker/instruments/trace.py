"""One forward and backward pass as a graph of operators and values, with what was measured at each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from initscope.records.finding import Location

Kind = Literal[
    "linear", "lookup", "matmul", "activation", "softmax", "norm", "bias", "gain", "sum", "product", "scale", "join",
    "reduce", "view", "copy", "loss", "other",
]  # fmt: skip
"""What an operator does to data:
linear      a matrix or kernel made of parameters times data (mm, addmm, bmm, convolution)
lookup      rows of a parameter chosen by data (embedding)
matmul      data times data (attention scores)
activation  an elementwise nonlinearity;  softmax  along one axis;  norm  layer, batch, group, RMS normalisation kernels
bias, gain  data plus, or times, something made of parameters alone
sum, product  data with data, elementwise (subtraction, division too);  scale  data with a constant
join        concatenation;  reduce  mean, sum, pooling;  view  shapes, slices;  copy  clone, casts, in-place fills
loss        a loss kernel;  other  anything else
"""


@dataclass(frozen=True, kw_only=True, eq=False)
class Moments:
    """Statistics of one tensor over the batch; NaN where not measured.

    rms, mean, std  over all entries;  low, high  extremes of the finite entries
    spread   root mean square over units of the standard deviation over samples and positions (tokens, pixels)
    between  the same over samples alone, at equal positions: what is left of the difference between samples
    finite   False where any entry is NaN or infinite;  zero_share  share of exactly zero entries
    tiny_share  share of the non-zero entries below the smallest normal number of the dtype
    """

    rms: float
    mean: float
    std: float
    spread: float
    between: float
    low: float
    high: float
    finite: bool
    zero_share: float
    tiny_share: float
    n: int

    @property
    def peak(self) -> float:
        """The largest magnitude."""
        return max(abs(self.low), abs(self.high))


@dataclass(frozen=True, kw_only=True, eq=False)
class Activity:
    """Of an activation: which units are off, and how many entries are where the slope has gone.

    off        Bool "unit": the output is at its floor with slope zero for every sample and position
    saturated  share of entries whose slope is below 5 % of the steepest; NaN for functions without two flat ends
    peak, entropy, keys   of a softmax: mean largest probability, mean entropy / ln(keys), number of keys; NaN, 0 else
    """

    off: NDArray[np.bool_]
    saturated: float = float("nan")
    peak: float = float("nan")
    entropy: float = float("nan")
    keys: int = 0


@dataclass(frozen=True, kw_only=True, eq=False)
class Value:
    """One tensor on the way.

    origin        "input", "parameter", "buffer", "constant", or "op" (then `op` is the index of its producer)
    path          of a parameter or buffer, its name; of an input, its position or keyword
    from_data     whether the inputs can change it;  parameters  where they cannot: those it is made of
    requires_grad whether it stood in the graph
    sample_axis, unit_axis   the axes of samples (perhaps with positions) and of units, None where not known
    forward, backward   statistics of it, and of the loss's gradient with respect to it; None where not measured
    output        part of what the model returned
    """

    index: int
    shape: tuple[int, ...]
    dtype: str
    origin: Literal["input", "parameter", "buffer", "constant", "op"]
    op: int | None
    path: str
    from_data: bool
    parameters: frozenset[str]
    requires_grad: bool
    sample_axis: int | None
    unit_axis: int | None
    forward: Moments | None
    backward: Moments | None
    output: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class Op:
    """One operator call.

    name      torch's name without namespace and overload ("addmm", "native_layer_norm"); an in-place one without
              its trailing underscore
    operands  indices of the tensor arguments, in order;  results  of the tensors it gave
    numbers   its plain number arguments, in order, and `named` those given by keyword
    weight    of linear, lookup, bias, gain: the parameter of most entries among its parameter-made operands, else ""
    module    path of the innermost module at work ("" the model);  place  the user's line that called it
    inner     True inside the loss, after the model returned
    activity  of activations and softmaxes
    """

    index: int
    name: str
    kind: Kind
    operands: tuple[int, ...]
    results: tuple[int, ...]
    numbers: tuple[float | int | bool | None, ...]
    named: dict[str, float | int | bool | None]
    weight: str
    module: str
    place: Location | None
    in_loss: bool
    activity: Activity | None

    @property
    def result(self) -> int:
        """The first result."""
        return self.results[0]


@dataclass(frozen=True, kw_only=True, eq=False)
class Trace:
    """Operators and values in the order they came; `batch` is the number of samples where it could be told.

    `calls` are the module calls: path, class name, indices of the tensors that went in and came out;
    `read_as_numbers` the values that the model's own Python code read as plain numbers.
    """

    ops: tuple[Op, ...]
    values: tuple[Value, ...]
    outputs: tuple[int, ...]
    loss: int | None
    batch: int | None
    calls: tuple[Call, ...]
    used_parameters: frozenset[str]
    read_as_numbers: frozenset[int] = frozenset()

    @cached_property
    def consumers(self) -> tuple[tuple[int, ...], ...]:
        """For each value, the indices of the operators that read it."""
        found: list[list[int]] = [[] for _ in self.values]
        for op in self.ops:
            for operand in dict.fromkeys(op.operands):
                found[operand].append(op.index)
        return tuple(tuple(one) for one in found)

    def consumers_matter(self, op: int) -> bool:
        """Returns whether an operator's results go anywhere: autograd detaches what it keeps for itself."""
        made = self.ops[op]
        if made.name != "detach":
            return True
        return any(self.consumers[index] or self.values[index].output for index in made.results)

    def producer(self, value: int) -> Op | None:
        """Returns the operator that made a value, None for inputs, parameters and constants."""
        made = self.values[value].op
        return None if made is None else self.ops[made]

    def data_operands(self, op: Op) -> tuple[int, ...]:
        """Returns the operands that the inputs can change."""
        return tuple(index for index in op.operands if self.values[index].from_data)

    def forward_ops(self, *kinds: Kind) -> Iterator[Op]:
        """Yields operators of these kinds (all without any) on data, inside the model, in order."""
        for op in self.ops:
            if not op.in_loss and (not kinds or op.kind in kinds) and self.data_operands(op):
                yield op


@dataclass(frozen=True, kw_only=True, eq=False)
class Call:
    """One call of a module: its path (the first name of the object), class name, and the tensors in and out."""

    path: str
    layer: str
    operands: tuple[int, ...]
    results: tuple[int, ...]
