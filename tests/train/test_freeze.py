"""Runs that diverge: recorded with the right step, kept at their last finite weights, no bit of a neighbour changed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from initscope.records.run import RunRecord
from initscope.train.freeze import Freezer
from initscope.train.task import EnsembleResult
from tests.support.problems import Problem, problem, record, slow
from tests.train.test_company import assert_same_bits

KEPT = ("input.weight", "hidden1.weight", "output.weight", "output.bias")
SOUND = {"default": {}, "biases-zero": {"*.bias": "zeros"}}
STEPS = 27
"""Updates an epoch."""


def with_bad(bad: dict[str, str], **train: object) -> tuple[Problem, EnsembleResult]:
    """A problem with one bad condition between two good ones, and its trained ensemble."""
    made = problem(conditions={"default": {}, "bad": bad, "biases-zero": SOUND["biases-zero"]}, keep=KEPT, **train)
    return made, made.ensemble(made.identities(seeds=(0, 1)))


def assert_neighbours_untouched(made: Problem, result: EnsembleResult, **train: object) -> None:
    """Fails where a good run differs from what it is without the bad one."""
    sound = problem(conditions=SOUND, keep=KEPT, **train)
    runs = [run for run in made.identities(seeds=(0, 1)) if run.condition != "bad"]
    assert all(record(result, run.condition, run.seed).status == "finished" for run in runs)
    assert_same_bits(sound.ensemble(runs), result, runs)


def assert_diverged(run: RunRecord, *, step: int) -> None:
    """Fails unless the run is recorded as diverged at `step`, its curves measured up to that epoch and no further."""
    assert (run.status, run.diverged_step) == ("diverged", step)
    measured = step // STEPS
    for curve in (run.history.train_loss, run.history.train_accuracy_percent, run.history.test_accuracy_percent):
        assert np.isfinite(curve[:measured]).all()
        assert np.isnan(curve[measured:]).all()


@pytest.mark.parametrize("train", [{}, slow({"optimizer": "sgd", "optimizer_options": {"momentum": 0.9}})])
def test_a_run_that_starts_too_large_is_frozen_at_step_0_at_its_start(train: dict[str, object]) -> None:
    made, result = with_bad({"*.weight": "constant(1e30)"}, **train)
    for seed in (0, 1):
        assert_diverged(record(result, "bad", seed), step=0)
        kept = result.weights["bad", seed]
        for path in KEPT:
            assert np.array_equal(kept[f"final/{path}"], kept[f"initial/{path}"])
    assert_neighbours_untouched(made, result, **train)


def test_a_run_whose_loss_leaves_the_finite_numbers_is_frozen_where_the_twin_first_sees_it() -> None:
    linear = {"hidden": [16, 8, 8], "activation": "identity"}
    train: dict[str, object] = {"optimizer": "sgd", "learning_rate": 0.1, "model": linear}
    made, result = with_bad({"*.weight": "he_normal(gain=6.0)"}, **train)
    steps = []
    for run in made.identities(seeds=(0, 1)):
        if run.condition == "bad":
            losses = made.twin(run).step_losses
            first = int(np.nonzero(~np.isfinite(losses))[0][0])
            found = record(result, "bad", run.seed)
            assert found.status == "diverged" and found.diverged_step is not None
            assert first - 1 <= found.diverged_step <= first
            assert_diverged(found, step=found.diverged_step)
            steps.append(first)
            for path in KEPT:
                assert np.isfinite(result.weights["bad", run.seed][f"final/{path}"]).all()
    assert min(steps) > 0
    assert_neighbours_untouched(made, result, **train)


@pytest.mark.parametrize("optimizer", ["adam", slow("sgd"), slow("rmsprop")])
def test_a_run_whose_gradient_overflows_at_a_finite_loss_keeps_its_finite_weights(optimizer: str) -> None:
    bad = {"*": "zeros", "input.bias": "constant(1e-30)", "hidden*.weight": "constant(1e15)"}
    bad |= {"output.weight": "normal(std=1e10)"}
    made, result = with_bad(bad, optimizer=optimizer)
    for seed in (0, 1):
        run = record(result, "bad", seed)
        assert np.isfinite(run.first_step_loss)
        assert_diverged(run, step=0)
        for name, values in result.weights["bad", seed].items():
            assert np.isfinite(values).all(), name
    assert_neighbours_untouched(made, result, optimizer=optimizer)


def test_an_update_that_would_overflow_the_weights_is_not_made() -> None:
    made, result = with_bad({"*.weight": "zeros"}, optimizer="sgd", learning_rate=3e38)
    for run in result.records:
        assert run.status == "diverged"
        for values in result.weights[run.condition, run.seed].values():
            assert np.isfinite(values).all()
    assert {run.diverged_step for run in result.records} <= {0, 1, 2, 3}
    assert len(made.inputs) == 600


def freezer_of(parameters: dict[str, torch.Tensor], *, learning_rate: float = 0.1) -> Freezer:
    return Freezer(parameters, learning_rate=learning_rate)


def test_gradients_that_share_memory_are_not_written_to_when_a_run_is_frozen() -> None:
    parameters = {"a": torch.ones(2, 3), "b": torch.ones(2, 3)}
    shared = torch.full((2, 1), 2.0).expand(2, 3)
    used = freezer_of(parameters).before(
        parameters, {"a": shared, "b": shared}, torch.tensor([1.0, torch.nan]), update=4
    )
    assert shared.tolist() == [[2.0] * 3] * 2
    assert used["a"].tolist() == used["b"].tolist() == [[2.0] * 3, [0.0] * 3]


@pytest.mark.parametrize("poison", [torch.nan, torch.inf, -torch.inf])
def test_a_gradient_that_is_not_finite_freezes_its_run_before_the_update(poison: float) -> None:
    parameters = {"a": torch.zeros(3, 2)}
    gradient = torch.ones(3, 2)
    gradient[1, 0] = poison
    freezer = freezer_of(parameters)
    used = freezer.before(parameters, {"a": gradient}, torch.ones(3), update=7)
    assert freezer.frozen == {1: 7}
    parameters["a"] -= used["a"]
    freezer.after(parameters, update=7)
    assert parameters["a"].tolist() == [[-1.0, -1.0], [0.0, 0.0], [-1.0, -1.0]]


def test_a_frozen_run_keeps_its_first_step_and_stays_frozen_whatever_comes() -> None:
    parameters = {"a": torch.zeros(2, 1)}
    freezer = freezer_of(parameters)
    for update, losses in enumerate(([1.0, 1.0], [torch.inf, 1.0], [1.0, 1.0], [torch.nan, torch.nan])):
        freezer.before(parameters, {"a": torch.ones(2, 1)}, torch.tensor(losses), update=update)
        parameters["a"] -= 1.0
        freezer.after(parameters, update=update)
    assert freezer.frozen == {0: 1, 1: 3}
    assert parameters["a"].tolist() == [[-1.0], [-3.0]]
