"""A check leaves model and process exactly as they were."""

from __future__ import annotations

import random
import weakref
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import initscope
from initscope.base.errors import UsageError
from tests.check.curious_models import MODELS


def _state(model: nn.Module) -> dict[str, Any]:
    """Everything of a model that somebody could see change."""
    lazy = nn.parameter.UninitializedTensorMixin
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return {
        "objects": {name: id(one) for name, one in tensors.items()},
        "values": {name: None if isinstance(one, lazy) else one.detach().clone() for name, one in tensors.items()},
        "grads": {
            name: (id(one.grad), None if one.grad is None else one.grad.clone())
            for name, one in model.named_parameters()
        },
        "requires": {name: one.requires_grad for name, one in model.named_parameters()},
        "hooks": {name: _hooks(module) for name, module in model.named_modules()},
        "training": {name: module.training for name, module in model.named_modules()},
        "modules": {name: (id(module), type(module)) for name, module in model.named_modules()},
        "plain": {name: _plain(module) for name, module in model.named_modules()},
    }


def _hooks(module: nn.Module) -> dict[str, int]:
    return {name: len(value) for name, value in vars(module).items() if "hooks" in name and hasattr(value, "__len__")}


def _plain(module: nn.Module) -> dict[str, Any]:
    kinds = (int, float, str, bool, list, torch.Tensor)
    found = {} if isinstance(module, torch.jit.ScriptModule) else vars(module)
    return {
        name: value.clone() if isinstance(value, torch.Tensor) else list(value) if isinstance(value, list) else value
        for name, value in found.items() if isinstance(value, kinds)
    }  # fmt: skip


def _process() -> dict[str, Any]:
    """Global state that a check could disturb."""
    return {
        "torch": torch.get_rng_state(),
        "numpy": np.random.get_state()[1].copy(),
        "numpy place": np.random.get_state()[2],
        "random": random.getstate(),
        "deterministic": (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
        ),
        "fill": torch.utils.deterministic.fill_uninitialized_memory,
        "grad": torch.is_grad_enabled(),
        "fastpath": torch.backends.mha.get_fastpath_enabled(),
        "mkldnn": torch.backends.mkldnn.enabled,
        "attention": (torch.backends.cuda.flash_sdp_enabled(), torch.backends.cuda.math_sdp_enabled()),
        "default dtype": torch.get_default_dtype(),
        "global hooks": (
            len(torch.nn.modules.module._global_forward_hooks),
            len(torch.nn.modules.module._global_forward_pre_hooks),
        ),
        "threads": torch.get_num_threads(),
    }


def assert_equal_states(before: Any, after: Any, place: str = "") -> None:
    """Compares nested states to the bit, NaN equal to NaN."""
    assert type(before) is type(after), place
    if isinstance(before, dict):
        assert before.keys() == after.keys(), place
        for key in before:
            assert_equal_states(before[key], after[key], f"{place} {key}")
    elif isinstance(before, tuple | list):
        assert len(before) == len(after), place
        for number, (one, two) in enumerate(zip(before, after, strict=True)):
            assert_equal_states(one, two, f"{place} {number}")
    elif isinstance(before, torch.Tensor):
        assert before.dtype == after.dtype and before.shape == after.shape, place
        assert torch.allclose(before, after, rtol=0, atol=0, equal_nan=True), place
    elif isinstance(before, np.ndarray):
        assert np.array_equal(before, after), place
    elif isinstance(before, weakref.ref):
        assert before() is after(), place
    else:
        assert before == after, place


@pytest.mark.parametrize("name", MODELS)
def test_a_check_leaves_model_inputs_and_process_as_they_were(name: str) -> None:
    build, inputs_of = MODELS[name]
    torch.manual_seed(3)
    model, inputs = build(), inputs_of()
    kept = inputs.clone()
    before, process = _state(model), _process()
    try:
        initscope.check(model, inputs)
    except UsageError:
        assert name in ("raising", "quantised")
    assert_equal_states(process, _process())
    assert_equal_states(before, _state(model))
    assert torch.equal(kept, inputs)


@pytest.mark.parametrize("name", sorted(set(MODELS) - {"raising", "quantised"}))
def test_no_rule_crashes_on_a_curious_model(name: str) -> None:
    build, inputs_of = MODELS[name]
    torch.manual_seed(3)
    inputs = inputs_of()
    report = initscope.check(lambda: (build(), inputs))
    assert report.failed == ()
    assert [one.name for one in report.findings if one.severity == "error" and name != "float16"] == []


def test_a_difference_in_state_is_seen() -> None:
    with pytest.raises(AssertionError):
        assert_equal_states({"a": torch.zeros(2)}, {"a": torch.tensor([0.0, 1e-9])})


def test_what_the_model_raises_is_told_with_the_layer_and_the_users_own_traceback() -> None:
    with pytest.raises(UsageError) as raised:
        initscope.check(MODELS["raising"][0](), torch.randn(8, 6))
    text = str(raised.value)
    assert text.startswith(
        "the model cannot be run on its inputs: RuntimeError in its forward pass, given [8, 5] float32\n"
    )
    assert "where: second (Linear(in_features=4, out_features=2, bias=True))" in text
    assert "curious_models.py" in text and "return self.second(self.norm(self.first(inputs)))" in text
    assert "initscope/checker" not in text
