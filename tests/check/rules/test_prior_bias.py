"""prior-bias: outputs that start without frequencies or means."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from initscope.checker.evidence import Chance
from initscope.checker.rules.prior_bias import PriorBias, _saved
from tests.check.rules.judging import alarms, findings

X = torch.randn(256, 8, generator=torch.Generator().manual_seed(0))
RARE = torch.zeros(256, dtype=torch.int64)
RARE[:5] = torch.tensor([1, 1, 2, 2, 3])
TAGS = (torch.rand(256, 20, generator=torch.Generator().manual_seed(1)) < 0.015).float()


def _net(outputs: int) -> nn.Module:
    net = nn.Sequential(nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, outputs))
    nn.init.normal_(net[2].weight, std=0.01)
    nn.init.zeros_(net[2].bias)
    return net


CASES: list[tuple[int, Tensor, Callable[[Any, Any], Tensor]]] = [
    (4, RARE, functional.cross_entropy),
    (1, (RARE > 0).float()[:, None], functional.binary_cross_entropy_with_logits),
    (20, TAGS, functional.binary_cross_entropy_with_logits),
    (1, 25 + X[:, :1], functional.mse_loss),
]


@pytest.mark.parametrize(("outputs", "targets", "loss"), CASES)
def test_missing_frequencies_and_means_are_warned_of_and_the_bias_in_the_fix_ends_it(
    outputs: int, targets: Tensor, loss: Callable[[Any, Any], Tensor]
) -> None:
    (found,) = alarms(PriorBias, lambda: _net(outputs), X, targets, loss)
    assert found.where == ("2.bias", "2.weight")

    def mended() -> nn.Module:
        model = _net(outputs)
        exec(found.fix, {"torch": torch, "model": model, "targets": targets})
        return model

    assert not findings(PriorBias, mended, X, targets, loss)


def test_the_message_says_what_the_bias_would_be() -> None:
    (found,) = findings(PriorBias, lambda: _net(1), X, 25 + X[:, :1], functional.mse_loss)
    assert found.message.startswith("100% of the first loss (")
    assert " is the mean of the targets: an output bias of [24.9] would start at " in found.message
    assert found.fix == 'with torch.no_grad(): model.get_parameter("2.bias").copy_(torch.tensor([24.9]))'


@pytest.mark.parametrize(
    ("outputs", "targets", "loss"),
    [
        (4, torch.arange(256) % 4, functional.cross_entropy),
        (4, torch.zeros(256, dtype=torch.int64), functional.cross_entropy),
        (1, torch.zeros(256, 1), functional.mse_loss),
        (1, torch.rand(256, 1), functional.mse_loss),
        (100, torch.arange(256) % 7, functional.cross_entropy),
    ],
)
def test_balanced_classes_constant_targets_and_more_classes_than_samples_can_show_are_silent(
    outputs: int, targets: Tensor, loss: Callable[[Any, Any], Tensor]
) -> None:
    assert not alarms(PriorBias, lambda: _net(outputs), X, targets, loss)


def test_batches_of_equal_classes_never_look_imbalanced() -> None:
    """Null: n labels drawn evenly from C classes, 2000 batches of each size: none comes to the limit."""
    drawn = np.random.default_rng(0)
    for classes, targets in ((2, 16), (3, 16), (10, 32), (100, 64)):
        for _ in range(2000):
            counts = np.bincount(drawn.integers(0, classes, targets), minlength=classes).astype(np.float64)
            chance = Chance(best=0.0, zero=1.0, vector=np.zeros(classes), n_targets=targets, label_counts=counts)
            assert _saved(chance) < 0.75
