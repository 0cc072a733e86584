from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from calibration import tasks
from calibration.case import Case, Training
from calibration.training import Outcome, chance_loss, clearly_worse, train


def _outcome(final_loss: float, *, chance: float = 1.0, first_loss: float = 1.2, seed: int = 0) -> Outcome:
    return Outcome(
        seed=seed, first_loss=first_loss, final_loss=final_loss, accuracy=math.nan, chance=chance,
        diverged=not math.isfinite(final_loss),
    )  # fmt: skip


def _outcomes(*finals: float) -> list[Outcome]:
    return [_outcome(final, seed=seed) for seed, final in enumerate(finals)]


def _case(build: Any, **plan: Any) -> Case:
    return Case(name="sample", kind="healthy", family="mlp", build=build, why="", training=Training(**plan))


_BLOBS = tasks.blobs(1, batch=32, features=6, classes=3)


def _classifier() -> tuple[Any, Any, Any, Any]:
    model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3))
    return model, *_BLOBS(0), nn.CrossEntropyLoss()


def test_a_broken_network_that_stays_at_chance_is_clearly_worse() -> None:
    verdict = clearly_worse(_outcomes(1.0, 0.99, 1.01), _outcomes(0.1, 0.12, 0.08))
    assert verdict
    assert verdict.broken == pytest.approx((-0.01 / 0.9, 0.0, 0.01 / 0.9))
    assert verdict.reason == ("the broken one gets 0.00 of the way (-0.01, 0.00, 0.01), the twin 0.98, 1.00, 1.02")


def test_equal_trainings_are_not_clearly_worse() -> None:
    verdict = clearly_worse(_outcomes(0.1, 0.12, 0.08), _outcomes(0.1, 0.12, 0.08))
    assert not verdict
    assert verdict.reason == (
        "the broken one gets 1.00 of the way (0.98, 1.00, 1.02), the twin 0.98, 1.00, 1.02; more than 0.8"
    )


def test_overlapping_runs_prove_nothing() -> None:
    verdict = clearly_worse(_outcomes(0.9, 0.9, 0.1), _outcomes(0.1, 0.12, 0.08))
    assert not verdict
    assert verdict.reason == (
        "the broken one gets 0.11 of the way (0.11, 0.11, 1.00), the twin 0.98, 1.00, 1.02; the runs overlap"
    )


def test_a_twin_that_does_not_learn_proves_nothing() -> None:
    verdict = clearly_worse(_outcomes(5.0, 5.0, 5.0), _outcomes(0.95, 0.96, 0.94))
    assert not verdict
    assert verdict.reason == "the twin does not learn: chance 1, final 0.95"


def test_a_diverged_run_counts_as_the_worst_progress() -> None:
    verdict = clearly_worse(_outcomes(math.inf, math.inf, math.inf), _outcomes(0.1, 0.1, 0.1))
    assert verdict and verdict.broken == (-math.inf,) * 3


def test_without_a_chance_level_the_way_starts_at_the_first_loss_of_the_twin() -> None:
    twin = [_outcome(0.2, chance=math.nan, first_loss=2.2)] * 3
    assert clearly_worse([_outcome(1.2, chance=math.nan)] * 3, twin).broken == pytest.approx((0.5, 0.5, 0.5))


def test_a_case_is_trained_once_per_seed_and_learns() -> None:
    outcomes = train(_case(_classifier, batches=_BLOBS, learning_rate=1e-2, steps=60), seeds=2)
    assert [outcome.seed for outcome in outcomes] == [1000, 1001]
    assert outcomes[0].first_loss != outcomes[1].first_loss
    for outcome in outcomes:
        assert outcome.final_loss < 0.5 * outcome.chance < 0.5 * math.log(3)
        assert outcome.accuracy > 0.8 and not outcome.diverged


def test_trainings_repeat_bit_by_bit_and_leave_the_global_generators_alone() -> None:
    case = _case(_classifier, batches=_BLOBS, steps=5)
    torch.manual_seed(7)
    before = torch.get_rng_state()
    assert train(case, seeds=1) == train(case, seeds=1)
    assert torch.equal(before, torch.get_rng_state())


def test_a_training_without_batches_repeats_the_factorys_own() -> None:
    (outcome,) = train(_case(_classifier, learning_rate=1e-2, steps=100), seeds=1)
    assert outcome.final_loss < 0.1


def test_inputs_may_be_named() -> None:
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(6, 3)

        def forward(self, *, x: Tensor) -> Tensor:
            return self.layer(x)

    def build() -> tuple[Any, Any, Any, Any]:
        inputs, targets = _BLOBS(0)
        return Named(), {"x": inputs}, targets, nn.CrossEntropyLoss()

    (outcome,) = train(_case(build, steps=3), seeds=1)
    assert math.isfinite(outcome.final_loss)


def test_a_loss_that_becomes_infinite_is_divergence() -> None:
    def build() -> tuple[Any, Any, Any, Any]:
        inputs, _ = _BLOBS(0)
        return nn.Linear(6, 1), 100 * inputs, inputs[:, :1], nn.MSELoss()

    (outcome,) = train(_case(build, optimizer="sgd", learning_rate=1.0, steps=60), seeds=1)
    assert outcome.diverged and outcome.final_loss == math.inf


def test_a_case_that_is_not_trained_says_why() -> None:
    case = Case(name="still", kind="broken", family="mlp", build=_classifier, why="", why_no_training="it is harmless")
    with pytest.raises(ValueError) as caught:
        train(case)
    assert str(caught.value) == "case 'still' is not trained: it is harmless"


def test_the_chance_of_class_targets_is_the_entropy_of_the_labels() -> None:
    targets = torch.tensor([0, 0, 0, 1, 1, 2])
    share = np.array([3, 2, 1]) / 6
    assert chance_loss(torch.randn(6, 3), targets, functional.cross_entropy) == pytest.approx(
        -(share * np.log(share)).sum(), abs=1e-5
    )


def test_the_chance_of_sequences_in_the_layout_of_cross_entropy_is_one_constant_per_class() -> None:
    targets = torch.tensor([[0, 1, 1, 1], [1, 0, 1, 1]])
    expected = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    assert chance_loss(torch.zeros(2, 2, 4), targets, functional.cross_entropy) == pytest.approx(expected, abs=1e-5)


def test_the_chance_of_squared_errors_is_the_variance_of_the_targets() -> None:
    targets = torch.randn(50, 3) + 5
    expected = targets.var(0, unbiased=False).mean()
    assert chance_loss(torch.zeros(50, 3), targets, nn.MSELoss()) == pytest.approx(float(expected), rel=1e-4)


def test_the_chance_of_an_output_without_tensors_is_not_a_number() -> None:
    assert math.isnan(chance_loss("text", None, lambda output, target: torch.zeros(())))
