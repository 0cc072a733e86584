"""INI603 dtype-headroom."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from initscope.checker.rules.dtype_headroom import DtypeHeadroom
from tests.check.rules.built import alarms, findings


class _Scaled(nn.Module):
    def __init__(self, inner: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.enter, self.leave, self.inner = nn.Linear(16, 16), nn.Linear(16, 3), inner

    def forward(self, x: Tensor) -> Tensor:
        return self.leave(self.inner(self.enter(x)).clamp(-4, 4))


def _loss(output: Tensor, target: Tensor) -> Tensor:
    return functional.cross_entropy(output.float(), target)


def _half(
    inner: Callable[[Tensor], Tensor], loss: Callable[[Tensor, Tensor], Tensor] = _loss, scale: float = 1.0
) -> Callable[[], Any]:
    return lambda: (_Scaled(inner).half(), (torch.randn(12, 16) * scale).half(), torch.arange(12) % 3, loss)


def test_a_peak_near_the_limit_is_a_warning_with_its_numbers() -> None:
    (one,) = alarms(DtypeHeadroom, _half(lambda x: x.clamp(-0.5, 0.5) * 200.0 * 200.0))
    assert one.message == (
        "the result of mul in _Scaled reaches 2e+04, 0.31 of the largest number in float16 (65504): the first larger "
        "batch or step overflows"
    )
    assert (one.severity, one.where) == ("warn", ("(_Scaled)",))


def test_an_overflow_from_finite_numbers_is_an_error() -> None:
    (one,) = alarms(DtypeHeadroom, _half(lambda x: (x * 300).pow(2)))
    assert (one.severity, one.evidence["overflow"]) == ("error", True)


def test_large_inputs_are_found_at_the_layer_that_multiplies_them() -> None:
    (one,) = alarms(DtypeHeadroom, _half(lambda x: x / 1000, scale=8000.0))
    assert one.evidence["overflow"] is False


def test_vanishing_gradients_are_a_warning() -> None:
    (one,) = alarms(DtypeHeadroom, _half(lambda x: x, lambda output, target: _loss(output, target) / 4096))
    assert one.severity == "warn" and float(one.evidence["tiny_share"] or 0) > 0.99


def _masked(x: Tensor) -> Tensor:
    mask = torch.ones(12, 12).triu(1).bool()
    return (x @ x.t() / 4).masked_fill(mask, torch.finfo(x.dtype).min).softmax(-1) @ x


def _added(x: Tensor) -> Tensor:
    bias = torch.full((12, 12), torch.finfo(x.dtype).min, dtype=x.dtype).triu(1)
    return (x @ x.t() / 4 + bias).softmax(-1) @ x


def _chosen(x: Tensor) -> Tensor:
    mask = torch.ones(12, 12).triu(1).bool()
    return torch.where(mask, torch.tensor(-6e4, dtype=x.dtype), x @ x.t() / 4).softmax(-1) @ x


@pytest.mark.parametrize("inner", [lambda x: x, _masked, _added, _chosen])
def test_a_sound_half_precision_network_and_its_masks_are_silent(inner: Callable[[Tensor], Tensor]) -> None:
    assert findings(DtypeHeadroom, _half(inner)) == ()


def test_masks_in_float32_and_peaks_in_wider_types_are_silent() -> None:
    def build() -> Any:
        return _Scaled(lambda x: _masked(x) * 1e9), torch.randn(12, 16), torch.arange(12) % 3, _loss

    assert findings(DtypeHeadroom, build) == ()
