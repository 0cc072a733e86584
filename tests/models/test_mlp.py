"""The founding network, and how a [model] table becomes a module."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from initscope.base.errors import UsageError
from initscope.models.registry import MODELS, build_model
from initscope.records.study import ACTIVATIONS, ModelSpec
from tests.support.problems import CLASSES, FEATURES


def test_the_founding_network_has_its_four_named_layers() -> None:
    model = build_model(ModelSpec(), in_features=784, out_features=10)
    assert {name: tuple(value.shape) for name, value in model.named_parameters()} == {
        "input.weight": (64, 784), "input.bias": (64,),
        "hidden1.weight": (32, 64), "hidden1.bias": (32,),
        "hidden2.weight": (32, 32), "hidden2.bias": (32,),
        "output.weight": (10, 32), "output.bias": (10,),
    }  # fmt: skip
    assert sum(isinstance(module, nn.ReLU) for module in model.modules()) == 3


def test_without_hidden_layers_it_is_softmax_regression() -> None:
    model = build_model(ModelSpec(hidden=()), in_features=5, out_features=3)
    assert [name for name, _ in model.named_parameters()] == ["output.weight", "output.bias"]


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_legal_activation_stands_behind_every_hidden_layer(activation: str) -> None:
    spec = ModelSpec.model_validate({"hidden": [4, 3], "activation": activation})
    model = build_model(spec, in_features=5, out_features=2)
    assert [name for name, _ in model.named_children()] == [
        "input", "input_activation", "hidden1", "hidden1_activation", "output",
    ]  # fmt: skip
    assert model(torch.randn(7, 5)).shape == (7, 2)


@pytest.mark.parametrize("name", list(MODELS))
def test_every_registered_model_gives_one_row_of_scores_a_sample_and_says_what_it_is(name: str) -> None:
    model = build_model(ModelSpec(name=name), in_features=FEATURES, out_features=CLASSES)
    assert model(torch.zeros(3, FEATURES)).shape == (3, CLASSES)
    assert MODELS.get(name).__doc__


def needs_more(*, in_features: int, out_features: int, depth: int) -> nn.Module:
    """A factory with an argument of its own."""
    return nn.Sequential(*[nn.Linear(in_features, out_features)] * depth)


def gives_a_number(*, in_features: int, out_features: int) -> int:
    """A factory that is none."""
    return in_features + out_features


NOT_CALLABLE = 3
HERE = "tests.models.test_mlp"


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        (
            "no_such_package:f",
            "cannot import no_such_package:f: No module named 'no_such_package'\n  where: model.factory\n"
            "  legal: package.module:function, importable from the current folder or the environment",
        ),
        (
            f"{HERE}:missing",
            f"cannot import {HERE}:missing: module '{HERE}' has no attribute 'missing'\n  where: model.factory\n"
            "  legal: package.module:function, importable from the current folder or the environment",
        ),
        (f"{HERE}:NOT_CALLABLE", f"{HERE}:NOT_CALLABLE is not callable\n  where: model.factory\n  got:   int"),
        (
            f"{HERE}:needs_more",
            f"the factory {HERE}:needs_more cannot take its arguments: missing a required argument: 'depth'\n"
            "  where: model.factory\n  legal: a function that accepts in_features, out_features by name",
        ),
        (
            f"{HERE}:gives_a_number",
            f"the factory {HERE}:gives_a_number returned int, not a torch.nn.Module\n  where: model.factory",
        ),
    ],
)
def test_a_factory_that_cannot_be_had_or_called_is_refused(factory: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        build_model(ModelSpec(factory=factory), in_features=2, out_features=2)
    assert str(caught.value) == message


def test_a_factory_gets_its_options_by_name() -> None:
    spec = ModelSpec(factory=f"{HERE}:needs_more", options={"depth": 3})
    model = build_model(spec, in_features=2, out_features=2)
    assert isinstance(model, nn.Sequential) and len(model) == 3
