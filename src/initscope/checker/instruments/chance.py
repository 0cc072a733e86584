"""The loss of the best constant output: what a network that looks at nothing can reach on this batch."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

from initscope.base.errors import UsageError
from initscope.checker.evidence import Absent, Chance, LossKind
from initscope.checker.instruments.chance_constant import Constants, Link, Part, link_of
from initscope.checker.instruments.chance_fit import NoLeastError, best_constant
from initscope.checker.instruments.chance_labels import Labels, read_labels
from initscope.checker.instruments.loss_outputs import Leaf, floating_outputs, main_output, with_replaced
from initscope.checker.instruments.losses import class_axis, own_loss

GROUPS = 16
NAN = float("nan")


def measure_chance(
    output: Any, loss_of_output: Callable[[Any], Tensor], kind: LossKind, targets: Any
) -> Chance | Absent:
    """Returns the loss of constant outputs on this batch, Absent with the reason where it cannot be had.

    min over b of loss(b broadcast over samples and positions). The loss is asked alone, never the network: its gradient
    at zero gives the minimum of cross-entropy in closed form whatever the weights, smoothing, ignored places or soft
    targets, two gradients that of mean squares, of binary cross-entropy; other losses are fitted by a few dozen
    evaluations. Where the loss reads several output tensors, each gets a vector of its own.

    Arguments:
        output: what the model returned, of any structure.
        loss_of_output: the loss of an output of that structure, targets bound.
        kind: how the loss was recognised; it tells what range constants keep to (log-probabilities, probabilities).
        targets: read where the output alone does not tell the axis of classes, and to start a fit at their means.

    Returns: `vector` is the constant before the range is kept to: what the bias in front of a closing softmax, sigmoid
        or log-softmax would have to be.
    """
    if kind == "stand-in":
        return Absent(reason="the stand-in loss has no chance level: its targets are made up")
    main = main_output(output)
    if main is None:
        return Absent(reason="the model returned no floating-point tensor that a constant could replace")
    try:
        return _measured(output, loss_of_output, kind, targets, main)
    except NoLeastError:
        return Absent(reason="the loss has no least constant output: it falls without end")
    except Exception as error:  # noqa: BLE001  # the user's loss may refuse a constant output in any way
        return Absent(reason=f"the loss of a constant output could not be taken: {type(error).__name__}: {error}")


def _measured(output: Any, loss: Callable[[Any], Tensor], kind: LossKind, targets: Any, main: Leaf) -> Chance | Absent:
    output = _widened(output, loss)
    main = next(leaf for leaf in floating_outputs(output) if leaf.steps == main.steps)
    slopes = _slopes(output, loss)
    read = [leaf for leaf in floating_outputs(output) if leaf.steps in slopes]
    if not read:
        own = "the model computes its loss itself"
        return Absent(reason="the loss does not change with the output" if own_loss(output) is None else own)
    if main.steps not in slopes:
        main = read[0]
    first = _part(main, slopes[main.steps], kind, targets)
    if kind == "other" and len(read) > 1:
        return Absent(reason="the loss puts several outputs together in a way that was not recognised")
    others = [_part(leaf, slopes[leaf.steps], "other", None) for leaf in read if leaf.steps != main.steps]
    slopes.clear()  # as large as the outputs
    constants = Constants(output=output, parts=(first, *others), loss=loss)
    labels = read_labels(constants, kind)
    found = best_constant(constants, kind, _proposed(first, targets) if not others else ())
    if not math.isfinite(found.value):
        return Absent(reason=f"the loss of the best constant output is {found.value}")
    return Chance(
        best=found.value,
        zero=found.zero,
        vector=constants.split(found.vector)[0].detach().cpu().numpy().astype("float64"),
        n_targets=labels.count if labels is not None else _targets(main.tensor, first.axis),
        standard_error=_standard_error(constants, found.vector, found.value),
        **_about(labels, main.tensor, first, kind),
    )


def _widened(output: Any, loss: Callable[[Any], Tensor]) -> Any:
    """The output out of the graph, its half-precision tensors in float32 where the loss takes them so."""
    plain = {leaf.steps: leaf.tensor.detach() for leaf in floating_outputs(output)}
    output = with_replaced(output, plain)
    halves = {steps: one.float() for steps, one in plain.items() if one.dtype in (torch.float16, torch.bfloat16)}
    if not halves:
        return output
    wide = with_replaced(output, halves)
    try:
        with torch.no_grad():
            loss(wide)
    except (RuntimeError, TypeError, ValueError):
        return output
    return wide


def _slopes(output: Any, loss: Callable[[Any], Tensor]) -> dict[Any, Tensor]:
    """The gradient of the loss in each output tensor that it reads, at the outputs as they are, or else at 1/2.

    An output may be so far out that no gradient is left.
    """
    values = {leaf.steps: leaf.tensor.detach() for leaf in floating_outputs(output)}
    for draw in (torch.detach, partial(torch.full_like, fill_value=0.5)):
        with torch.enable_grad():
            asked = {steps: draw(value).requires_grad_() for steps, value in values.items()}
            try:
                loss_value = loss(with_replaced(output, {steps: value.clone() for steps, value in asked.items()}))
            except UsageError:
                return {}  # a loss outside the graph is refused before it gets here
            if not loss_value.requires_grad:
                return {}
            slopes: tuple[Tensor | None, ...] = torch.autograd.grad(loss_value, list(asked.values()), allow_unused=True)
        pairs = zip(asked, slopes, strict=True)
        found = {steps: slope for steps, slope in pairs if slope is not None and bool((slope != 0).any())}
        if found:
            return found
    return {}


def _part(leaf: Leaf, slope: Tensor, kind: LossKind, targets: Any) -> Part:
    axis = _unit_axis(leaf.tensor, slope, kind, targets)
    link: Link = "free"
    if kind == "nll":
        link = "log_softmax"
    elif kind == "bce":
        link = "sigmoid"
    elif kind == "other":
        link = link_of(leaf.tensor, axis)
    return Part(leaf=leaf, axis=axis, link=link)


def _unit_axis(tensor: Tensor, slope: Tensor, kind: LossKind, targets: Any) -> int | None:
    """The axis of classes or units: the one along which gradients sum to zero, as a softmax's do, else by custom."""
    last = tensor.ndim - 1
    if tensor.ndim == 0 or last == 1:
        return 1 if last == 1 else None
    axes = (0,) if last == 0 else (1, last)
    if kind == "nll":
        fits = [axis for axis in axes if link_of(tensor, axis) == "log_softmax"]
    else:
        size = slope.abs().sum().float()
        fits = [axis for axis in axes if bool(slope.float().sum(axis).abs().sum() <= 1e-2 * size)]
    if len(fits) == 1:
        return fits[0]
    if last == 0:
        return None
    told = class_axis(tensor, targets) if isinstance(targets, Tensor) and not targets.is_floating_point() else None
    if told is not None:
        return told
    return last if last == 2 and kind not in ("cross_entropy", "nll") else 1


