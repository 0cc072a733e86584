"""The constant output of least loss: closed forms tried by their gradient, then a fit of few evaluations."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from initscope.checker.evidence import LossKind
from initscope.checker.instruments.chance_constant import Constants, Part

FAR = 30.0
"""Where a logit is so far out that softplus and sigmoid are at their ends."""


class NoLeastError(Exception):
    """The loss falls without end as a constant output grows."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Best:
    """The least loss that was found, its vector (before the link), and the loss at zero."""

    value: float
    vector: Tensor
    zero: float


def best_constant(constants: Constants, kind: LossKind, proposed: Iterable[Tensor] = ()) -> Best:
    """Returns the best constant output: a closed form whose gradient is zero, else a fit from the best of them.

    `proposed` are vectors to try first.

    Raises: NoLeastError where the loss falls without end.
    """
    zeros = torch.zeros(constants.size, dtype=torch.float64)
    zero, slope = constants.value_and_slope(zeros)
    scale = float(slope.abs().max())
    best, least = zeros, zero
    if scale <= 1e-6 * max(abs(zero), 1e-12):
        return Best(value=zero, vector=zeros, zero=zero)
    for candidate in itertools.chain(proposed, _candidates(constants, kind, zero, slope)):
        if not bool(torch.isfinite(candidate).all()):
            continue
        value, there = constants.value_and_slope(candidate)
        if math.isfinite(value) and (value < least or not math.isfinite(least)):
            best, least = candidate, value
            if float(there.abs().max()) <= 1e-4 * scale:
                return Best(value=value, vector=candidate, zero=zero)
    value, vector = _fitted(constants, best, least)
    return Best(value=value, vector=vector, zero=zero)


def _candidates(constants: Constants, kind: LossKind, zero: float, slope: Tensor) -> Iterator[Tensor]:
    first = constants.parts[0]
    alone = len(constants.parts) == 1
    if alone and first.link != "sigmoid" and first.size > 1 and zero > 0 and kind not in ("mse", "l1", "bce_logits"):
        yield _softmax_minimum(zero, slope)
    if alone and (first.link == "sigmoid" or kind == "bce_logits"):
        yield _sigmoid_minimum(constants)
    if kind != "cross_entropy":
        yield _parabola_minimum(constants, slope)


def _softmax_minimum(zero: float, slope: Tensor) -> Tensor:
    """The minimum of W logsumexp(b) - t b with sum t = W, which any weighted, smoothed cross-entropy of a constant is.

    W = loss(0) / ln C and t = W / C - slope(0). Classes that never occur get e^-16 of the mass.
    """
    classes = len(slope)
    mass = zero / math.log(classes)
    shares = ((mass / classes - slope) / mass).clamp_min(0)
    logits = (shares + math.exp(-16.0) / classes).log()
    return logits - logits.mean()


def _sigmoid_minimum(constants: Constants) -> Tensor:
    """The minimum of P softplus(-b) + Q softplus(b) unit by unit: the gradient is -P far below and Q far above."""
    like = torch.zeros(constants.size, dtype=torch.float64)
    if constants.parts[0].link == "sigmoid":
        near = 2.0  # further out float32 probabilities are 0 or 1 and losses clamp them: two equations at +-2 do
        low, high = (constants.value_and_slope(like + side)[1] for side in (-near, near))
        big, small = 1 / (1 + math.exp(-near)), 1 / (1 + math.exp(near))
        down = (small * high - big * low) / (big * big - small * small)
        up = (big * high - small * low) / (big * big - small * small)
    else:
        down, up = -constants.value_and_slope(like - FAR)[1], constants.value_and_slope(like + FAR)[1]
    return (down.clamp_min(0).log() - up.clamp_min(0).log()).clamp(-16.0, 16.0)


def _parabola_minimum(constants: Constants, slope: Tensor) -> Tensor:
    """The minimum of a sum of parabolas, one a unit, from the gradients at 0 and 1."""
    ones = torch.ones(constants.size, dtype=torch.float64)
    bend = constants.value_and_slope(ones)[1] - slope
    return torch.where(bend > 0, -slope / bend, 0.0)


def _fitted(constants: Constants, start: Tensor, least: float) -> tuple[float, Tensor]:
    """The least value L-BFGS finds within a number of evaluations that falls with the size of the outputs."""
    entries = sum(part.leaf.tensor.numel() for part in constants.parts)
    evaluations = int(min(max(3e8 / max(entries, 1), 8), 100))
    vector = start.clone().requires_grad_()
    best = (least, start)
    optimiser = torch.optim.LBFGS(
        [vector], max_iter=evaluations, max_eval=evaluations, tolerance_grad=1e-7, tolerance_change=1e-10,
        history_size=10, line_search_fn="strong_wolfe",
    )  # fmt: skip

    def closure() -> float:
        nonlocal best
        value, slope = constants.value_and_slope(vector.detach())
        vector.grad = slope
        if math.isfinite(value) and value < best[0]:
            best = (value, vector.detach().clone())
        return value

    optimiser.step(closure)  # type: ignore[no-untyped-call]  # torch ships it without types
    if _runs_away(constants, best):
        raise NoLeastError
    return best


def _runs_away(constants: Constants, best: tuple[float, Tensor]) -> bool:
    """Whether ten times the best vector is better still by as much again: then nothing bounds the loss."""
    value, vector = best
    free: list[Part] = [part for part in constants.parts if part.link == "free"]
    if not free or float(vector.abs().max()) < 1e3:
        return False
    further = constants.value(vector * 10)
    return further < value - 0.5 * abs(value)
