"""The layers a forward pass reaches, and the traces that looking leaves: none."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from initscope.modules.generators import seeded_generators
from initscope.modules.layers import find_layers


class Backwards(nn.Module):
    """Layers are reached in another order than they are defined in; one is never reached, one twice."""

    def __init__(self) -> None:
        super().__init__()
        self.last, self.unused = nn.Linear(3, 2), nn.Linear(4, 4)
        self.twice, self.first = nn.Linear(3, 3), nn.Linear(4, 3)
        self.tanh, self.relu = nn.Tanh(), nn.ReLU()

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = self.relu(self.twice(self.tanh(self.twice(self.tanh(self.first(inputs))))))
        return self.last(hidden)


def test_layers_come_in_the_order_of_the_forward_pass_with_the_activation_behind_each() -> None:
    found = find_layers(Backwards(), torch.ones(2, 4))
    assert [(layer.path, layer.units, layer.activation, layer.activation_call) for layer in found] == [
        ("first", 3, "tanh", 0),
        ("twice", 3, "tanh", 1),
        ("last", 2, None, 0),
    ]


def test_norms_and_dropout_may_stand_between_a_layer_and_its_activation() -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Dropout(), nn.GELU(), nn.Flatten(), nn.Linear(4, 2))
    found = find_layers(model.eval(), torch.ones(2, 1, 3, 3))
    assert [(layer.path, layer.activation, layer.unit_axis, layer.row_axis) for layer in found] == [
        ("0", "3", 1, 0),
        ("5", None, -1, 0),
    ]


def test_a_transposed_convolution_has_its_units_on_the_second_axis_of_its_weight() -> None:
    (found,) = find_layers(nn.Sequential(nn.ConvTranspose1d(2, 5, 3, bias=False)), torch.ones(1, 2, 4))
    assert (found.units, found.unit_axis, found.row_axis, found.has_bias) == (5, 1, 1, False)


def test_a_parametrised_layer_is_a_layer_and_its_parametrisation_is_none() -> None:
    layer = nn.Linear(3, 3)
    nn.utils.parametrize.register_parametrization(layer, "weight", nn.Softplus())
    found = find_layers(nn.Sequential(nn.Linear(3, 3), layer, nn.ReLU()), torch.ones(1, 3))
    assert [(layer.path, layer.activation) for layer in found] == [("0", None), ("1", "2")]


class Noisy(nn.Module):
    def __init__(self, *, fails: bool) -> None:
        super().__init__()
        self.layer, self.fails = nn.Linear(3, 3), fails

    def forward(self, inputs: Tensor) -> Tensor:
        torch.rand(2), np.random.rand(2), random.random()  # noqa: NPY002  # what a user's model may do
        if self.fails:
            raise RuntimeError("no")
        return self.layer(inputs)


def states() -> tuple[object, ...]:
    """The states of the three global generators."""
    return torch.get_rng_state().tolist(), str(np.random.get_state()), random.getstate()  # noqa: NPY002  # only read


@pytest.mark.parametrize("fails", [False, True])
def test_looking_leaves_generators_hooks_and_modes_as_they_were(fails: bool) -> None:  # noqa: FBT001  # a case
    model, before = Noisy(fails=fails), states()
    model.layer.eval()
    if fails:
        with pytest.raises(RuntimeError):
            find_layers(model, torch.ones(1, 3))
    else:
        find_layers(model, torch.ones(1, 3))
    assert states() == before
    assert not any(module._forward_hooks for module in model.modules())
    assert model.training and not model.layer.training


def test_a_seeded_block_draws_the_same_every_time_and_puts_all_three_generators_back_even_after_an_error() -> None:
    before = states()

    def draws() -> list[float]:
        with seeded_generators(2**40 + 3):
            return [float(torch.rand(1)), float(np.random.rand()), random.random()]  # noqa: NPY002  # under test

    assert draws() == draws()
    with pytest.raises(ZeroDivisionError), seeded_generators(1):
        _ = float(torch.rand(1)) / 0
    assert states() == before
