"""What is written out by hand is judged as what torch has a name for."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from initscope.checker.rules.dead_units import DeadUnits
from initscope.checker.rules.double_activation import DoubleActivation
from initscope.checker.rules.frozen_random import FrozenRandom
from initscope.checker.rules.initial_loss import InitialLoss
from initscope.checker.rules.input_blind import InputBlind
from initscope.checker.rules.layer_dead import LayerDead
from initscope.checker.rules.prior_bias import PriorBias
from initscope.checker.rules.saturated import Saturated
from initscope.checker.rules.signal_fades import SignalFades
from initscope.checker.rules.sine_frequency import SineFrequency
from tests.check.rules.judging import alarms, assert_fix_ends, findings

X = torch.randn(64, 16, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(64) % 4

RECTIFIERS: dict[str, Callable[[Tensor], Tensor]] = {
    "maximum": lambda x: torch.maximum(x, torch.zeros(())),
    "where": lambda x: torch.where(x > 0, x, 0.0),
    "mask": lambda x: x * (x > 0),
}


class Rectified(nn.Module):
    """Two layers with a rectifier of some form between them."""

    def __init__(self, rectify: Callable[[Tensor], Tensor], low: float, units: int) -> None:
        super().__init__()
        self.body, self.head, self.rectify = nn.Linear(16, 64), nn.Linear(64, 4), rectify
        nn.init.zeros_(self.body.bias)
        with torch.no_grad():
            self.body.bias[:units] = low

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rectify(self.body(x)))


@pytest.mark.parametrize("way", RECTIFIERS)
def test_dead_units_are_found_behind_every_form_of_rectifier(way: str) -> None:
    rules = (DeadUnits, LayerDead)
    loss = functional.cross_entropy
    (some,) = alarms(rules, lambda: Rectified(RECTIFIERS[way], -9.0, 56), X, LABELS, loss)
    assert some.name == "dead-units"
    assert not findings(rules, lambda: Rectified(RECTIFIERS[way], -9.0, 0), X, LABELS, loss)


class Ended(nn.Module):
    """Two layers and some last step."""

    def __init__(self, last: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.body, self.head, self.last = nn.Linear(16, 32), nn.Linear(32, 4), last

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.head(torch.relu(self.body(x))))


def test_a_sigmoid_written_out_before_a_loss_with_its_own_is_an_error() -> None:
    wanted = (torch.rand(64, 4, generator=torch.Generator().manual_seed(2)) > 0.5).float()
    loss = functional.binary_cross_entropy_with_logits
    (found,) = findings(DoubleActivation, lambda: Ended(lambda z: 1 / (1 + torch.exp(-z))), X, wanted, loss)
    assert found.severity == "error"
    assert not findings(DoubleActivation, lambda: Ended(lambda z: 8 * torch.sigmoid(z) - 4), X, wanted, loss)


class Attending(nn.Module):
    """Attention whose softmax is written out, of queries and keys of 256 entries."""

    def __init__(self, divisor: float) -> None:
        super().__init__()
        self.table, self.head, self.divisor = nn.Embedding(2000, 256), nn.Linear(256, 4), divisor
        self.query, self.key = (nn.Parameter(torch.randn(256, 256) / 16) for _ in range(2))

    def forward(self, ids: Tensor) -> Tensor:
        h = self.table(ids)
        scores = (h @ self.query) @ (h @ self.key).transpose(1, 2) / self.divisor
        grown = torch.exp(scores - scores.max(-1, keepdim=True).values)
        return self.head((grown / grown.sum(-1, keepdim=True)) @ h).mean(1)


def test_a_softmax_written_out_saturates_like_any_other() -> None:
    ids = torch.randint(0, 2000, (64, 12), generator=torch.Generator().manual_seed(6))
    (found,) = alarms(Saturated, lambda: Attending(1.0), ids, LABELS, functional.cross_entropy)
    assert found.fix.startswith("scores = q @ k.transpose(-2, -1) / 256 ** 0.5")
    assert not alarms(Saturated, lambda: Attending(16.0), ids, LABELS, functional.cross_entropy)


POOLS: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": lambda h: h.mean(0).expand(len(h), -1),
    "kept": lambda h: h.mean(0, keepdim=True).expand_as(h),
    "sum": lambda h: h.sum(0)[None].repeat(len(h), 1),
}


class Pooled(nn.Module):
    """Takes the samples of a batch together where its positions were meant."""

    def __init__(self, pool: Callable[[Tensor], Tensor], width: int, *, last: bool) -> None:
        super().__init__()
        self.body, self.head, self.pool, self.last = nn.Linear(16, width), nn.Linear(width, 4), pool, last

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.body(x))
        return self.pool(self.head(h)) if self.last else self.head(self.pool(h))


@pytest.mark.parametrize("way", POOLS)
@pytest.mark.parametrize("width", [32, 64])
@pytest.mark.parametrize("last", [True, False])
def test_samples_taken_together_are_an_error_whatever_the_width(way: str, width: int, *, last: bool) -> None:
    build = lambda: Pooled(POOLS[way], width, last=last)  # noqa: E731  # three parameters in one name
    (found,) = findings(InputBlind, build, X, LABELS, functional.cross_entropy)
    assert found.severity == "error"


class Grid(nn.Module):
    """Features from a small trainable table, as hash grids start."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.body = nn.Embedding(64, 8), nn.Linear(8, 32)
        self.head = nn.Linear(32, 4)
        nn.init.uniform_(self.table.weight, -1e-5, 1e-5)

    def forward(self, places: Tensor) -> Tensor:
        return self.head(torch.relu(self.body(self.table((places[:, 0] * 64).long()))))


