"""initial-loss and confident-and-wrong: starts that know what they cannot know."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from initscope.checker.rules.confident_and_wrong import ConfidentAndWrong
from initscope.checker.rules.initial_loss import InitialLoss
from tests.check.rules.judging import alarms, assert_fix_ends, findings

X = torch.randn(64, 16, generator=torch.Generator().manual_seed(0))
LABELS = torch.randint(0, 6, (64,), generator=torch.Generator().manual_seed(2))


def _head(std: float, outputs: int = 6, *last: nn.Module) -> nn.Module:
    net = nn.Sequential(nn.Linear(16, 64), nn.LayerNorm(64), nn.GELU(), nn.Linear(64, outputs), *last)
    nn.init.normal_(net[3].weight, std=std)
    return net


@pytest.mark.parametrize(
    ("build", "targets", "loss"),
    [
        (lambda: _head(1.5), LABELS, functional.cross_entropy),
        (lambda: _head(1.5, 6, nn.LogSoftmax(1)), LABELS, functional.nll_loss),
        (lambda: _head(1.5, 1), (LABELS > 2).float()[:, None], functional.binary_cross_entropy_with_logits),
        (lambda: _head(1.5, 1), 0.5 * X[:, :1], functional.mse_loss),
    ],
)
def test_a_head_that_is_far_too_large_is_told_and_the_fix_ends_it(
    build: Callable[[], nn.Module], targets: Tensor, loss: Callable[[Any, Any], Tensor]
) -> None:
    assert_fix_ends(InitialLoss, build, X, targets, loss)


def test_ten_times_chance_is_an_error() -> None:
    (found,) = findings(InitialLoss, lambda: _head(8.0), X, LABELS, functional.cross_entropy)
    assert found.severity == "error"
    assert found.where == ("3.weight", "3.bias")


def test_a_loss_that_the_model_computed_itself_is_held_against_ln_c() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = _head(1.5)

        def forward(self, features: Tensor, labels: Tensor) -> dict[str, Tensor]:
            logits = self.net(features)
            return {"loss": functional.cross_entropy(logits, labels), "logits": logits}

    (found,) = findings(InitialLoss, Own, {"features": X, "labels": LABELS})
    assert found.evidence["chance"] == pytest.approx(1.791759)


class Angular(nn.Module):
    """Cosines times a scale, with an angular margin for the right class."""

    def __init__(self, scale: float, margin: float) -> None:
        super().__init__()
        self.body, self.centres = nn.Linear(16, 32), nn.Parameter(torch.randn(6, 32))
        self.scale, self.margin = scale, margin

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        cosines = functional.linear(functional.normalize(self.body(x)), functional.normalize(self.centres))
        angles = torch.acos(cosines.clamp(-1 + 1e-6, 1 - 1e-6))
        right = functional.one_hot(labels, 6).float()
        return self.scale * (right * torch.cos(angles + self.margin) + (1 - right) * cosines)


def test_angular_heads_start_high_by_design() -> None:
    found = findings(
        (InitialLoss, ConfidentAndWrong), lambda: Angular(64.0, 0.5), (X, LABELS), LABELS, functional.cross_entropy
    )
    assert {one.severity for one in found} == {"info"}


@pytest.mark.parametrize(
    ("build", "targets", "loss"),
    [
        (lambda: _head(0.1), LABELS, functional.cross_entropy),
        (lambda: _head(0.1, 1), 1000 * X[:, :1], functional.mse_loss),
        (lambda: _head(0.1, 1), torch.zeros(64, 1), functional.mse_loss),
        (lambda: _head(0.02, 16), X, lambda out, aim: (out - aim).square().sum(1).mean()),
    ],
)
def test_small_heads_large_targets_and_sums_are_silent(
    build: Callable[[], nn.Module], targets: Tensor, loss: Callable[[Any, Any], Tensor]
) -> None:
    assert not findings(InitialLoss, build, X, targets, loss)


@pytest.mark.parametrize("std", [0.7, 1.5, 8.0])
def test_a_network_that_is_sure_and_wrong_is_warned_of(std: float) -> None:
    alone = alarms(ConfidentAndWrong, lambda: _head(std), X, LABELS, functional.cross_entropy)
    both = alarms((InitialLoss, ConfidentAndWrong), lambda: _head(std), X, LABELS, functional.cross_entropy)
    assert len(both) == 1, "one cause, one finding"
    assert not alone or alone[0].evidence["confidence"] > alone[0].evidence["accuracy"] + 0.5


def test_a_network_that_is_sure_and_right_or_not_sure_is_silent() -> None:
    def trained() -> nn.Module:
        net = nn.Linear(16, 6, bias=False)
        with torch.no_grad():
            net.weight.copy_(20 * torch.eye(6, 16))
        return net

    assert not findings(ConfidentAndWrong, trained, X, X[:, :6].argmax(1), functional.cross_entropy)
    assert not findings(ConfidentAndWrong, lambda: _head(0.05), X, LABELS, functional.cross_entropy)
