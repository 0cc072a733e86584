"""Losses by name, guessed from targets, returned by the model itself, or a stand-in; and what a loss must be."""

from __future__ import annotations

import re
import textwrap
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from initscope.base.errors import UsageError, unknown_name
from initscope.base.streams import stream_seed
from initscope.checker.evidence import Absent
from initscope.checker.instruments.loss_outputs import floating_outputs, loss_output
from initscope.checker.instruments.write_frames import whose

Loss = Callable[[Any, Any], Any]
"""Called as loss(output, target) with the model's output as it returned it."""

GIVE_TARGETS = "give targets: the factory or the batch function returns them behind the inputs"


def named_loss(name: str) -> Loss:
    """Returns the loss called `name` ("cross_entropy", "cross-entropy", "CrossEntropyLoss", "mse", "bce_with_logits").

    It takes the model's output whole and reads its main tensor. Targets are brought to the form torch wants: class
    indices of any integer type, of language models too (output "batch position class", target "batch position", -100
    ignored); targets of another shape with as many entries as the output take the output's shape.

    Raises: UsageError for an unknown name, with the legal ones.

    Example:
        >>> round(float(named_loss("cross-entropy")(torch.zeros(2, 5, 10), torch.zeros(2, 5, dtype=torch.int64))), 4)
        2.3026
    """
    key = re.sub(r"[^a-z0-9]", "", name.lower())
    key = key.removesuffix("loss") or key
    if key not in _BY_KEY:
        raise unknown_name("loss", name, NAMES, listed=False)
    return _BY_KEY[key]


def guessed_loss(output: Any, targets: Any) -> Loss | Absent:
    """Returns the loss to assume where targets are given without one, Absent with the reason where none fits.

    Integer targets that fit the output's shape without one axis: cross-entropy. Floats of the output's shape: binary
    cross-entropy where all are 0 or 1 (with logits where outputs leave [0, 1], else mean squares), mean squares else.
    """
    tensor, target = loss_output(output), _first_tensor(targets)
    if tensor is None or target is None:
        return Absent(reason=f"no loss is known for {'an output' if tensor is None else 'targets'} without a tensor")
    shapes = f"an output of shape {tuple(tensor.shape)} and {_dtype(target)} targets of shape {tuple(target.shape)}"
    if tensor.is_complex() or target.is_complex():
        return Absent(reason=f"no loss is known for {shapes}: complex numbers")
    whole = not target.is_floating_point()
    if whole and target.shape != tensor.shape and _fits_classes(tensor, target):
        return _cross_entropy
    if not _same_shape(tensor, target):
        return Absent(reason=f"no loss is known for {shapes}")
    binary = bool(((target == 0) | (target == 1)).all())
    if binary and bool(((tensor < 0) | (tensor > 1)).any()):
        return _bce_with_logits
    if whole:
        return Absent(reason=f"no loss is known for {shapes}")
    return _mse


def own_loss(output: Any) -> Tensor | None:
    """Returns the loss that a model computed itself, as `.loss` or ["loss"]; None where it did not."""
    found = output.get("loss") if isinstance(output, Mapping) else getattr(output, "loss", None)
    return found if isinstance(found, Tensor) and found.numel() == 1 and found.is_floating_point() else None


@dataclass(frozen=True, kw_only=True)
class StandIn:
    """The loss where nothing is known: mean squares against fixed random targets.

    sum over output tensors of mean |output - target|^2, each target entry N(0, 1) (real and imaginary part each for
    complex outputs). Targets depend on (seed, number of the tensor, its shape) alone, so each call sees the same.
    Outputs that stand in the graph count; where none does, all of them.
    """

    seed: int

    def __call__(self, output: Any, target: object = None) -> Tensor:
        """Returns the loss as a scalar; `target` is not read. Raises UsageError where the output has no tensor."""
        found = [leaf.tensor for leaf in floating_outputs(output)]
        if not found:
            raise UsageError(
                "the model returned no floating-point tensor, so no loss can be made of its output",
                value=type(output).__name__,
                do="give a loss that takes (output, target)",
            )
        graded = any(tensor.requires_grad for tensor in found)
        terms = [self._term(tensor, index) for index, tensor in enumerate(found) if tensor.requires_grad or not graded]
        return torch.stack([term.to(terms[0].device) for term in terms]).sum()

    def _term(self, tensor: Tensor, index: int) -> Tensor:
        if tensor.layout != torch.strided:
            tensor = tensor.to_dense()
        if tensor.is_complex():
            tensor = torch.view_as_real(tensor)
        generator = torch.Generator().manual_seed(stream_seed(self.seed, "stand-in loss", str(index)))
        drawn = torch.randn(tensor.shape, generator=generator)
        wide = torch.promote_types(tensor.dtype, torch.float32)
        return (tensor.to(wide) - drawn.to(tensor.device, wide)).square().mean().to(torch.float32)


