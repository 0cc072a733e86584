"""The founding study's network: linear layers `input`, `hidden1`, `hidden2`, ..., `output`, an activation between."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from torch import nn

from initscope.models.registry import MODELS
from initscope.records.study import Activation, ModelSpec

ACTIVATION_MODULES: dict[Activation, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "tanh": nn.Tanh,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "elu": nn.ELU,
    "selu": nn.SELU,
    "sigmoid": nn.Sigmoid,
    "softplus": nn.Softplus,
    "identity": nn.Identity,
}


@MODELS.register("mlp")
def build_mlp(spec: ModelSpec, *, in_features: int, out_features: int) -> nn.Module:
    """Multilayer perceptron: x -> W_output f(... f(W_input x + b_input) ...) + b_output, logits out.

    `spec.hidden` are the widths of the hidden layers: (64, 32, 32) gives in -> 64 -> 32 -> 32 -> out with the linear
    layers `input`, `hidden1`, `hidden2`, `output`; an empty tuple is softmax regression, with `output` alone.
    Each activation is a module of its own, named after its layer with `_activation` behind it.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    width = in_features
    for index, units in enumerate(spec.hidden):
        name = "input" if index == 0 else f"hidden{index}"
        layers[name] = nn.Linear(width, units)
        layers[f"{name}_activation"] = ACTIVATION_MODULES[spec.activation]()
        width = units
    layers["output"] = nn.Linear(width, out_features)
    return nn.Sequential(layers)
