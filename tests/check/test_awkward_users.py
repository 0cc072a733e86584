"""What users hand to a check that cannot be checked, or that changes the process while it is."""

from __future__ import annotations

import sys
import threading
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import initscope
from initscope.base.errors import UsageError

X = torch.randn(32, 6, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(32) % 3


def refusal(target: Any, *given: Any) -> str:
    with pytest.raises(UsageError) as caught:
        initscope.check(target, *given)
    return str(caught.value)


class Leaving(nn.Linear):
    """Ends the program in its forward pass."""

    def forward(self, x: Tensor) -> Tensor:
        sys.exit(0)


def _leaves() -> nn.Module:
    sys.exit(3)


def test_a_program_that_is_ended_is_an_error_and_never_a_pass() -> None:
    assert refusal(lambda: Leaving(6, 3), X) == (
        "the model ended the program in its forward pass\n  got:   SystemExit(0)"
    )
    assert refusal(_leaves, X) == "the factory _leaves ended the program\n  got:   SystemExit(3)"


class _Broken(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Tensor:
        raise KeyError("missing")


class Backwards(nn.Linear):
    """Cannot be trained."""

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = _Broken.apply(super().forward(x))  # type: ignore[no-untyped-call]  # torch ships it without types
        return made


def test_a_backward_pass_that_raises_is_an_error_with_the_users_lines() -> None:
    said = refusal(lambda: Backwards(6, 3), X, LABELS, functional.cross_entropy)
    assert said.startswith("the model cannot be run on its inputs: KeyError in the backward pass")
    assert 'raise KeyError("missing")' in said
    assert "initscope/checker" not in said


def test_an_empty_batch_is_an_error() -> None:
    assert refusal(nn.Linear(6, 3), torch.zeros(0, 6)).startswith("the batch is empty")


def test_a_deep_recursion_is_told_in_a_few_lines() -> None:
    class Endless(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return self.forward(x)

    said = refusal(Endless(6, 3), X)
    assert len(said.splitlines()) < 40
    assert "frames more" in said


def test_a_factory_that_cannot_be_called_twice_is_said_to_be_judged_by_one_build() -> None:
    calls = []

    def build() -> nn.Module:
        calls.append(1)
        if len(calls) > 1:
            raise RuntimeError("only once")
        return nn.Linear(6, 3)

    skipped = {one.rule: one.reason for one in initscope.check(build, X).skipped}
    assert skipped["seed-inside"] == "the factory raised when it was called again: RuntimeError: only once"


@pytest.mark.parametrize("loss", ["cross_entropy", nn.CrossEntropyLoss, nn.CrossEntropyLoss()])
def test_a_factory_may_name_its_loss(loss: Any) -> None:
    report = initscope.check(lambda: (nn.Linear(6, 3), X, LABELS, loss))
    assert report.ok
    assert report.record.facts["chance"] == pytest.approx(1.0986, rel=1e-2)


def test_a_loss_that_is_none_is_said_where_it_stands() -> None:
    said = refusal(lambda: (nn.Linear(6, 3), X, LABELS, 7))
    assert "the loss cannot be called" in said
    assert "the fourth thing that" in said


def test_a_graph_that_the_user_holds_can_still_go_backward() -> None:
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))
    held = functional.cross_entropy(model(X), LABELS)
    initscope.check(model, X, LABELS, functional.cross_entropy)
    held.backward()  # type: ignore[no-untyped-call]  # torch ships it without types


def test_a_layer_that_another_thread_calls_is_not_said_to_be_forgotten() -> None:
    class Threaded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.near, self.far = nn.Linear(6, 3), nn.Linear(6, 3)

        def forward(self, x: Tensor) -> Tensor:
            found: list[Tensor] = []
            thread = threading.Thread(target=lambda: found.append(self.far(x)))
            thread.start()
            thread.join()
            return self.near(x) + found[0]

    names = [one.name for one in initscope.check(Threaded, X, LABELS, functional.cross_entropy).findings]
    assert "never-used" not in names


def test_the_largest_seed_is_a_seed() -> None:
    assert initscope.check(nn.Linear(6, 3), X, seed=2**70).ok


def test_complex_weights_raise_no_warning(recwarn: pytest.WarningsRecorder) -> None:
    class Complex(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(16, 6, dtype=torch.complex64) / 6**0.5)

        def forward(self, x: Tensor) -> Tensor:
            return (x.to(torch.complex64) @ self.weight.T).abs()

    initscope.check(Complex, X, torch.rand(32, 16), functional.mse_loss)
    assert not [one for one in recwarn if "complex" in str(one.message)]