def evaluated_loss(loss: Loss, output: Any, targets: Any) -> Tensor:
    """Returns loss(output, targets) as a scalar tensor.

    It may stand outside the graph where every output does too: then the model cut it, not the loss.

    Raises: UsageError where the loss raises (with the user's traceback), returns no scalar, or cuts the graph itself.
    """
    try:
        value = loss(output, targets)
    except UsageError:
        raise
    except Exception as error:
        raise _raised(error, targets) from error
    if not isinstance(value, Tensor):
        raise UsageError(
            f"the loss returned {type(value).__name__}, not a tensor",
            value=repr(value)[:80],
            legal="a scalar tensor computed from the model's output",
            do="return the tensor itself, without .item() or float()",
        )
    if value.numel() != 1 or not value.is_floating_point():
        raise UsageError(
            "the loss is not a scalar" if value.numel() != 1 else "the loss is not a floating-point number",
            value=f"a {_dtype(value)} tensor of shape {tuple(value.shape)}",
            legal="a floating-point tensor with one entry",
            do="reduce it: .mean(), or reduction='mean'" if value.numel() != 1 else None,
        )
    if not value.requires_grad and any(leaf.tensor.requires_grad for leaf in floating_outputs(output)):
        raise UsageError(
            "the loss does not depend on the model's output: no gradient can flow",
            value=f"a {_dtype(value)} tensor of shape {tuple(value.shape)} without grad_fn",
            do="compute it from the output itself, without detach(), .data, .item(), argmax or torch.no_grad()",
        )
    return value.reshape(())


def _raised(error: Exception, targets: Any) -> UsageError:
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if whose(frame.filename) != "ours"]
    lines = ["Traceback (most recent call last):\n", *traceback.format_list(frames)]
    text = "".join([*lines, *traceback.format_exception_only(error)]).rstrip()
    return UsageError(
        f"the loss raised {type(error).__name__}" + (": no targets were given" if targets is None else ""),
        value=textwrap.indent(text, " " * 9).lstrip(),
        legal="loss(output, target), called with the model's output as returned",
        do=GIVE_TARGETS if targets is None else None,
    )


def _cross_entropy(output: Any, target: Any) -> Tensor:
    return functional.cross_entropy(*_classes_second(output, target, "cross_entropy"))


def _nll(output: Any, target: Any) -> Tensor:
    return functional.nll_loss(*_classes_second(output, target, "nll"))


def _paired(function: Callable[[Tensor, Tensor], Tensor], name: str) -> Loss:
    def loss(output: Any, target: Any) -> Tensor:
        tensor, aim = _pair(output, target, name)
        aim = aim.to(tensor.dtype) if not aim.is_complex() else aim
        return function(tensor, aim.reshape(tensor.shape) if _same_shape(tensor, aim) else aim)

    loss.__name__ = name
    return loss


def _complex_mse(output: Tensor, target: Tensor) -> Tensor:
    return (output - target).abs().square().mean() if output.is_complex() else functional.mse_loss(output, target)


_bce_with_logits = _paired(functional.binary_cross_entropy_with_logits, "bce_with_logits")
_mse = _paired(_complex_mse, "mse")

