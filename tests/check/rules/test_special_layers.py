"""INI801 ill-conditioned, INI802 sine-frequency, INI803 variance-head."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from initscope.checker.instruments.spectra import stable_rank
from initscope.checker.rules.ill_conditioned import IllConditioned
from initscope.checker.rules.sine_frequency import SineFrequency
from initscope.checker.rules.variance_head import VarianceHead
from tests.check.rules.chain_models import INPUTS, LABELS, LOSS, he, plain
from tests.check.rules.judging import alarms, assert_fix_ends


def _positive(weight: Tensor) -> object:
    return nn.init.uniform_(weight, 0.0, 0.05)


def _narrow(weight: Tensor) -> object:
    thin = torch.randn(len(weight), 2) @ torch.randn(2, weight.shape[1]) / len(weight) ** 0.5
    with torch.no_grad():
        return weight.copy_(thin)


def _sharp(weight: Tensor) -> object:
    return nn.init.normal_(weight, std=weight.shape[1] ** -0.5)


def test_the_stable_rank_is_that_of_the_singular_values() -> None:
    matrix = torch.randn(20, 30, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(matrix.double())
    assert stable_rank(torch.eye(7)) == pytest.approx(7)
    assert stable_rank(matrix) == pytest.approx(float(values.square().sum() / values[0] ** 2), rel=0.05)


def test_positive_and_narrow_matrices_are_found() -> None:
    (one,) = alarms(IllConditioned, plain(4, activation=nn.Tanh, draw=_positive), INPUTS, LABELS, LOSS)
    rank = float(one.evidence["stable_rank"] or 0)
    assert one.message == (
        f"{one.where[0]} has a stable rank of {rank:.2g} where 48 is possible: it passes next to one direction"
    )
    assert alarms(IllConditioned, plain(4, draw=_narrow), INPUTS, LABELS, LOSS)


def test_a_linear_network_deeper_than_half_its_width_is_found() -> None:
    build = plain(18, width=16, activation=nn.Identity, draw=_sharp)
    (one,) = alarms(IllConditioned, build, INPUTS, LABELS, LOSS)
    assert one.message.startswith("the product of 18 matrices has a stable rank of ")


def test_the_fix_of_an_ill_conditioned_chain_ends_the_finding() -> None:
    assert_fix_ends(IllConditioned, plain(4, draw=_narrow), INPUTS, LABELS, LOSS)
    assert_fix_ends(IllConditioned, plain(18, width=16, activation=nn.Identity, draw=_sharp), INPUTS, LABELS, LOSS)


def test_usual_matrices_are_left_in_peace() -> None:
    for draw in (None, he, nn.init.orthogonal_, nn.init.eye_, _sharp):
        assert not alarms(IllConditioned, plain(8, draw=draw), INPUTS, LABELS, LOSS)


class _Waves(nn.Module):
    def __init__(self, *, omega: float, first: float, hidden: float) -> None:
        super().__init__()
        self.omega = omega
        self.a, self.b, self.c, self.head = nn.Linear(2, 32), nn.Linear(32, 32), nn.Linear(32, 32), nn.Linear(32, 4)
        nn.init.uniform_(self.a.weight, -first, first)
        for layer in (self.b, self.c):
            nn.init.uniform_(layer.weight, -hidden, hidden)

    def forward(self, x: Tensor) -> Tensor:
        for layer in (self.a, self.b, self.c):
            x = torch.sin(self.omega * layer(x))
        return self.head(x)


PLACES = 2 * torch.rand(64, 2, generator=torch.Generator().manual_seed(4)) - 1
WHICH = torch.arange(64) % 4
BOUND = math.sqrt(6 / 32)


def test_hidden_sines_that_turn_too_far_are_found_and_mended() -> None:
    build = lambda: _Waves(omega=30, first=0.5, hidden=BOUND)  # noqa: E731  # one line
    found = alarms(SineFrequency, build, PLACES, WHICH, LOSS)
    assert [one.where for one in found] == [("b.weight",), ("c.weight",)]
    turn = float(found[0].evidence["argument_std"] or 0)
    assert found[0].message == f"the sine behind it turns by {turn:.3g} rad (one standard deviation): it starts chaotic"
    assert_fix_ends(SineFrequency, build, PLACES, WHICH, LOSS)


def test_a_first_sine_that_hardly_bends_is_found_and_mended() -> None:
    build = lambda: _Waves(omega=30, first=0.5 / 30, hidden=BOUND / 30)  # noqa: E731  # one line
    (one,) = alarms(SineFrequency, build, PLACES, WHICH, LOSS)
    assert one.where == ("a.weight",)
    assert_fix_ends(SineFrequency, build, PLACES, WHICH, LOSS)


def test_places_in_pixels_are_found() -> None:
    build = lambda: _Waves(omega=30, first=0.5, hidden=BOUND / 30)  # noqa: E731  # one line
    (one,) = alarms(SineFrequency, build, PLACES * 512, WHICH, LOSS)
    assert one.fix == "scale the inputs to -1 ... 1 before the first layer"
    assert not alarms(SineFrequency, build, PLACES, WHICH, LOSS)


class _Fourier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("waves", 40 * torch.randn(2, 16))
        self.head = nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 4))

    def forward(self, x: Tensor) -> Tensor:
        angle = x @ self.waves
        return self.head(torch.cat([angle.sin(), angle.cos()], -1))


def test_fixed_fourier_features_and_plain_sines_are_left_in_peace() -> None:
    assert not alarms(SineFrequency, _Fourier, PLACES, WHICH, LOSS)
    assert not alarms(SineFrequency, lambda: _Waves(omega=1, first=0.5, hidden=BOUND), PLACES, WHICH, LOSS)


class _Gaussian(nn.Module):
    def __init__(self, *, std: float, start: float = 0.0, bounded: bool = False) -> None:
        super().__init__()
        self.body, self.mean, self.spread = nn.Linear(16, 32), nn.Linear(32, 1), nn.Linear(32, 1)
        self.bounded = bounded
        nn.init.normal_(self.spread.weight, std=std)
        nn.init.constant_(self.spread.bias, start)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = functional.gelu(self.body(x))
        spread = self.spread(h)
        return self.mean(h), 3 * torch.tanh(spread) if self.bounded else spread


def _likelihood(output: tuple[Tensor, Tensor], target: Tensor) -> Tensor:
    mean, log_var = output
    return (log_var + (target - mean) ** 2 * torch.exp(-log_var)).mean()


def _normal(output: tuple[Tensor, Tensor], target: Tensor) -> Tensor:
    mean, log_std = output
    return (log_std + 0.5 * ((target - mean) / log_std.exp()) ** 2).mean()


VALUES = INPUTS[:, :1]


def test_a_wild_log_variance_is_found_with_its_range_and_mended() -> None:
    build = lambda: _Gaussian(std=10.0)  # noqa: E731  # one line
    (one,) = alarms(VarianceHead, build, INPUTS, VALUES, _likelihood)
    low, high = float(one.evidence["low"] or 0), float(one.evidence["high"] or 0)
    assert one.where == ("spread.weight", "spread.bias")
    assert one.message == (
        f"what is exponentiated lies between {low:.3g} and {high:.3g}: a factor of e^{high:.3g} reaches the loss"
    )
    assert_fix_ends(VarianceHead, build, INPUTS, VALUES, _likelihood)


def test_a_tiny_start_of_variance_or_deviation_is_found() -> None:
    assert alarms(VarianceHead, lambda: _Gaussian(std=0.01, start=-11.0), INPUTS, VALUES, _likelihood)
    assert alarms(VarianceHead, lambda: _Gaussian(std=0.01, start=-6.0), INPUTS, VALUES, _normal)


def test_small_and_bounded_heads_are_left_in_peace() -> None:
    assert not alarms(VarianceHead, lambda: _Gaussian(std=0.1), INPUTS, VALUES, _likelihood)
    assert not alarms(VarianceHead, lambda: _Gaussian(std=10.0, bounded=True), INPUTS, VALUES, _likelihood)


class _Kernels(nn.Module):
    """Radial units and a softmax written by hand: exponents far below zero that do no harm."""

    def __init__(self) -> None:
        super().__init__()
        self.centres, self.head = nn.Parameter(3 * torch.randn(24, 16)), nn.Linear(24, 4)

    def forward(self, x: Tensor) -> Tensor:
        units = torch.exp(-(x[:, None] - self.centres).square().sum(-1))
        scores = 20 * self.head(units)
        shares = torch.exp(scores - scores.amax(-1, keepdim=True))
        return torch.log(shares / shares.sum(-1, keepdim=True) + 1e-9)


def test_kernels_and_a_softmax_by_hand_are_left_in_peace() -> None:
    assert not alarms(VarianceHead, _Kernels, INPUTS, LABELS, functional.nll_loss)
