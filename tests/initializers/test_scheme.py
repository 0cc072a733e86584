"""From a condition's table to starting values: which pattern wins, what is refused, which stream is read."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from initscope.base.errors import UsageError
from initscope.base.streams import stream_seed
from initscope.initializers.constant import Constant, Ones, Zeros
from initscope.initializers.fixed_scale import Normal
from initscope.initializers.scheme import draw_parameter, matching, resolve_scheme
from initscope.modules.slots import parameter_slots

MODEL = nn.ModuleDict({"input": nn.Linear(4, 3), "Output": nn.Linear(3, 2), "norm": nn.LayerNorm(2)})
SLOTS = parameter_slots(MODEL)
PATHS = "input.weight, input.bias, Output.weight, Output.bias, norm.weight, norm.bias"


def test_a_later_pattern_wins_and_what_no_pattern_names_is_left_out() -> None:
    scheme = resolve_scheme({"*.weight": "ones", "input.*": "zeros", "input.bias": "constant(2)"}, SLOTS, where="c")
    assert scheme == {
        "input.weight": Zeros(), "input.bias": Constant(2), "Output.weight": Ones(), "norm.weight": Ones(),
    }  # fmt: skip
    assert resolve_scheme({}, SLOTS, where="c") == {}


def test_patterns_mind_capitals() -> None:
    assert matching("output.*", SLOTS) == [] and matching("O*s", SLOTS) == ["Output.bias"]
    assert matching("[in]*.bias", SLOTS) == ["input.bias", "norm.bias"]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (
            {"output.weight": "zeros"},
            "the pattern 'output.weight' matches no parameter\n  where: conditions.c\n"
            f"  legal: parameters are {PATHS}\n"
            "  do:    did you mean 'Output.weight'?",
        ),
        (
            {"qqq": "zeros"},
            f"the pattern 'qqq' matches no parameter\n  where: conditions.c\n  legal: parameters are {PATHS}",
        ),
        (
            {"*": "normal(std=-1)"},
            "std is not legal\n  where: conditions.c, pattern '*'\n  got:   normal(std=-1)\n"
            "  legal: std: a finite number >= 0",
        ),
        (
            {"*": "normal("},
            "cannot read this as a name with arguments\n  where: conditions.c, pattern '*'\n  got:   'normal('\n"
            "  legal: a name, or a name with literal arguments in brackets, such as zeros or normal(std=0.01)",
        ),
        (
            {"norm.*": "he_normal"},
            "he_normal draws weights, and norm.weight is a norm weight of LayerNorm\n  where: norm.weight\n"
            "  legal: weights of linear and convolutional layers\n"
            "  do:    name it by a pattern such as '*.weight', "
            "or give this parameter zeros, ones, constant, normal or uniform",
        ),
    ],
)
def test_what_cannot_be_drawn_is_refused_before_anything_is(table: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        resolve_scheme(table, SLOTS, where="conditions.c")
    assert str(caught.value) == message


def test_torch_default_refuses_a_parameter_whose_law_it_does_not_know() -> None:
    with pytest.raises(UsageError) as caught:
        resolve_scheme({"*": "torch_default"}, parameter_slots(nn.PReLU()), where="c")
    assert str(caught.value) == (
        "torch's default for weight is not known: it belongs to a PReLU\n  where: weight\n"
        "  legal: parameters of linear, convolutional, norm and embedding layers\n"
        "  do:    leave it out of the pattern: what no pattern names keeps the draw of the model's own constructor"
    )


def test_a_method_that_a_later_pattern_overrides_is_not_tried() -> None:
    assert set(resolve_scheme({"*": "he_normal", "*.bias": "zeros", "norm.*": "ones"}, SLOTS, where="c")) == {
        slot.path for slot in SLOTS
    }


def test_a_parameter_is_drawn_from_the_stream_of_its_run_and_path() -> None:
    slot = SLOTS[0]
    stream = torch.Generator().manual_seed(stream_seed(5, "run", 2, "init", "input.weight"))
    assert torch.equal(draw_parameter(Normal(), slot, root_seed=5, seed=2), torch.empty(3, 4).normal_(generator=stream))