NAMES: dict[str, Loss] = {
    "cross_entropy": _cross_entropy,
    "nll": _nll,
    "bce": _paired(functional.binary_cross_entropy, "bce"),
    "bce_with_logits": _bce_with_logits,
    "mse": _mse,
    "l1": _paired(functional.l1_loss, "l1"),
    "smooth_l1": _paired(functional.smooth_l1_loss, "smooth_l1"),
    "huber": _paired(functional.huber_loss, "huber"),
    "poisson_nll": _paired(functional.poisson_nll_loss, "poisson_nll"),
    "soft_margin": _paired(functional.soft_margin_loss, "soft_margin"),
}
"""Every loss by the name that is listed."""

_OTHER_NAMES = {
    "ce": "cross_entropy", "xent": "cross_entropy", "softmaxcrossentropy": "cross_entropy",
    "negativeloglikelihood": "nll",
    "binarycrossentropy": "bce", "binarycrossentropywithlogits": "bce_with_logits", "bcelogits": "bce_with_logits",
    "l2": "mse", "meansquarederror": "mse", "meansquares": "mse", "mae": "l1", "meanabsoluteerror": "l1",
}  # fmt: skip
_BY_KEY: dict[str, Loss] = {name.replace("_", ""): loss for name, loss in NAMES.items()} | {
    key: NAMES[name] for key, name in _OTHER_NAMES.items()
}


def _classes_second(output: Any, target: Any, name: str) -> tuple[Tensor, Tensor]:
    """The output with classes on axis 1, and class indices (or shares of the output's shape) that fit it."""
    tensor, aim = _pair(output, target, name)
    if aim.is_floating_point() or (aim.shape == tensor.shape and tensor.ndim > 1):
        axis = _share_axis(aim) if aim.shape == tensor.shape else 1
        return tensor.movedim(axis, 1), aim.to(tensor.dtype).movedim(axis, 1)
    aim = aim.long()
    indexed = class_axis(tensor, aim)
    if indexed is None:
        return tensor, aim.reshape(-1) if tensor.ndim == 2 and aim.numel() == tensor.shape[0] else aim
    tensor = tensor.movedim(indexed, 1)
    return tensor, aim.reshape(tensor.shape[:1] + tensor.shape[2:])


def class_axis(output: Tensor, target: Tensor) -> int | None:
    """Returns the axis of `output` that class targets leave out: 1 (torch's own reading), the last, or None."""
    shape = tuple(output.shape)
    if len(shape) < 2:
        return None
    aims = {tuple(target.shape)} | ({tuple(target.shape[:-1])} if target.ndim > 1 and target.shape[-1] == 1 else set())
    if shape[:1] + shape[2:] in aims:
        return 1
    return len(shape) - 1 if shape[:-1] in aims else None


def _share_axis(target: Tensor) -> int:
    """The axis along which shares sum to one, 1 where none does."""
    for axis in (1, target.ndim - 1):
        sums = target.double().sum(axis)
        if bool(torch.allclose(sums, torch.ones_like(sums), atol=1e-3)):
            return axis
    return 1


def _fits_classes(tensor: Tensor, target: Tensor) -> bool:
    if tensor.ndim < 2 or target.numel() == 0:
        return False
    axis = class_axis(tensor, target)
    if axis is None and not (tensor.ndim == 2 and target.numel() == tensor.shape[0]):
        return False
    classes = tensor.shape[1 if axis is None else axis]
    return classes > 1 and int(target.min()) >= -100 and 0 <= int(target.max()) < classes


def _same_shape(tensor: Tensor, target: Tensor) -> bool:
    """Whether both have the same shape but for axes of length one."""
    return [size for size in tensor.shape if size != 1] == [size for size in target.shape if size != 1]


def _pair(output: Any, target: Any, name: str) -> tuple[Tensor, Tensor]:
    tensor, aim = loss_output(output), _first_tensor(target)
    if tensor is None:
        raise UsageError(f"the loss {name} found no floating-point tensor in the output", value=type(output).__name__)
    if aim is None:
        raise UsageError(
            f"the loss {name} needs targets" + ("" if target is None else " that are a tensor"),
            value=None if target is None else type(target).__name__,
            do=GIVE_TARGETS,
        )
    return tensor, aim.to(tensor.device)


def _first_tensor(value: Any) -> Tensor | None:
    if isinstance(value, Tensor):
        return value
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, tuple | list) else ()
    return next((found for found in map(_first_tensor, inner) if found is not None), None)


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
