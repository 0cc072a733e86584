"""What every registered initializer must do; a new one is tested here without a line more."""

from __future__ import annotations

import dataclasses
import inspect
import random

import numpy as np
import pytest
import torch
from torch import nn

from initscope.base.calls import parse_call
from initscope.base.errors import UsageError
from initscope.initializers.initializer import INITIALIZERS, Initializer, build_initializer, signature_text
from initscope.modules.slots import ParameterSlot, parameter_slots

NEEDS = {"constant": "constant(0.5)"}
"""Call texts of the methods that cannot do without arguments."""
NAMES = tuple(INITIALIZERS)
LAYERS = [nn.Linear(7, 5), nn.Linear(5, 1), nn.Conv2d(4, 6, 3, groups=2), nn.ConvTranspose1d(3, 5, 4)]
WEIGHTS = [slot for layer in LAYERS for slot in parameter_slots(layer) if slot.role == "weight"]
NEAR: dict[str, str] = {"gain": "gian", "std": "sdt", "low": "lo", "value": "valu"}


def made(name: str) -> Initializer:
    """An initializer with the arguments it cannot do without."""
    return build_initializer(parse_call(NEEDS.get(name, name)))


def generator(seed: int = 0) -> torch.Generator:
    """A generator of its own."""
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("slot", WEIGHTS, ids=lambda slot: f"{slot.layer}{slot.shape}")
@pytest.mark.parametrize("name", NAMES)
def test_a_draw_has_the_parameters_shape_is_finite_float32_and_repeats_itself(name: str, slot: ParameterSlot) -> None:
    values = made(name).draw(slot, generator())
    assert (tuple(values.shape), values.dtype, values.device.type) == (slot.shape, torch.float32, "cpu")
    assert bool(values.isfinite().all()) and not values.requires_grad
    assert torch.equal(values, made(name).draw(slot, generator()))


@pytest.mark.parametrize("name", NAMES)
def test_a_draw_reads_its_own_generator_and_nothing_else(name: str) -> None:
    before = torch.get_rng_state().tolist(), str(np.random.get_state()), random.getstate()  # noqa: NPY002  # only read
    first, second = (made(name).draw(WEIGHTS[0], generator(seed)) for seed in (0, 1))
    after = torch.get_rng_state().tolist(), str(np.random.get_state()), random.getstate()  # noqa: NPY002  # only read
    assert after == before
    assert torch.equal(first, second) is (name in ("zeros", "ones", "constant"))


@pytest.mark.parametrize("name", NAMES)
def test_the_docstring_says_the_law_and_the_source(name: str) -> None:
    kind = INITIALIZERS.get(name)
    text = inspect.getdoc(kind) or ""
    assert any(mark in text for mark in ("w = ", "w ~ ", "w, b ~ ", "orthonormal")), "the formula"
    assert kind.paper
    assert kind.paper in ("folklore", "PyTorch") or "Reference: " in text
    assert kind.draw.__doc__


@pytest.mark.parametrize("name", NAMES)
def test_it_is_a_frozen_dataclass_without_subclasses(name: str) -> None:
    kind = INITIALIZERS.get(name)
    assert dataclasses.is_dataclass(kind) and kind.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert kind.__subclasses__() == []


