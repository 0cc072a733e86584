"""Which label each output is held against, read from the loss's gradient: ignored, shifted, weighted places too."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from initscope.checker.evidence import LossKind
from initscope.checker.instruments.chance_constant import Constants
from initscope.checker.instruments.loss_outputs import with_replaced

NAN = float("nan")


@dataclass(frozen=True, kw_only=True, eq=False)
class Labels:
    """The labels of a classification.

    places  Bool "place": which samples or positions the loss reads;  labels  Int "place": the class there
    axis    the axis of classes in the output, None for two classes told apart by the sign of one number
    classes their number;  hard  False where targets are shares of several classes
    """

    places: Tensor
    labels: Tensor
    axis: int | None
    classes: int
    hard: bool

    @property
    def count(self) -> int:
        """The number of targets."""
        return int(self.places.sum())

    @property
    def counts(self) -> NDArray[np.float64] | None:
        """How often each class occurs; None for soft targets."""
        if not self.hard:
            return None
        found = torch.bincount(self.labels[self.places], minlength=self.classes)
        return found.cpu().numpy().astype(np.float64)

    @property
    def entropy(self) -> float:
        """The entropy of the labels in nats; NaN for soft targets."""
        counts = self.counts
        if counts is None or counts.sum() == 0:
            return NAN
        shares = counts[counts > 0] / counts.sum()
        return float(-(shares * np.log(shares)).sum())

    def judged(self, output: Tensor, kind: LossKind) -> tuple[float, float]:
        """Returns (share of right answers, mean largest probability) of an output; NaN for soft targets."""
        if not self.hard or self.count == 0:
            return NAN, NAN
        wide = output.detach().float()
        if self.axis is None:
            chance = (wide if kind == "bce" else torch.sigmoid(wide)).reshape(-1)
            right, sure = (chance > 0.5).long() == self.labels, torch.maximum(chance, 1 - chance)
        else:
            shares = wide.exp() if kind == "nll" else torch.softmax(wide, dim=self.axis)
            sure, guess = (one.reshape(-1) for one in shares.max(dim=self.axis))
            right = guess == self.labels
        return float(right[self.places].double().mean()), float(sure[self.places].double().mean())


def read_labels(constants: Constants, kind: LossKind) -> Labels | None:
    """Returns the labels of a cross-entropy or a binary cross-entropy of one unit; None for any other loss."""
    part = constants.parts[0]
    single = kind in ("bce", "bce_logits") and part.size == 1
    if not single and not (kind in ("cross_entropy", "nll") and part.axis is not None and part.size > 1):
        return None
    slope = _slope_at_zero(constants)
    if single:
        flat = slope.reshape(-1)
        return Labels(places=flat != 0, labels=(flat < 0).long(), axis=None, classes=2, hard=_same_sizes(flat))
    assert part.axis is not None
    rows = slope.movedim(part.axis, -1).reshape(-1, part.size)
    places = (rows != 0).any(dim=1)
    lowest, labels = rows.min(dim=1)
    return Labels(
        places=places, labels=labels, axis=part.axis, classes=part.size, hard=_hard(rows[places], lowest[places])
    )


def _slope_at_zero(constants: Constants) -> Tensor:
    """The loss's gradient in the main output where the constant (before the link) is zero, place by place."""
    part = constants.parts[0]
    with torch.enable_grad():
        like = part.leaf.tensor
        asked = torch.zeros(like.shape, dtype=like.dtype, device=like.device, requires_grad=True)
        filled = asked.clone()  # a loss may write into the output, never into a leaf of the graph
        if part.link == "log_softmax" and part.axis is not None:
            filled = torch.log_softmax(asked, dim=part.axis)
        elif part.link == "sigmoid":
            filled = torch.sigmoid(asked)
        value = constants.loss(with_replaced(constants.output, {part.leaf.steps: filled}))
        return torch.autograd.grad(value, asked)[0].detach().float()


def _hard(rows: Tensor, lowest: Tensor) -> bool:
    """Whether all classes of a place but its label are treated alike: then no target is shared out."""
    if len(rows) == 0:
        return False
    highest = rows.max(dim=1).values
    second = rows.topk(2, dim=1, largest=False).values[:, 1] if rows.shape[1] > 1 else highest
    return bool((highest - second <= 1e-3 * (highest - lowest)).all()) or rows.shape[1] == 2


def _same_sizes(slopes: Tensor) -> bool:
    """Whether the slopes of each sign are of one size: a target between 0 and 1 gives a smaller one."""
    sides = (slopes[slopes < 0], slopes[slopes > 0])
    return all(len(side) == 0 or bool((side - side[0]).abs().max() <= 1e-3 * side[0].abs()) for side in sides)
