"""What is zero at the start leaves zero after a few tiny steps, unless it is blocked."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from initscope.checker.evidence import Escape
from tests.check.measuring import evidence_of


def _escape(model: nn.Module, inputs: Tensor) -> Escape:
    torch.manual_seed(0)
    found = evidence_of(model, inputs).escape
    assert isinstance(found, Escape)
    return found


class Branches(nn.Module):
    """A stream with zero branches inside zero branches, as sound designs nest them."""

    def __init__(self, *, second_zero: bool) -> None:
        super().__init__()
        self.stem, self.up, self.down, self.head = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 2)
        for layer in (self.down, self.head) + ((self.up,) if second_zero else ()):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, inputs: Tensor) -> Tensor:
        stream = self.stem(inputs)
        return self.head(stream + self.down(self.up(stream).relu()))


def test_a_zero_head_over_a_zero_branch_leaves_zero_within_the_steps() -> None:
    torch.manual_seed(0)
    escape = _escape(Branches(second_zero=False), torch.randn(16, 6))
    assert escape.zero_at["up.weight"][0] and not escape.zero_at["up.weight"][-1]
    assert not any(states[-1] for states in escape.zero_at.values())


def test_two_zero_layers_with_a_relu_between_never_leave_zero() -> None:
    torch.manual_seed(0)
    escape = _escape(Branches(second_zero=True), torch.randn(16, 6))
    assert all(escape.zero_at["up.weight"]) and all(escape.zero_at["down.weight"])
    assert not escape.zero_at["head.weight"][-1]


def test_the_size_of_the_gradient_does_not_matter() -> None:
    class Tiny(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(6, 6), nn.Linear(6, 2)

        def forward(self, inputs: Tensor) -> Tensor:
            return self.last(self.first(inputs)) * 1e-12

    escape = _escape(Tiny(), torch.randn(16, 6))
    assert escape.finite and not any(states[-1] for states in escape.zero_at.values())


def test_units_of_a_constant_layer_stay_equal_and_random_ones_different() -> None:
    model = nn.Sequential(nn.Linear(6, 8), nn.Dropout(0.5), nn.Tanh(), nn.Linear(8, 3))
    nn.init.constant_(model[0].weight, 0.3)
    nn.init.zeros_(model[0].bias)
    nn.init.constant_(model[3].weight, 0.2)
    escape = _escape(model, torch.randn(16, 6))
    assert len(set(escape.end["0.weight"][0].both)) == 1
    model = nn.Sequential(nn.Linear(6, 8), nn.Dropout(0.5), nn.Tanh(), nn.Linear(8, 3))
    assert len(set(_escape(model, torch.randn(16, 6)).end["0.weight"][0].both)) == 8
