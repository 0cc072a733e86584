"""saturated: sigmoids, tanhs and attention without slope."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from initscope.checker.rules.saturated import Saturated
from tests.check.rules.judging import assert_fix_ends, findings

X = torch.randn(32, 16, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(32) % 3
SETS = torch.randn(8, 20, 64, generator=torch.Generator().manual_seed(1))
SET_LABELS = torch.arange(8) % 3


def _stack(gain: float, function: type[nn.Module] = nn.Tanh) -> nn.Module:
    net = nn.Sequential(nn.Linear(16, 32), function(), nn.Linear(32, 32), function(), nn.Linear(32, 3))
    for layer in net[::2]:
        nn.init.xavier_normal_(layer.weight, gain)
    return net


class Attention(nn.Module):
    """One head over a set; `scores` changes the scores in front of the softmax."""

    def __init__(self, scores: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(64, 64) for _ in range(3))
        self.out = nn.Linear(64, 3)
        for layer in (self.q, self.k):
            nn.init.xavier_normal_(layer.weight)
        self.scores = scores

    def forward(self, x: Tensor) -> Tensor:
        shares = self.scores(self.q(x) @ self.k(x).transpose(-2, -1)).softmax(-1)
        return self.out(shares @ self.v(x)).mean(1)


def test_tanhs_with_a_gain_of_eight_are_warned_of_and_the_fix_ends_it() -> None:
    (found,) = findings(Saturated, lambda: _stack(8.0), X, LABELS, functional.cross_entropy)
    assert (found.severity, found.where) == ("warn", ("0", "2"))
    assert_fix_ends(Saturated, lambda: _stack(8.0), X, LABELS, functional.cross_entropy)


def test_sigmoids_that_are_nearly_all_flat_are_an_error() -> None:
    (found,) = findings(Saturated, lambda: _stack(60.0, nn.Sigmoid), X, LABELS, functional.cross_entropy)
    assert found.severity == "error"


def test_a_recurrence_on_prices_is_saturated() -> None:
    class Ticker(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.memory, self.head = nn.LSTM(2, 16, batch_first=True), nn.Linear(16, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.memory(x)[0][:, -1])

    (found,) = findings(Saturated, Ticker, 4200 + 90 * torch.randn(32, 9, 2), LABELS, functional.cross_entropy)
    assert found.where[0] == "memory"


def test_scores_that_were_not_divided_by_the_root_of_the_width_are_warned_of() -> None:
    (found,) = findings(Saturated, lambda: Attention(lambda s: s), SETS, SET_LABELS, functional.cross_entropy)
    assert found.severity == "warn"
    assert found.fix == "scores = q @ k.transpose(-2, -1) / 64 ** 0.5, queries and keys of deviation 1 each"
    assert set(found.where) == {"q", "k"}


def _padded(scores: Tensor) -> Tensor:
    seen = torch.zeros(scores.shape[-1], dtype=torch.bool)
    seen[0] = True
    return (scores / 8).masked_fill(~seen, float("-inf"))


def _near(scores: Tensor) -> Tensor:
    place = torch.arange(scores.shape[-1])
    return scores / 8 - 4.0 * (place[:, None] - place).abs()


@pytest.mark.parametrize("scores", [lambda s: s / 8, _padded, _near])
def test_masks_padding_and_a_pull_towards_near_keys_are_no_saturation(scores: Callable[[Tensor], Tensor]) -> None:
    assert not findings(Saturated, lambda: Attention(scores), SETS, SET_LABELS, functional.cross_entropy)


class Highway(nn.Module):
    """Its gates are shut on purpose."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.gate, self.out = nn.Linear(16, 16), nn.Linear(16, 16), nn.Linear(16, 3)
        nn.init.constant_(self.gate.bias, -6.0)

    def forward(self, x: Tensor) -> Tensor:
        share = torch.sigmoid(self.gate(x))
        return self.out(share * torch.relu(self.inner(x)) + (1 - share) * x)


@pytest.mark.parametrize("build", [Highway, lambda: _stack(5 / 3), lambda: _stack(1.0, nn.Sigmoid)])
def test_gates_with_a_deliberate_bias_and_usual_gains_are_silent(build: Callable[[], nn.Module]) -> None:
    assert not findings(Saturated, build, X, LABELS, functional.cross_entropy)
