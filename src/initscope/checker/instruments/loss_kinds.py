"""Which loss was computed, read from the operators between a network's outputs and the loss."""

from __future__ import annotations

from collections.abc import Iterator

from initscope.checker.evidence import LossKind
from initscope.checker.instruments.graph import loss_values
from initscope.checker.instruments.kinds import CUTS
from initscope.checker.instruments.trace import Op, Trace

KERNELS: dict[str, LossKind] = {
    "binary_cross_entropy_with_logits": "bce_logits", "soft_margin_loss": "bce_logits", "mse_loss": "mse",
    "smooth_l1_loss": "l1", "huber_loss": "l1", "l1_loss": "l1",
}  # fmt: skip
"""Kernels that tell the loss by themselves where they read one tensor that depends on the outputs."""

_LINEAR_KINDS = frozenset({"view", "copy", "scale", "reduce", "bias", "gain", "sum", "product", "join"})
_LINEAR_NAMES = frozenset({
    "neg", "add", "sub", "rsub", "mul", "div", "write", "masked_fill", "where", "index", "gather", "to",
})  # fmt: skip
_NOT_LINEAR = frozenset({
    "amax", "amin", "max", "min", "var", "var_mean", "std", "std_mean", "prod", "logsumexp", "cumsum", "median",
    "linalg_vector_norm", "norm", "topk", "sort", "max_pool2d_with_indices", "trace", "_linalg_det",
})  # fmt: skip
_HINGES = frozenset({"clamp", "clamp_min", "relu", "maximum"})
_SOFTMAX = frozenset({"_log_softmax", "log_softmax", "_safe_softmax", "_softmax", "softmax"})


def recognised(trace: Trace) -> LossKind:
    """Returns which loss was computed, "other" where it is none that is known, or a mixture of several.

    Read are the operators alone, from the loss back to the model's outputs, through views, casts, shifts, weights,
    masks and reductions; so a module, a lambda and a loss written out by hand look the same. Cross-entropy of
    log-probabilities that the model made itself is "nll"; the divergence from soft targets differs by a constant and
    is "cross_entropy" too; smooth absolute differences are "l1".
    """
    if trace.loss is None:
        return "other"
    return _Reader(trace).kind()


class _Reader:
    """Walks from the loss to the outputs along what depends on the outputs."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.ends = frozenset(trace.outputs) - loss_values(trace)
        self.dependent = set(self.ends)
        for op in trace.ops:
            if op.name not in CUTS and any(operand in self.dependent for operand in op.operands):
                self.dependent.update(op.results)

    def kind(self) -> LossKind:
        """The terms of the loss, put together."""
        assert self.trace.loss is not None
        found = set(self._terms(self.trace.loss))
        if "softplus" in found:
            found -= {"output", "hinge"}
        if found == {"lse", "output"}:
            return "cross_entropy"
        if found == {"softplus"}:
            return "bce_logits"
        if found == {"output"}:
            return "nll" if self._made_by(("_log_softmax", "log_softmax")) else "other"
        if found == {"log-output"}:
            return "bce" if self._made_by(("sigmoid",)) else "other"
        known: tuple[LossKind, ...] = ("cross_entropy", "nll", "bce", "bce_logits", "mse", "l1")
        return next((kind for kind in known if found == {kind}), "other")

    def _terms(self, loss: int) -> Iterator[str]:
        """The kind of each term that the loss is a sum of."""
        waiting, seen = [loss], {loss}
        while waiting:
            value = waiting.pop()
            op = None if value in self.ends else self.trace.producer(value)
            if op is None:
                yield "output"
                continue
            live = self._live(op)
            term = self._term(op, live)
            if term:
                yield term
                continue
            waiting += [one for one in live if one not in seen]
            seen.update(live)

    def _term(self, op: Op, live: list[int]) -> str | None:
        """What an operator says of the loss; None where it only passes on or adds up."""
        if not live:
            return "other"
        name, first = op.name, live[0]
        if name in KERNELS:
            return KERNELS[name] if len(live) == 1 else "other"
        if name.startswith("nll_loss"):
            behind = self._behind(first)
            if behind == "log":
                behind = self._behind_log(first)
            return "nll" if behind == "output" else "cross_entropy" if behind in _SOFTMAX else "other"
        if name == "binary_cross_entropy":
            behind = self._behind(first) if len(live) == 1 else ""
            return {"output": "bce", "sigmoid": "bce_logits"}.get(behind, "other")
        if self._squares(op, live):
            return "mse" if self._behind(first, through=("abs",)) == "output" else "other"
        if name in ("abs", "_log_softmax", "log_softmax", "logsumexp", "softplus", "log_sigmoid_forward"):
            straight = self._behind(first) == "output"
            term = {"abs": "l1", "logsumexp": "lse", "softplus": "softplus", "log_sigmoid_forward": "softplus"}
            return term.get(name, "cross_entropy") if straight else "other"
        if name in ("log", "log1p"):
            return self._logarithm(op, first)
        if name in _HINGES:
            return "hinge" if self._behind(first) == "output" else "other"
        return None if self._passes(op, live) else "other"

    def _logarithm(self, op: Op, operand: int) -> str:
        behind = self._behind(operand, through=("clamp", "clamp_min"))
        if op.name == "log1p" and behind == "exp":
            return "softplus"
        kinds = {"_softmax": "cross_entropy", "softmax": "cross_entropy", "sigmoid": "softplus", "output": "log-output"}
        return kinds.get(behind, "other")

    def _behind_log(self, value: int) -> str:
        """The operator behind a logarithm that is behind `value`."""
        op = self.trace.producer(value)
        while op is not None and op.name != "log":
            op = self.trace.producer(self._live(op)[0])
        return "" if op is None else self._behind(self._live(op)[0], through=("clamp", "clamp_min"))

    def _behind(self, value: int, *, through: tuple[str, ...] = ()) -> str:
        """The name of the first operator behind `value` that is more than a view, a cast, a shift or a factor."""
        while value not in self.ends:
            op = self.trace.producer(value)
            live = [] if op is None else self._live(op)
            if op is None or not live:
                return ""
            if len(live) > 1 and op.name not in ("cat", "stack", "write", "where"):
                return op.name
            if not (op.name in through or self._passes(op, live)):
                return op.name
            value = live[0]
        return "output"

    def _passes(self, op: Op, live: list[int]) -> bool:
        """Whether an operator is linear in what depends on the outputs."""
        if op.name in _NOT_LINEAR or op.name in CUTS:
            return False
        if op.name in ("mul", "div", "true_divide", "multiply", "divide"):
            return len(live) == 1 and live[0] == next(one for one in op.operands if one in self.dependent)
        return op.kind in _LINEAR_KINDS or op.name in _LINEAR_NAMES

    def _squares(self, op: Op, live: list[int]) -> bool:
        if op.name == "mul":
            return len(op.operands) == 2 and op.operands[0] == op.operands[1] and bool(live)
        return op.name == "square" or (op.name == "pow" and 2 in op.numbers and len(op.operands) == 1)

    def _live(self, op: Op) -> list[int]:
        return list(dict.fromkeys(one for one in op.operands if one in self.dependent))

    def _made_by(self, names: tuple[str, ...]) -> bool:
        """Whether an output was made by one of these operators, views and casts aside."""
        for value in self.ends:
            op = self.trace.producer(value)
            while op is not None and op.kind in ("view", "copy") and op.operands:
                op = self.trace.producer(op.operands[0])
            if op is not None and op.name in names:
                return True
        return False
