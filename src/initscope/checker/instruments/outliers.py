"""Single entries of a tensor that no law with light tails gives."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

FEWEST = 100
"""Entries below which a scale is not known well enough."""

QUARTILE_NORMAL, QUARTILE_LAPLACE = 0.6744897501960817, 0.6931471805599453
"""Upper quartiles of the standard laws."""


SAMPLE = 100_000
"""Entries that the bulk of a law is read from; of larger tensors every so-manyth."""


@dataclass(frozen=True, kw_only=True)
class Outliers:
    """Entries far out: how many, the largest in standard deviations of the bulk, and how likely that is.

    `log10_p` is the logarithm of the p-value of the largest magnitude under independent draws from a Laplace law of the
    bulk's quartiles, `log10_p_normal` under a normal law; `repeated` how many entries share the largest magnitude.
    """

    count: int
    z: float
    bulk_std: float
    largest: float
    log10_p: float
    log10_p_normal: float
    repeated: int
    first: tuple[int, ...]


def outliers(tensor: Tensor) -> Outliers | None:
    """Returns the outliers of a tensor; None for one without, or whose structure explains them.

    The null: entries are independent draws from one symmetric law whose tails are no heavier than Laplace's (uniform,
    normal, truncated, logistic, products of two normals). Scales that differ between rows, columns or other slices,
    diagonals, and tensors of which more than a fifth is zero are structure.
    """
    values = tensor.detach()
    values = values if values.dtype in (torch.float32, torch.float64) else values.float()
    flat = values.reshape(-1)
    n = flat.numel()
    if n < FEWEST:
        return None
    least, most = (float(one) for one in torch.aminmax(flat))
    if not (math.isfinite(least) and math.isfinite(most)) or n - int(torch.count_nonzero(flat)) > 0.2 * n:
        return None
    sample = flat[:: max(1, n // SAMPLE)].double()
    ordered = sample.sort().values
    low, middle, high = (float(ordered[int(share * (len(ordered) - 1))]) for share in (0.25, 0.5, 0.75))
    spread = (high - low) / 2
    if spread <= 0 or abs(middle) > spread / 2:
        return None
    inflated = spread * (1 + 6.0 / math.sqrt(len(ordered)))
    largest = max(most - middle, middle - least)
    laplace = largest / inflated * QUARTILE_LAPLACE
    normal = largest / inflated * QUARTILE_NORMAL
    log10_p = _of_many(-laplace / math.log(10), n)
    if log10_p > -4:
        return None
    deviation = (values.double() - middle).abs()
    largest = float(deviation.max())
    bar = (math.log(n) + 14) / QUARTILE_LAPLACE * inflated
    far = deviation > min(bar, largest)
    far |= deviation == largest
    if _structured(deviation, far):
        return None
    index = int(deviation.reshape(-1).argmax())
    return Outliers(
        count=int(far.sum()),
        z=normal,
        bulk_std=spread / QUARTILE_NORMAL,
        largest=largest,
        log10_p=log10_p,
        log10_p_normal=_of_many(_log10_normal_tail(normal), n),
        repeated=int((values.abs() == values.abs().max()).sum()),
        first=tuple(int(one) for one in torch.unravel_index(torch.tensor(index), values.shape)),
    )


def _of_many(log10_tail: float, n: int) -> float:
    """log10 of 1 - (1 - p)^n, the law of the largest of n."""
    if log10_tail + math.log10(n) < -3:
        return log10_tail + math.log10(n)
    tail = min(10.0**log10_tail, 1.0)
    return math.log10(max(-math.expm1(n * math.log1p(-tail)), 1e-300)) if tail < 1 else 0.0


def _log10_normal_tail(z: float) -> float:
    """log10 of P(|Z| > z), by the asymptotic law far out."""
    if z < 30:
        return math.log10(max(math.erfc(z / math.sqrt(2)), 1e-300))
    return (-z * z / 2 - math.log(z) + 0.5 * math.log(2 / math.pi)) / math.log(10)


def _structured(deviation: Tensor, far: Tensor) -> bool:
    """Whether the far entries stand in slices of a larger scale, or in a regular pattern."""
    if deviation.ndim < 2:
        return False
    everywhere = float(deviation.median())
    unexplained = far.clone()
    for axis, size in enumerate(deviation.shape):
        if size < 2 or deviation.numel() // size < 8:
            continue
        slices = deviation.movedim(axis, 0).reshape(size, -1)
        wide = slices.median(dim=1).values > 3 * everywhere
        shape = [size if number == axis else 1 for number in range(deviation.ndim)]
        unexplained &= ~wide.reshape(shape)
        counts = far.movedim(axis, 0).reshape(size, -1).sum(1)
        if size >= 4 and int(counts.min()) == int(counts.max()) > 0:
            return True
    if not bool(unexplained.any()):
        return True
    rows = far.reshape(far.shape[0], -1)
    places = rows.nonzero()
    if len(places) >= 4:
        offsets = torch.bincount(places[:, 1] - places[:, 0] + rows.shape[0])
        common = offsets.topk(min(3, len(offsets))).values
        if int(common[0]) >= 4 and int(common.sum()) > 0.5 * len(places):
            return True
    return False
