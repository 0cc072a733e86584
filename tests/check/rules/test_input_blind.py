"""input-blind: the same answer for every sample."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from initscope.checker.rules.input_blind import InputBlind
from tests.check.rules.judging import evidence_of, findings

X = torch.randn(32, 10, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(32) % 3


def _deep(activation: type[nn.Module], depth: int) -> nn.Module:
    layers = [module for _ in range(depth) for module in (nn.Linear(10, 10), activation())]
    return nn.Sequential(*layers, nn.Linear(10, 3))


class Averaged(nn.Module):
    """Takes the mean over the wrong axis."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(10, 16), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.relu(self.first(x)).mean(0, keepdim=True).expand(len(x), -1))


class OneValue(nn.Module):
    """Normalises groups of one value."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(10, 16), nn.GroupNorm(16, 16), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.norm(self.first(x)))


@pytest.mark.parametrize("build", [Averaged, OneValue])
def test_networks_that_answer_every_sample_alike_are_an_error(build: Callable[[], nn.Module]) -> None:
    (found,) = findings(InputBlind, build, X, LABELS, functional.cross_entropy)
    assert found.severity == "error"


@pytest.mark.parametrize("build", [lambda: _deep(nn.Sigmoid, 14), lambda: _deep(nn.ReLU, 40)])
def test_deep_networks_that_lose_the_input_are_blind(build: Callable[[], nn.Module]) -> None:
    (blind,) = InputBlind().judge(evidence_of(build, X, LABELS, functional.cross_entropy))
    assert blind.severity == "error"


def test_a_signal_that_fades_explains_blindness() -> None:
    assert not findings(InputBlind, lambda: _deep(nn.Sigmoid, 14), X, LABELS, functional.cross_entropy)


def test_the_message_says_where_the_difference_is_lost() -> None:
    (found,) = findings(InputBlind, Averaged, X, LABELS, functional.cross_entropy)
    assert found.message == (
        "all 32 samples get the same output: the difference between samples is exactly 0 of its size, "
        "and 0 after the probe; it is lost at last"
    )


def _zero_head(bias: float = 0.0) -> nn.Module:
    net = nn.Sequential(nn.Linear(10, 16), nn.ReLU(), nn.Linear(16, 3))
    nn.init.zeros_(net[2].weight)
    nn.init.constant_(net[2].bias, bias)
    return net


@pytest.mark.parametrize("build", [_zero_head, lambda: _zero_head(-4.6), lambda: _deep(nn.ReLU, 3)])
def test_zero_heads_prior_biases_and_shallow_networks_are_silent(build: Callable[[], nn.Module]) -> None:
    assert not findings(InputBlind, build, X, LABELS, functional.cross_entropy)


def test_a_batch_of_one_sample_and_one_of_equal_samples_say_nothing() -> None:
    assert not findings(InputBlind, Averaged, X[:1], LABELS[:1], functional.cross_entropy)
    assert not findings(InputBlind, lambda: _deep(nn.ReLU, 2), X[:1].expand(32, -1), LABELS, functional.cross_entropy)