def test_small_trainable_tables_are_no_error() -> None:
    places = torch.linspace(0, 0.999, 64)[:, None]
    found = findings((InputBlind, SignalFades), Grid, places, LABELS, functional.cross_entropy)
    assert [one.severity for one in found] == ["warn"]


@pytest.mark.parametrize(("mean", "deviation"), [(20.0, 1.0), (300.0, 1.0), (2020.0, 5.0), (3000.0, 30.0)])
def test_a_mean_far_from_zero_is_told_however_far(mean: float, deviation: float) -> None:
    wanted = mean + deviation * torch.randn(64, 1, generator=torch.Generator().manual_seed(3))
    build = lambda: nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 1))  # noqa: E731  # used twice
    (found,) = findings(PriorBias, build, X, wanted, functional.mse_loss)
    assert found.severity == "warn"
    assert not findings(PriorBias, build, X, torch.full((64, 1), mean), functional.mse_loss)


def _offset() -> nn.Module:
    net = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4))
    with torch.no_grad():
        net[2].bias.copy_(torch.tensor([30.0, 0.0, 0.0, 0.0]))  # type: ignore[operator]  # a Linear's bias
    return net


def test_a_head_whose_bias_is_too_large_is_mended_at_the_bias() -> None:
    (found,) = findings(InitialLoss, _offset, X, LABELS, functional.cross_entropy)
    assert '"2.bias": "zeros"' in found.fix
    assert_fix_ends(InitialLoss, _offset, X, LABELS, functional.cross_entropy)


class Waves(nn.Module):
    """A first layer of sines."""

    def __init__(self, omega: float) -> None:
        super().__init__()
        self.first, self.second, self.omega = nn.Linear(2, 32), nn.Linear(32, 1), omega
        nn.init.uniform_(self.first.weight, -0.5, 0.5)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(torch.sin(self.omega * self.first(x)))


@pytest.mark.parametrize(("omega", "told"), [(30.0, False), (1.0, False), (0.02, True)])
def test_a_first_sine_that_is_a_straight_line_is_told(omega: float, *, told: bool) -> None:
    places = torch.rand(64, 2, generator=torch.Generator().manual_seed(4)) * 2 - 1
    found = findings(SineFrequency, lambda: Waves(omega), places, places[:, :1], functional.mse_loss)
    assert bool(found) == told


class Read(nn.Module):
    """A frozen table and a frozen recurrent layer under a head that learns."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.read, self.head = nn.Embedding(20, 8), nn.LSTM(8, 16, batch_first=True), nn.Linear(16, 4)
        for module in (self.table, self.read):
            module.requires_grad_(False)

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.read(self.table(ids))[0][:, -1])


def test_a_frozen_random_encoder_with_its_table_is_no_reservoir() -> None:
    ids = torch.randint(0, 20, (64, 6), generator=torch.Generator().manual_seed(5))
    (found,) = findings(FrozenRandom, Read, ids, LABELS, functional.cross_entropy)
    assert found.severity == "warn"
