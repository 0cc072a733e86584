"""INI604 outlier-weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import initscope
from initscope.checker.instruments.outliers import outliers
from initscope.checker.rules.outlier_weights import OutlierWeights
from tests.check.rules.built import alarms, findings, mended

Draw = Callable[[Tensor], Any]


def _with(draw: Draw, *, size: int = 64) -> Callable[[], Any]:
    def build() -> Any:
        net = nn.Sequential(nn.Linear(size, size), nn.Tanh(), nn.Linear(size, 2))
        with torch.no_grad():
            draw(net[0].weight)
        return net, torch.randn(8, size)

    return build


def _clamped(weight: Tensor) -> None:
    weight.uniform_(-1.0, 1.0)
    weight.copy_(torch.where(weight.abs() > 0.997, weight.sign() * 2.0, weight.erfinv() * 0.02))


@pytest.mark.parametrize(
    "draw",
    [
        lambda w: w.cauchy_(0.0, 0.05),
        _clamped,
        lambda w: w.copy_(torch.randn_like(w) / torch.rand_like(w).square() * 0.01),
        lambda w: w.copy_(torch.distributions.StudentT(1.5).sample(w.shape) * 0.05),
    ],
)
def test_single_entries_far_out_are_found_and_the_fix_helps(draw: Draw) -> None:
    (one,) = alarms(OutlierWeights, _with(draw))
    assert (one.severity, one.where) == ("warn", ("0.weight",))
    assert alarms(OutlierWeights, mended(_with(draw), one.fix)) == ()


def test_the_message_counts_them_and_says_how_far_they_lie() -> None:
    (one,) = alarms(OutlierWeights, _with(_clamped))
    assert one.message == (
        f"0.weight [64, 64] holds {one.evidence['count']} entries up to 2, {one.evidence['z']:.0f} standard deviations "
        "of the rest: "
        f"{one.evidence['repeated']} entries sit at exactly the same largest magnitude, as clamping leaves those that "
        "a draw threw out"
    )


def _rows(weight: Tensor) -> None:
    weight.copy_(torch.randn_like(weight) * torch.where(torch.arange(len(weight)) < 8, 1.0, 0.01)[:, None])


def _gates(weight: Tensor) -> None:
    weight[:16].normal_(std=2.0)
    weight[16:].normal_(std=0.02)


def _laplace(weight: Tensor) -> None:
    weight.copy_(torch.distributions.Laplace(0.0, 0.1).sample(weight.shape))


@pytest.mark.parametrize(
    "draw",
    [
        nn.init.normal_,
        nn.init.xavier_uniform_,
        nn.init.trunc_normal_,
        nn.init.orthogonal_,
        nn.init.eye_,
        _rows,
        _gates,
        _laplace,
        lambda w: nn.init.sparse_(w, 0.9),
        lambda w: w.copy_(torch.eye(64) + 0.001 * torch.randn(64, 64)),
        lambda w: nn.init.trunc_normal_(w, std=0.02),
        lambda w: w.copy_(torch.randn(64, 64).roll(3) * (torch.rand(64, 64) < 0.1)),
        lambda w: w.normal_(std=0.01).fill_diagonal_(1.0),
        lambda w: w.copy_(torch.randn(64, 1) @ torch.randn(1, 64)),
    ],
)
def test_light_laws_and_deliberate_structures_are_sound(draw: Draw) -> None:
    assert findings(OutlierWeights, _with(draw)) == ()


def test_a_trained_looking_model_without_its_factory_is_sound() -> None:
    net, x = _with(lambda w: w.cauchy_(0.0, 0.05))()
    assert initscope.check(net, x, select=["outlier-weights"]).findings == ()


def test_entries_put_in_at_random_places_after_the_draw_are_found() -> None:
    def injected(weight: Tensor) -> None:
        weight.normal_(std=0.02)
        weight.view(-1)[torch.tensor([5, 77, 900, 1203, 3001])] = 3.0

    assert [one.severity for one in findings(OutlierWeights, _with(injected))] == ["warn"]


def test_one_single_entry_in_the_model_is_information() -> None:
    def one_far(weight: Tensor) -> None:
        weight.copy_(torch.where(torch.arange(4096).reshape(64, 64) == 1234, 2.0, 0.02 * torch.randn(64, 64)))

    assert [one.severity for one in findings(OutlierWeights, _with(one_far))] == ["info"]


@pytest.mark.slow
def test_ten_thousand_laplace_tensors_give_no_false_alarm_below_ten_to_the_minus_six() -> None:
    generator = torch.Generator().manual_seed(0)
    for _ in range(10_000):
        uniform = torch.rand(20, 20, generator=generator) - 0.5
        found = outliers(-uniform.sign() * torch.log1p(-2 * uniform.abs()))
        assert found is None or found.log10_p > -6
