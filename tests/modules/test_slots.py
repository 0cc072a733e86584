"""What is known of parameters: roles, and fans counted on the connections themselves."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from initscope.modules.slots import ParameterSlot, parameter_slots

SIDE = 24
CONVOLUTIONS = [
    nn.Conv1d(4, 6, 3, padding=1),
    nn.Conv2d(3, 5, 3, padding=1),
    nn.Conv2d(4, 6, (3, 5), padding=(1, 2), groups=2),
    nn.Conv2d(8, 8, 3, padding=1, groups=8),
    nn.Conv2d(4, 8, 4, stride=2, padding=1),
    nn.Conv2d(4, 8, 2, stride=2),
    nn.Conv3d(2, 4, 3, padding=1),
    nn.Conv2d(2, 4, 3, padding=2, dilation=2),
    nn.ConvTranspose1d(4, 6, 3, padding=1),
    nn.ConvTranspose2d(8, 32, 3, padding=1),
    nn.ConvTranspose2d(8, 4, 4, stride=2, padding=1),
    nn.ConvTranspose2d(8, 12, 2, stride=2, groups=4),
    nn.ConvTranspose3d(2, 4, 3, padding=1, groups=2),
]


def slot_of(model: nn.Module, path: str) -> ParameterSlot:
    """The slot of a parameter."""
    return next(slot for slot in parameter_slots(model) if slot.path == path)


def counted_fans(layer: nn.Module) -> tuple[float, float]:
    """Fans counted with ones: how many inputs reach an output, and outputs an input, away from the borders."""
    axes = {1: 1, 2: 2, 3: 3}[layer.weight.ndim - 2]  # type: ignore[operator,union-attr]
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.fill_(1.0)
        layer.bias.zero_()  # type: ignore[union-attr,operator]
    inputs = torch.ones(1, layer.in_channels, *[SIDE if axes < 3 else 12] * axes, requires_grad=True)  # type: ignore[arg-type]
    output = layer(inputs)
    (slope,) = torch.autograd.grad(output.sum(), inputs)
    return middle_mean(output), middle_mean(slope)


def middle_mean(values: Tensor) -> float:
    """The mean over what lies four places or more from every border."""
    for axis in range(2, values.ndim):
        values = values.narrow(axis, 4, values.shape[axis] - 8)
    return float(values.detach().mean())


@pytest.mark.parametrize("layer", CONVOLUTIONS, ids=str)
def test_the_fans_of_a_convolution_are_the_connections_one_counts(layer: nn.Module) -> None:
    slot = slot_of(layer, "weight")
    assert (slot.fan_in, slot.fan_out) == counted_fans(layer)


def test_the_fans_of_a_linear_layer_are_its_sizes_for_its_bias_too() -> None:
    for slot in parameter_slots(nn.Linear(5, 7)):
        assert (slot.fan_in, slot.fan_out, slot.default_fan) == (5, 7, 5)


@pytest.mark.parametrize("layer", [nn.Linear(5, 7), *CONVOLUTIONS], ids=str)
def test_torchs_own_fan_is_the_one_its_default_draw_uses(layer: nn.Module) -> None:
    expected, _ = nn.init._calculate_fan_in_and_fan_out(layer.weight)  # type: ignore[arg-type]
    assert slot_of(layer, "weight").default_fan == slot_of(layer, "bias").default_fan == expected


def test_every_parameter_has_a_role() -> None:
    model = nn.ModuleDict(
        {
            "linear": nn.Linear(2, 3),
            "conv": nn.Conv1d(1, 2, 3),
            "turned": nn.ConvTranspose1d(1, 2, 3),
            "batch": nn.BatchNorm1d(3),
            "layer": nn.LayerNorm(3),
            "group": nn.GroupNorm(1, 3),
            "rms": nn.RMSNorm(3),
            "table": nn.Embedding(4, 2),
            "memory": nn.GRU(2, 2),
            "slope": nn.PReLU(),
        }
    )
    roles = {slot.path: slot.role for slot in parameter_slots(model)}
    assert roles == {
        "linear.weight": "weight", "linear.bias": "bias",
        "conv.weight": "weight", "conv.bias": "bias",
        "turned.weight": "weight", "turned.bias": "bias",
        "batch.weight": "norm weight", "batch.bias": "norm bias",
        "layer.weight": "norm weight", "layer.bias": "norm bias",
        "group.weight": "norm weight", "group.bias": "norm bias",
        "rms.weight": "norm weight", "table.weight": "embedding",
        "memory.weight_ih_l0": "other", "memory.weight_hh_l0": "other",
        "memory.bias_ih_l0": "other", "memory.bias_hh_l0": "other",
        "slope.weight": "other",
    }  # fmt: skip
    assert slot_of(model, "memory.weight_ih_l0").fan_in is None
    assert slot_of(model, "table.weight").layer == "Embedding"


def test_a_tied_parameter_has_one_slot_and_a_frozen_one_none() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 3).requires_grad_(False))
    model[1].weight = model[0].weight
    assert [slot.path for slot in parameter_slots(model)] == ["0.weight", "0.bias", "1.bias"]


def test_a_module_that_holds_a_parameter_itself_is_named_by_the_parameter_alone() -> None:
    assert [slot.path for slot in parameter_slots(nn.Linear(2, 2))] == ["weight", "bias"]
