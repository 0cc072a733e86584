"""Statistics of one activation or gradient, taken while it passes by."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from initscope.checker.instruments.trace import Moments

NAN = float("nan")
SAFE = (1e-12, 1e12)
"""Largest magnitudes whose squares, and whose small entries' squares, stay inside float32."""


def moments(tensor: Tensor, *, samples: int | None, sample_axis: int | None, unit_axis: int | None) -> Moments | None:
    """Returns the statistics of `tensor`, None for one without numbers (empty, integer, meta, sparse, quantised).

    Complex entries are taken as pairs of units. `samples` is the batch size: where the sample axis holds samples and
    positions together (sample-major), they are told apart by it.
    """
    with torch.no_grad():
        plain = _plain(tensor)
        if plain is None:
            return None
        low, high = (float(one) for one in torch.aminmax(plain))
        peak = max(abs(low), abs(high))
        if not (math.isfinite(low) and math.isfinite(high)):
            return Moments(
                rms=NAN, mean=NAN, std=NAN, spread=NAN, between=NAN, low=low, high=high, finite=False, zero_share=NAN,
                tiny_share=NAN, n=plain.numel(),
            )  # fmt: skip
        if peak == 0:
            return Moments(
                rms=0.0, mean=0.0, std=0.0, spread=0.0, between=0.0, low=0.0, high=0.0, finite=True, zero_share=1.0,
                tiny_share=0.0, n=plain.numel(),
            )  # fmt: skip
        scale = 1.0 if SAFE[0] < peak < SAFE[1] else peak
        scaled = plain if scale == 1.0 else plain / scale
        zero_share = 1.0 - int(torch.count_nonzero(plain)) / plain.numel()
        within, squares, mean = _variances(scaled, unit_axis)
        return Moments(
            rms=scale * math.sqrt(within + squares),
            mean=scale * mean,
            std=scale * math.sqrt(max(within + squares - mean * mean, 0.0)),
            spread=scale * math.sqrt(within),
            between=scale * _between(scaled, samples, sample_axis),
            low=low,
            high=high,
            finite=True,
            zero_share=zero_share,
            tiny_share=_tiny_share(tensor, plain, peak, zero_share),
            n=plain.numel(),
        )


def _variances(scaled: Tensor, unit_axis: int | None) -> tuple[float, float, float]:
    """Mean over units of the variance within one and of its squared mean, and the mean of all entries."""
    axes = [axis for axis in range(scaled.ndim) if axis != unit_axis]
    if not axes:
        return 0.0, float(scaled.square().mean()), float(scaled.mean())
    first = scaled[tuple(slice(None) if axis == unit_axis else slice(0, 1) for axis in range(scaled.ndim))]
    offsets = scaled - first
    means = offsets.mean(dim=axes, keepdim=True)
    within = _variance(offsets, means)
    means += first
    return within, float(means.square().mean()), float(means.mean())


def _variance(offsets: Tensor, means: Tensor) -> float:
    """Mean of squares less the mean's square: torch.var_mean takes ten times longer along any axis but the last.

    `offsets` are taken from one of the entries, so equal entries give exactly zero, and since that entry's own distance
    from the mean is part of the variance over n entries, what cancels is at most n roundings. `offsets` is overwritten.
    """
    return max(float(offsets.square_().mean()) - float(means.square().mean()), 0.0)


def _tiny_share(tensor: Tensor, plain: Tensor, peak: float, zero_share: float) -> float:
    """Share of the non-zero entries below the normal numbers; looked for only where the range comes near them."""
    smallest = torch.finfo(tensor.dtype).tiny
    if zero_share == 1.0 or peak > smallest * 1e12:
        return 0.0
    tiny = int(torch.count_nonzero((plain.abs() < smallest) & (plain != 0)))
    return tiny / max(plain.numel() * (1 - zero_share), 1.0)


def _between(scaled: Tensor, samples: int | None, axis: int | None) -> float:
    if axis is None or samples is None or samples < 2 or axis >= scaled.ndim or scaled.shape[axis] % samples:
        return NAN  # an in-place transposition gives gradients of another shape than the value had
    if scaled.shape[axis] != samples:
        scaled = scaled.reshape(*scaled.shape[:axis], samples, -1, *scaled.shape[axis + 1 :])
    offsets = scaled - scaled.narrow(axis, 0, 1)
    return math.sqrt(_variance(offsets, offsets.mean(dim=axis, keepdim=True)))


def _plain(tensor: Tensor) -> Tensor | None:
    if tensor.numel() == 0 or tensor.is_meta or tensor.layout != torch.strided or tensor.is_quantized:
        return None
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor.resolve_conj()).movedim(-1, 0)
        return tensor.reshape(-1, *tensor.shape[2:]) if tensor.ndim > 1 else tensor
    if not tensor.is_floating_point():
        return None
    return tensor.detach() if tensor.dtype in (torch.float32, torch.float64) else tensor.detach().float()