def _proposed(first: Part, targets: Any) -> Iterator[Tensor]:
    """The means and medians of targets of the output's shape, unit by unit."""
    like = first.leaf.tensor
    if first.link != "free" or like.is_complex() or not isinstance(targets, Tensor) or targets.numel() != like.numel():
        return
    if targets.is_complex():
        return
    rows = targets.detach().double().cpu().reshape(like.shape)
    rows = rows.reshape(-1, 1) if first.axis is None else rows.movedim(first.axis, -1).reshape(-1, first.size)
    yield rows.mean(dim=0)
    yield rows.median(dim=0).values


def _targets(tensor: Tensor, axis: int | None) -> int:
    return tensor.numel() // (1 if axis is None else tensor.shape[axis])


def _about(labels: Labels | None, tensor: Tensor, part: Part, kind: LossKind) -> dict[str, Any]:
    """What is known of class targets: their number, counts, entropy, and how sure and right the start is."""
    classes = None
    if kind in ("cross_entropy", "nll"):
        classes = part.size
    elif kind in ("bce", "bce_logits") and part.size == 1:
        classes = 2
    if labels is None:
        return {"classes": classes}
    accuracy, confidence = labels.judged(tensor, kind)
    return {
        "classes": classes,
        "accuracy": accuracy,
        "confidence": confidence,
        "label_entropy": labels.entropy,
        "label_counts": labels.counts,
    }


def _standard_error(constants: Constants, vector: Tensor, best: float) -> float:
    """The standard error of (loss at the start - chance) over samples; NaN where the loss is no sum over samples.

    Groups of samples get the constant output in turn: the change is the group's share of that difference.
    """
    sizes = {part.leaf.tensor.shape[0] if part.leaf.tensor.ndim else 0 for part in constants.parts}
    n = sizes.pop()
    if sizes or n < 4 or any(part.axis == 0 for part in constants.parts):
        return NAN
    entries = constants.parts[0].leaf.tensor.numel()
    groups = min(n, GROUPS if entries < 2_000_000 else 8 if entries < 50_000_000 else 4)
    edges = [round(index * n / groups) for index in range(groups + 1)]
    start = constants.mixed(vector, slice(0, 0))
    pairs = itertools.pairwise(edges)
    shares = [(start - constants.mixed(vector, slice(low, high)), high - low) for low, high in pairs]
    excess = start - best
    left = abs(sum(share for share, _ in shares) - excess)
    if not left <= 0.05 * abs(excess) + 1e-4 * abs(start):
        return NAN
    rates = torch.tensor([share * n / size for share, size in shares], dtype=torch.float64)
    return float(rates.std() / math.sqrt(groups))
