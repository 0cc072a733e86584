"""layer-dead and dead-units: rectifiers that never open."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from initscope.checker.rules.dead_units import DeadUnits, rejected
from initscope.checker.rules.layer_dead import LayerDead
from tests.check.rules.judging import alarms, assert_fix_ends, findings

X = torch.randn(32, 10, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(32) % 3


class Written(nn.Module):
    """A rectifier layer written by hand; `offset` is its bias, `open_` the function."""

    def __init__(self, offset: float, open_: Callable[[Tensor], Tensor] = functional.relu) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.randn(10, 32) * 0.3)
        self.offset = nn.Parameter(torch.full((32,), offset))
        self.last = nn.Linear(32, 3)
        self.open = open_

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.open(x @ self.matrix + self.offset))


def _shut_norm(shift: float = -1.0) -> nn.Module:
    net = nn.Sequential(nn.Linear(10, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3))
    nn.init.zeros_(net[1].weight)
    nn.init.constant_(net[1].bias, shift)
    return net


def _at_the_top() -> nn.Module:
    net = nn.Sequential(nn.Linear(10, 16), nn.ReLU6(), nn.Linear(16, 3))
    nn.init.constant_(net[0].bias, 30.0)
    return net


@pytest.mark.parametrize(
    "build",
    [lambda: Written(-10.0), lambda: Written(-10.0, lambda x: x.clamp(min=0)), _shut_norm, _at_the_top],
)
def test_a_layer_that_is_off_as_a_whole_is_an_error_and_its_fix_ends_it(build: Callable[[], nn.Module]) -> None:
    (found,) = findings(LayerDead, build, X, LABELS, functional.cross_entropy)
    assert found.severity == "error"
    assert_fix_ends(LayerDead, build, X, LABELS, functional.cross_entropy)


def test_the_message_of_a_dead_layer_says_where_its_input_lies() -> None:
    (found,) = findings(LayerDead, _shut_norm, X, LABELS, functional.cross_entropy)
    assert found.message == (
        "all 16 units behind 0 are off for all 32 rows of the batch: what relu reads lies between -1 and -1, "
        "on its flat part, and no gradient passes"
    )
    assert found.where == ("0",)
    assert found.fix == (
        'initscope.initialize(model, {"0.weight": "he_normal", '
        '"1.weight": "ones", "1.bias": "zeros", "0.bias": "zeros"})'
    )


def test_a_dead_output_is_said_to_be_one() -> None:
    def build() -> nn.Module:
        net = nn.Sequential(nn.Linear(10, 16), nn.Tanh(), nn.Linear(16, 4), nn.ReLU())
        nn.init.constant_(net[2].bias, -9.0)
        return net

    (found,) = findings(LayerDead, build, X, X[:, :4].abs(), functional.mse_loss)
    assert found.where == ("2",)
    assert "the output is one constant for ever" in found.message
    assert "softplus" in found.fix


def test_of_layers_dead_in_a_row_the_first_is_told_and_the_others_counted() -> None:
    def build() -> nn.Module:
        net = nn.Sequential(nn.Linear(10, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3))
        nn.init.constant_(net[0].bias, -20.0)
        nn.init.constant_(net[2].bias, -20.0)
        return net

    (found,) = findings(LayerDead, build, X, LABELS, functional.cross_entropy)
    assert found.where == ("0",)
    assert found.evidence["consequences"] == 1


class FreeBits(nn.Module):
    """Its divergence lies below the floor at the start, as it should."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Linear(10, 8), nn.Linear(4, 10)
        nn.init.normal_(self.encoder.weight, std=0.01)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, logvar = self.encoder(x).chunk(2, 1)
        divergence = 0.5 * (mean**2 + logvar.exp() - logvar - 1)
        return self.decoder(mean + torch.randn_like(mean) * (0.5 * logvar).exp()), divergence.clamp(min=0.5).sum(
            1
        ).mean()


def test_a_floor_under_a_divergence_is_no_dead_layer() -> None:
    assert not findings(LayerDead, FreeBits, X, X, lambda out, aim: functional.mse_loss(out[0], aim) + out[1])


class Experts(nn.Module):
    """The best of eight experts for each sample."""

    def __init__(self) -> None:
        super().__init__()
        self.router = nn.Linear(10, 8)
        self.experts = nn.ModuleList(nn.Sequential(nn.Linear(10, 16), nn.ReLU(), nn.Linear(16, 3)) for _ in range(8))

    def forward(self, x: Tensor) -> Tensor:
        share, chosen = self.router(x).softmax(-1).max(-1)
        out = x.new_zeros(len(x), 3)
        for number, expert in enumerate(self.experts):
            rows = (chosen == number).nonzero()[:, 0]
            if len(rows):
                out = out.index_add(0, rows, expert(x[rows]) * share[rows, None])
        return out


@pytest.mark.parametrize(
    "build",
    [
        lambda: Written(0.0),
        lambda: Written(-10.0, functional.leaky_relu),
        Experts,
        lambda: nn.Sequential(nn.Linear(10, 4), nn.ReLU(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 3)),
        lambda: nn.Sequential(*[m for _ in range(12) for m in (nn.Linear(10, 10), nn.ReLU())], nn.Linear(10, 3)),
    ],
)
def test_sound_rectifiers_are_neither_dead_nor_mostly_off(build: Callable[[], nn.Module]) -> None:
    assert not findings((LayerDead, DeadUnits), build, X, LABELS, functional.cross_entropy)


def _spread_kinks(low: float = -14.0) -> nn.Module:
    net = nn.Sequential(nn.Linear(10, 96), nn.ReLU(), nn.Linear(96, 3))
    nn.init.normal_(net[0].weight, std=10**-0.5)
    nn.init.uniform_(net[0].bias, low, 0.0)
    return net


def _shifted() -> nn.Module:
    net = nn.Sequential(nn.Conv2d(1, 32, 3), nn.BatchNorm2d(32), nn.ReLU(), nn.Flatten(), nn.Linear(32 * 36, 3))
    nn.init.uniform_(net[1].bias, -24.0, 0.0)
    return net


def test_layers_with_most_units_off_are_warned_of_and_the_fix_ends_it() -> None:
    assert_fix_ends(DeadUnits, _spread_kinks, X, LABELS, functional.cross_entropy)
    assert_fix_ends(DeadUnits, lambda: Written(-2.5), X, LABELS, functional.cross_entropy)
    assert_fix_ends(DeadUnits, _shifted, torch.rand(32, 1, 8, 8), LABELS, functional.cross_entropy)
    assert not findings(DeadUnits, lambda: _spread_kinks(-1.5), X, LABELS, functional.cross_entropy)


def test_a_dead_layer_explains_itself_once() -> None:
    found = alarms((LayerDead, DeadUnits), lambda: Written(-10.0), X, LABELS, functional.cross_entropy)
    assert [one.name for one in found] == ["layer-dead"]


def test_half_of_the_units_off_by_chance_alarms_less_than_once_in_a_thousand_models() -> None:
    """Null: each of 8 layers has Binomial(m, 1/2) units off. 2000 models, at most 2 alarms expected; 12: p < 1e-6."""
    from scipy import stats

    drawn = np.random.default_rng(0)
    units = np.array([8, 16, 32, 64, 64, 128, 256, 512])
    alarmed = 0
    for _ in range(2000):
        off = drawn.binomial(units, 0.5)
        alarmed += bool(rejected([float(one) for one in stats.binom.sf(off - 1, units, 0.5)], level=1e-3))
    assert alarmed < 12
