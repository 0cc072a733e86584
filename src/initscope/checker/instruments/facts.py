"""What each parameter is at the start, and what arrived at it in the first backward pass."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from initscope.base.errors import UsageError
from initscope.checker.evidence import ParameterFacts
from initscope.checker.instruments.recording import grad_state
from initscope.modules.slots import parameter_slots

NAN = float("nan")


def parameter_facts(model: nn.Module) -> dict[str, ParameterFacts]:
    """Returns the facts of every parameter and, after them, of every buffer, by path (first name of tied ones)."""
    slots = _slots(model)
    names: dict[int, list[str]] = {}
    for path, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(path)
    owners = {path: type(module).__name__ for path, module in model.named_modules()}
    found: dict[str, ParameterFacts] = {}
    for path, tensor in model.named_parameters():
        slot = slots.get(path)
        found[path] = replace(
            _facts(owners, path, tensor),
            tied=tuple(one for one in names[id(tensor)] if one != path),
            role=slot.role if slot else "other",
            fan_in=slot.fan_in if slot else None,
            fan_out=slot.fan_out if slot else None,
        )
    for path, buffer in model.named_buffers():
        found[path] = replace(_facts(owners, path, buffer), buffer=True, role="buffer")
    return found


def with_gradients(
    facts: Mapping[str, ParameterFacts], model: nn.Module, used: frozenset[str]
) -> dict[str, ParameterFacts]:
    """Returns the facts with what the backward pass left in `.grad`, and whether the forward pass read each one."""
    return {
        **facts,
        **{path: _with_gradient(facts[path], one, used) for path, one in model.named_parameters() if path in facts},
    }


def _with_gradient(facts: ParameterFacts, parameter: Tensor, used: frozenset[str]) -> ParameterFacts:
    reads = facts.path in used
    if not parameter.requires_grad:
        return replace(facts, used=reads)
    gradient = grad_state(parameter)
    if gradient is None:
        return replace(facts, used=reads, grad="none")
    plain = torch.view_as_real(gradient) if gradient.is_complex() else gradient
    peak, rms = peak_and_rms(plain)
    return replace(
        facts,
        used=reads,
        grad="zero" if peak == 0 else "some",
        grad_rms=rms,
        grad_max=peak,
    )


def peak_and_rms(tensor: Tensor) -> tuple[float, float]:
    """Returns the largest magnitude and the root mean square, without a copy of `tensor` where none is needed."""
    if tensor.numel() == 0:
        return 0.0, 0.0
    wide = tensor if tensor.dtype in (torch.float32, torch.float64) else tensor.float()
    low, high = (float(one) for one in torch.aminmax(wide))
    peak = max(abs(low), abs(high))
    if not 0 < peak < float("inf"):
        return peak, peak
    scale = 1.0 if 1e-12 < peak < 1e12 else peak
    size = float(torch.linalg.vector_norm(wide if scale == 1.0 else wide / scale))
    return peak, scale * size / tensor.numel() ** 0.5


def _facts(owners: Mapping[str, str], path: str, tensor: Tensor) -> ParameterFacts:
    module, _, _ = path.rpartition(".")
    basic = ParameterFacts(
        path=path,
        shape=() if _is_lazy(tensor) else tuple(tensor.shape),
        dtype=str(tensor.dtype)[6:],
        trainable=tensor.requires_grad,
        layer=owners.get(module, ""),
        module=module,
    )
    if (
        _is_lazy(tensor)
        or tensor.is_meta
        or tensor.numel() == 0
        or tensor.layout != torch.strided
        or tensor.is_quantized
    ):
        return basic
    with torch.no_grad():
        return replace(basic, **_statistics(tensor.detach()))


def _statistics(tensor: Tensor) -> dict[str, Any]:
    plain = torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor
    if plain.dtype == torch.bool or not plain.is_floating_point():
        return {"constant": bool((plain == plain.reshape(-1)[0]).all()), "zero": not bool(plain.any())}
    wide = plain if plain.dtype in (torch.float32, torch.float64) else plain.float()
    low, high = (float(one) for one in torch.aminmax(wide))
    if not (math.isfinite(low) and math.isfinite(high)):
        return {"finite": False, "low": low, "high": high}
    peak = max(abs(low), abs(high))
    scale = 1.0 if 1e-12 < peak < 1e12 else peak or 1.0
    variance, mean = (float(one) for one in torch.var_mean(wide if scale == 1.0 else wide / scale, correction=0))
    peak = scale
    return {
        "mean": mean * peak,
        "std": variance**0.5 * peak,
        "rms": (variance + mean * mean) ** 0.5 * peak,
        "low": low,
        "high": high,
        "zero": low == 0 and high == 0,
        "constant": low == high,
    }


def _slots(model: nn.Module) -> dict[str, Any]:
    try:
        return {slot.path: slot for slot in parameter_slots(model, frozen=True)}
    except UsageError:
        return {}  # lazy or foreign parameters: roles are then not known, and nothing else depends on them


def _is_lazy(tensor: Tensor) -> bool:
    return bool(nn.parameter.is_lazy(tensor))
