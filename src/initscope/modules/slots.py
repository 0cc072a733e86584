"""Parameter slots: what an initializer must know of a parameter (path, shape, role, fans) without touching it."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Literal

from torch import nn

Role = Literal["weight", "bias", "norm weight", "norm bias", "embedding", "other"]

_NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


@dataclass(frozen=True, kw_only=True)
class ParameterSlot:
    """One trainable parameter of a module, described.

    `fan_in` is the number of inputs that feed one unit, `fan_out` the number of units one input feeds; both belong to
    the module, so a bias has its layer's fans. They are None where the module's layout is not known. `default_fan` is
    the count torch's own default draw uses, prod(shape[1:]) of the weight, right or wrong.
    """

    path: str
    shape: tuple[int, ...]
    role: Role
    layer: str
    fan_in: int | None
    fan_out: int | None
    default_fan: int | None


def parameter_slots(model: nn.Module) -> tuple[ParameterSlot, ...]:
    """Returns a slot for every trainable parameter of `model`, in its own order; a tied parameter appears once."""
    owners = {
        f"{name}.{leaf}" if name else leaf: module
        for name, module in model.named_modules()
        for leaf, _ in module.named_parameters(recurse=False)
    }
    return tuple(
        _slot(path, tuple(parameter.shape), owners[path])
        for path, parameter in model.named_parameters()
        if parameter.requires_grad
    )


def _slot(path: str, shape: tuple[int, ...], module: nn.Module) -> ParameterSlot:
    leaf = path.rpartition(".")[2]
    fan_in, fan_out = _fans(module)
    return ParameterSlot(
        path=path,
        shape=shape,
        role=_role(leaf, module),
        layer=type(module).__name__,
        fan_in=fan_in,
        fan_out=fan_out,
        default_fan=_default_fan(module),
    )


def _role(leaf: str, module: nn.Module) -> Role:
    if isinstance(module, _NORMS):
        return "norm bias" if leaf == "bias" else "norm weight"
    if isinstance(module, nn.Embedding | nn.EmbeddingBag):
        return "embedding"
    if isinstance(module, (nn.Linear, *_CONVOLUTIONS, *_TRANSPOSED)):
        return "bias" if leaf == "bias" else "weight"
    return "other"


def _fans(module: nn.Module) -> tuple[int | None, int | None]:
    """Fans of the module, counted on the connections, not on the tensor's shape.

    A grouped convolution's unit sees in/groups channels; each input of a stride-1 convolution reaches out/groups
    channels at every tap. A transposed convolution's weight is stored (in, out/groups, *k): its unit sees in/groups
    channels at k taps, of which a stride of s uses k/s on average (prod over dimensions).
    """
    if isinstance(module, nn.Linear):
        return module.in_features, module.out_features
    if isinstance(module, _TRANSPOSED):
        used = prod(module.kernel_size) / prod(module.stride)
        return (
            max(1, round(module.in_channels // module.groups * used)),
            module.out_channels // module.groups * prod(module.kernel_size),
        )
    if isinstance(module, _CONVOLUTIONS):
        taps, strides = prod(module.kernel_size), prod(module.stride)
        return (
            module.in_channels // module.groups * taps,
            max(1, round(module.out_channels // module.groups * taps / strides)),
        )
    return None, None


def _default_fan(module: nn.Module) -> int | None:
    weight = getattr(module, "weight", None)
    if not isinstance(module, (nn.Linear, *_CONVOLUTIONS, *_TRANSPOSED)) or weight is None:
        return None
    return max(1, prod(int(size) for size in weight.shape[1:]))
