"""Units that nothing tells apart, and equal values that are sound."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from initscope.checker.rules.interchangeable_units import InterchangeableUnits
from tests.check.rules.judging import alarms, assert_fix_ends, findings

INPUTS = torch.randn(32, 8, generator=torch.Generator().manual_seed(0))
WANTED = torch.randn(32, 4, generator=torch.Generator().manual_seed(1))
IMAGES = torch.randn(16, 2, 6, 6, generator=torch.Generator().manual_seed(2))
SEQUENCES = torch.randn(16, 5, 8, generator=torch.Generator().manual_seed(3))
CLASSES = torch.arange(32) % 5


def _net(activation: type[nn.Module] = nn.Tanh) -> nn.Sequential:
    return nn.Sequential(nn.Linear(8, 16), activation(), nn.Linear(16, 16), activation(), nn.Linear(16, 4))


def _filled(model: nn.Module, value: float, *, biases: bool = True) -> nn.Module:
    for parameter in model.parameters():
        if parameter.ndim > 1:
            nn.init.constant_(parameter, value)
        elif biases:
            nn.init.zeros_(parameter)
    return model


def _pair_of_units() -> nn.Module:
    model = _net()
    with torch.no_grad():
        for layer, outgoing in ((model[0], model[2]),):
            layer.weight[1], layer.bias[1] = layer.weight[0], layer.bias[0]
            outgoing.weight[:, 1] = outgoing.weight[:, 0]
    return model


class _Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell, self.out = nn.LSTM(8, 12, batch_first=True), nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.cell(x)[0][:, -1])


class _Transposed(nn.Module):
    """Weights with units on the last axis."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Parameter(torch.randn(8, 1).repeat(1, 8)), nn.Parameter(torch.full((8, 4), 0.1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x @ self.first) @ self.second


class _Members(nn.Module):
    """A batch of layers, as an ensemble trained at once."""

    def __init__(self, *, copied: bool) -> None:
        super().__init__()
        drawn = 1 if copied else 3
        self.first = nn.Parameter((torch.randn(drawn, 8, 6) / 3).repeat(3 // drawn, 1, 1))
        self.second = nn.Parameter((torch.randn(drawn, 6, 4) / 3).repeat(3 // drawn, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.bmm(torch.bmm(x.expand(3, -1, -1), self.first).relu(), self.second).mean(0)


def _convolutions(*, transposed: bool = False) -> nn.Module:
    kind = nn.ConvTranspose2d if transposed else nn.Conv2d
    body = nn.Sequential(kind(2, 8, 3), nn.ReLU(), kind(8, 8, 3), nn.ReLU())
    return nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))


@pytest.mark.parametrize(
    ("build", "inputs"),
    [
        (lambda: _filled(_net(), 0.1), INPUTS),
        (lambda: _filled(_net(nn.ReLU), 1.0), INPUTS),
        (lambda: _filled(_net(nn.Sigmoid), 0.0), INPUTS),
        (_Transposed, INPUTS),
        (lambda: _Members(copied=True), INPUTS),
        (lambda: _filled(_convolutions(), 0.05), IMAGES),
        (lambda: _filled(_convolutions(transposed=True), 0.05), IMAGES),
        (lambda: _filled(_Recurrent(), 0.05), SEQUENCES),
    ],
    ids=["constants", "ones", "zeros-under-sigmoid", "x@W", "members", "convolution", "transposed", "lstm"],
)
def test_units_that_are_copies_for_ever_are_an_error(build: Callable[[], nn.Module], inputs: Tensor) -> None:
    (found,) = alarms(InterchangeableUnits, build, inputs, WANTED[: len(inputs)], functional.mse_loss)
    assert found.severity == "error"


def test_one_pair_of_copied_units_is_a_warning() -> None:
    (found,) = alarms(InterchangeableUnits, _pair_of_units, INPUTS, WANTED, functional.mse_loss)
    assert (found.severity, found.where, found.evidence["different_units"]) == ("warn", ("0.weight",), 15)


def test_units_that_biases_alone_tell_apart_are_a_warning() -> None:
    (found,) = alarms(
        InterchangeableUnits, lambda: _filled(_net(nn.ReLU), 0.1, biases=False), INPUTS, WANTED, functional.mse_loss
    )
    assert found.severity == "warn"


@pytest.mark.parametrize(
    ("build", "inputs"),
    [
        (_net, INPUTS),
        (lambda: _Members(copied=False), INPUTS),
        (_convolutions, IMAGES),
        (_Recurrent, SEQUENCES),
    ],
    ids=["mlp", "members", "convolution", "lstm"],
)
def test_random_units_are_silent(build: Callable[[], nn.Module], inputs: Tensor) -> None:
    assert findings(InterchangeableUnits, build, inputs, WANTED[: len(inputs)], functional.mse_loss) == ()


def test_a_zero_head_with_classes_that_the_batch_lacks_is_silent() -> None:
    def build() -> nn.Module:
        return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), _filled(nn.Linear(16, 50), 0.0))

    assert findings(InterchangeableUnits, build, INPUTS, CLASSES, functional.cross_entropy) == ()


def test_a_constant_layer_under_a_random_one_is_silent() -> None:
    def build() -> nn.Module:
        model = _net()
        nn.init.constant_(model[0].weight, 0.1)
        nn.init.zeros_(model[2].weight)
        return model

    assert findings(InterchangeableUnits, build, INPUTS, WANTED, functional.mse_loss) == ()


def test_the_fix_makes_the_finding_go_away() -> None:
    assert_fix_ends(InterchangeableUnits, lambda: _filled(_net(), 0.1), INPUTS, WANTED, functional.mse_loss)
    assert_fix_ends(InterchangeableUnits, _pair_of_units, INPUTS, WANTED, functional.mse_loss)


def test_the_message_says_how_many_units_are_left() -> None:
    (found,) = findings(InterchangeableUnits, lambda: _filled(_net(), 0.1), INPUTS, WANTED, functional.mse_loss)
    assert found.message == (
        "the 16 units in 0.weight count for 1: they have equal weights and equal gradients at the start "
        "and after 3 "
        "probe steps, as have those of 1 other weights, so no training can tell them apart"
    )
    assert found.where == ("0.weight", "2.weight")
