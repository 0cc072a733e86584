"""Statistics of one activation or gradient, taken while it passes by."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from initscope.check.instruments.trace import Moments

NAN = float("nan")


def moments(tensor: Tensor, *, samples: int | None, sample_axis: int | None, unit_axis: int | None) -> Moments | None:
    """Returns the statistics of `tensor`, None for one without numbers (empty, integer, meta, sparse, quantised).

    Complex entries are taken as pairs of units. `samples` is the batch size: where the sample axis holds samples and
    positions together (sample-major), they are told apart by it.
    """
    with torch.no_grad():
        plain = _plain(tensor)
        if plain is None:
            return None
        smallest = torch.finfo(tensor.dtype).tiny if tensor.is_floating_point() else torch.finfo(torch.float32).tiny
        low, high = (float(one) for one in torch.aminmax(plain))
        finite = math.isfinite(low) and math.isfinite(high)
        if not finite:
            return Moments(
                rms=NAN, mean=NAN, std=NAN, spread=NAN, between=NAN, low=low, high=high, finite=False, zero_share=NAN,
                tiny_share=NAN, n=plain.numel(),
            )  # fmt: skip
        peak = max(abs(low), abs(high))
        if peak == 0:
            return Moments(
                rms=0.0, mean=0.0, std=0.0, spread=0.0, between=0.0, low=0.0, high=0.0, finite=True, zero_share=1.0,
                tiny_share=0.0, n=plain.numel(),
            )  # fmt: skip
        return _finite(plain / peak, peak, low, high, smallest, samples, sample_axis, unit_axis)


def _finite(
    scaled: Tensor, peak: float, low: float, high: float, smallest: float, samples: int | None, sample_axis: int | None,
    unit_axis: int | None,
) -> Moments:  # fmt: skip
    """The statistics of entries divided by the largest magnitude, so that no square leaves the range."""
    axes = [axis for axis in range(scaled.ndim) if axis != unit_axis]
    if axes:
        variances, means = torch.var_mean(scaled, dim=axes, correction=0)
    else:
        variances, means = torch.zeros_like(scaled), scaled
    within, squares = float(variances.mean()), float(means.square().mean())
    mean = float(means.mean())
    zeros = scaled == 0
    zero_share = float(zeros.float().mean())
    tiny = float(((scaled.abs() < smallest / peak) & ~zeros).float().mean()) if smallest / peak > 1e-45 else 0.0
    return Moments(
        rms=peak * math.sqrt(within + squares),
        mean=peak * mean,
        std=peak * math.sqrt(max(within + squares - mean * mean, 0.0)),
        spread=peak * math.sqrt(within),
        between=peak * _between(scaled, samples, sample_axis),
        low=low,
        high=high,
        finite=True,
        zero_share=zero_share,
        tiny_share=tiny / max(1 - zero_share, 1e-12),
        n=scaled.numel(),
    )


def _between(scaled: Tensor, samples: int | None, axis: int | None) -> float:
    if axis is None or samples is None or samples < 2:
        return NAN
    if scaled.shape[axis] != samples:
        scaled, axis = scaled.reshape(*scaled.shape[:axis], samples, -1, *scaled.shape[axis + 1 :]), axis
    return math.sqrt(float(torch.var(scaled, dim=axis, correction=0).mean()))


def _plain(tensor: Tensor) -> Tensor | None:
    if tensor.numel() == 0 or tensor.is_meta or tensor.layout != torch.strided or tensor.is_quantized:
        return None
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor.resolve_conj()).movedim(-1, 0)
        return tensor.reshape(-1, *tensor.shape[2:]) if tensor.ndim > 1 else tensor
    if not tensor.is_floating_point():
        return None
    return tensor.detach() if tensor.dtype in (torch.float32, torch.float64) else tensor.detach().float()
