"""INI602 non-finite."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from initscope.checker.rules.non_finite import NonFinite
from tests.check.rules.built import alarms, findings, mended


class _Around(nn.Module):
    """A function between two layers."""

    def __init__(self, inner: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.enter, self.leave, self.inner = nn.Linear(5, 8), nn.Linear(8, 3), inner

    def forward(self, x: Tensor) -> Tensor:
        return self.leave(self.inner(self.enter(x)))


def _with(inner: Callable[[Tensor], Tensor]) -> Callable[[], Any]:
    return lambda: (_Around(inner), torch.ones(6, 5).cumsum(0), torch.arange(6) % 3, functional.cross_entropy)


def _causal(x: Tensor) -> Tensor:
    scores = (x @ x.t()).masked_fill(torch.ones(6, 6).triu(1).bool(), float("-inf"))
    return scores.softmax(-1) @ x


def _added_mask(x: Tensor) -> Tensor:
    return (x @ x.t() + torch.full((6, 6), float("-inf")).triu(1)).softmax(-1) @ x


def _masked_log(x: Tensor) -> Tensor:
    positive = x.relu()
    return torch.where(positive > 0, positive.log(), torch.zeros_like(x)).detach() + x


def _empty_row(x: Tensor) -> Tensor:
    seen = torch.ones(6, 6).bool()
    seen[2] = False
    return (x @ x.t()).masked_fill(~seen, float("-inf")).softmax(-1) @ x


def _norm_at_zero(x: Tensor) -> Tensor:
    return x + (x - x).norm(dim=-1, keepdim=True)


@pytest.mark.parametrize(
    ("inner", "operator"),
    [(lambda x: (x - 1e3).relu().log(), "log"), (lambda x: (900 * x.abs()).exp(), "exp"), (_empty_row, "_softmax")],
)
def test_the_first_operator_that_makes_such_a_number_is_named(inner: Callable[[Tensor], Tensor], operator: str) -> None:
    (one,) = alarms(NonFinite, _with(inner))
    assert (one.severity, one.evidence["operator"]) == ("error", operator)
    assert one.location is not None and one.location.file == __file__


def test_the_message_holds_the_loss_the_place_and_the_range() -> None:
    (one,) = alarms(NonFinite, _with(lambda x: (x * 0).log()))
    assert one.message == (
        "the loss is nan: the first operator that makes infinity, log in _Around, is given values from 0 to 0 (float32)"
    )


def test_gradients_that_are_not_finite_are_found_behind_a_finite_loss() -> None:
    (one,) = alarms(NonFinite, _with(lambda x: x + (x - x).sqrt()))
    assert (one.severity, one.evidence["operator"]) == ("error", "sqrt")


@pytest.mark.parametrize("inner", [_causal, _added_mask, _masked_log, _norm_at_zero])
def test_infinity_that_never_reaches_the_loss_is_sound(inner: Callable[[Tensor], Tensor]) -> None:
    assert findings(NonFinite, _with(inner)) == ()


def _holding(value: float, *, trainable: bool = True) -> Callable[[], Any]:
    def build() -> Any:
        net = _Around(torch.sigmoid)
        net.bound = nn.Parameter(torch.tensor([value, 0.0, 0.0]), requires_grad=trainable)
        net.leave.register_forward_hook(lambda module, args, output: output + net.bound.exp())
        return net, torch.randn(6, 5), torch.arange(6) % 3, functional.cross_entropy

    return build


@pytest.mark.parametrize(
    ("value", "severity"), [(float("nan"), "error"), (float("inf"), "error"), (float("-inf"), "warn")]
)
def test_a_parameter_that_is_no_number_is_found_and_its_fix_helps(value: float, severity: str) -> None:
    (one,) = alarms(NonFinite, _holding(value))
    assert (one.severity, one.where) == (severity, ("bound",))
    assert alarms(NonFinite, mended(_holding(value), one.fix)) == ()


def test_a_frozen_mask_of_minus_infinity_is_sound() -> None:
    assert findings(NonFinite, _holding(float("-inf"), trainable=False)) == ()


def test_made_up_inputs_lower_what_the_forward_pass_shows() -> None:
    def build() -> Any:
        return nn.Sequential(nn.Linear(5, 8), _Log(), nn.Linear(8, 3))

    assert [one.severity for one in findings(NonFinite, build)] == ["warn"]


class _Log(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.log()


def test_masked_scores_as_output_without_a_loss_are_sound() -> None:
    def build() -> Any:
        return _Around(lambda x: x).requires_grad_(), torch.randn(6, 5)

    def masked() -> Any:
        net, x = build()
        net.leave.register_forward_hook(
            lambda module, args, output: output.masked_fill(torch.tensor([True, False, False]), float("-inf"))
        )
        return net, x

    assert findings(NonFinite, masked) == ()