@pytest.mark.parametrize("name", NAMES)
def test_an_argument_it_does_not_have_is_refused(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        build_initializer(parse_call(f"{name}(qqqqq=1.0)"), where="conditions.x")
    assert str(caught.value) == (
        f"{name} has no argument 'qqqqq'\n  where: conditions.x\n  legal: {signature_text(name)}"
    )


@pytest.mark.parametrize("name", NAMES)
def test_too_many_arguments_are_refused(name: str) -> None:
    fields = dataclasses.fields(INITIALIZERS.get(name))  # type: ignore[arg-type]  # each is a dataclass
    call = parse_call(f"{name}({', '.join(['1.0'] * (len(fields) + 1))})")
    with pytest.raises(UsageError) as caught:
        build_initializer(call)
    assert str(caught.value) == (
        f"{name} cannot take these arguments: takes at most {len(fields)} arguments, got {len(fields) + 1}\n"
        f"  got:   {call}\n  legal: {signature_text(name)}"
    )


FLOATS = [
    (name, field.name)
    for name in NAMES
    for field in dataclasses.fields(INITIALIZERS.get(name))  # type: ignore[arg-type]  # each is a dataclass
    if field.type == "float"
]


@pytest.mark.parametrize("value", ["'much'", "True", "None", "1e999", "-1e999", "(1.0, 2.0)"])
@pytest.mark.parametrize(("name", "argument"), FLOATS)
def test_a_value_that_is_no_finite_number_is_refused(name: str, argument: str, value: str) -> None:
    call = parse_call(f"{name}({argument}={value})")
    with pytest.raises(UsageError) as caught:
        build_initializer(call, where="conditions.x")
    bound = {"gain": " > 0", "std": " >= 0"}.get(argument, "")
    assert str(caught.value) == (
        f"{argument} is not legal\n  where: conditions.x\n  got:   {call}\n  legal: {argument}: a finite number{bound}"
    )


@pytest.mark.parametrize("value", ["1e39", f"1{'0' * 400}"])
@pytest.mark.parametrize(("name", "argument"), FLOATS)
def test_a_number_that_float32_cannot_hold_is_refused(name: str, argument: str, value: str) -> None:
    with pytest.raises(UsageError) as caught:
        build_initializer(parse_call(f"{name}({argument}={value})"))
    bound = {"gain": " > 0", "std": " >= 0"}.get(argument, "")
    assert caught.value.legal == f"{argument}: a float32 number{bound}, at most 3.4e+38 in size"


@pytest.mark.parametrize("name", [name for name in NAMES if ("gain" in signature_text(name))])
@pytest.mark.parametrize("gain", [0, -1.0])
def test_a_gain_that_is_not_positive_is_refused(name: str, gain: float) -> None:
    with pytest.raises(UsageError) as caught:
        build_initializer(parse_call(f"{name}(gain={gain})"))
    assert str(caught.value) == (
        f"gain is not legal\n  got:   {name}(gain={gain})\n  legal: gain: a finite number > 0"
    )


@pytest.mark.parametrize("name", [name for name in NAMES if ("mode" in signature_text(name))])
def test_a_mode_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        build_initializer(parse_call(f"{name}(mode='fan_on')"))
    assert str(caught.value) == (
        f"mode is not legal\n  got:   {name}(mode='fan_on')\n  legal: fan_in, fan_out, fan_avg"
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("normal(std=-1.0)", "std is not legal\n  got:   normal(std=-1.0)\n  legal: std: a finite number >= 0"),
        (
            "uniform(1.0, 1.0)",
            "low must be below high\n  got:   uniform(1.0, 1.0)\n  legal: low < high",
        ),
        (
            "uniform(-3e38, 3e38)",
            "high - low is not legal\n  got:   uniform(-3e+38, 3e+38)\n"
            "  legal: high - low: a float32 number > 0, at most 3.4e+38 in size",
        ),
        (
            "normal(0.0, mean=1.0)",
            "normal cannot take these arguments: got 'mean' twice\n"
            "  got:   normal(0.0, mean=1.0)\n  legal: normal(mean=0.0, std=1.0)",
        ),
        (
            "constant",
            "constant cannot take these arguments: missing 1 required positional argument: 'value'\n"
            "  got:   constant\n  legal: constant(value)",
        ),
        (
            "normal(sdt=1.0)",
            "normal has no argument 'sdt'\n  legal: normal(mean=0.0, std=1.0)\n  do:    did you mean 'std'?",
        ),
        (
            "zero",
            f"unknown initializer 'zero'\n  legal: {', '.join(NAMES)}\n  do:    did you mean 'zeros'?",
        ),
    ],
)
def test_a_bad_call_is_refused_with_what_is_legal(call: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        build_initializer(parse_call(call))
    assert str(caught.value) == message


SCALED = [name for name in NAMES if "gain" in signature_text(name)]


@pytest.mark.parametrize("name", SCALED)
def test_a_method_for_weights_refuses_a_bias_by_its_path(name: str) -> None:
    (slot,) = [slot for slot in parameter_slots(nn.Linear(2, 3)) if slot.role == "bias"]
    with pytest.raises(UsageError) as caught:
        made(name).draw(slot, generator())
    assert str(caught.value) == (
        f"{name} draws weights, and bias is a bias of Linear\n"
        "  where: bias\n"
        "  legal: weights of linear and convolutional layers\n"
        "  do:    name it by a pattern such as '*.weight', "
        "or give this parameter zeros, ones, constant, normal or uniform"
    )


@pytest.mark.parametrize("name", ["zeros", "ones", "constant", "normal", "uniform"])
def test_a_method_of_fixed_scale_serves_every_parameter(name: str) -> None:
    model = nn.ModuleList([nn.Linear(2, 3), nn.LayerNorm(3), nn.Embedding(3, 2), nn.GRU(2, 2), nn.PReLU()])
    for slot in parameter_slots(model):
        assert tuple(made(name).draw(slot, generator()).shape) == slot.shape
