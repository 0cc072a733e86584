"""The ensemble against the naive twin: the same data, the same bits at the start, the same losses.

In float64 both are equal to rounding. In float32 rounding is amplified by training itself (Adam divides small gradients
by their own size), so there only the first steps are held to 1e-5; momentum SGD for longer. All-one networks amplify it
from the start: their gradients are exactly zero in exact arithmetic, and what is left of them is rounding.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from initscope.datasets.source import load
from initscope.train.task import RunIdentity
from initscope.train.twin import TwinResult
from tests.support.problems import ALL_ONE, FOUNDING, TABLE, Problem, Watched, problem, record, slow

CSV = Path(__file__).parents[2].parent / "shared" / "data" / "mnist_train_small.csv.gz"
SOME = {key: FOUNDING[key] for key in ("default", "hidden1-weight-zero", "weights-zero-biases-default", "all-one")}
QUICK = [
    name if name in ("founding", "batchnorm-cnn", "dropout-mlp", "tied-and-frozen", "adamw") else slow(name)
    for name in TABLE
]


def made(name: str, **changes: object) -> Problem:
    """A problem of the table; the optimisers' are trained on four conditions."""
    arguments = dict(TABLE[name])
    if "factory" not in arguments and "model" not in arguments and name != "founding":
        arguments["conditions"] = SOME
    return problem(**{**arguments, **changes})


def assert_twins(there: Problem, *, rtol: float, steps: int, delicate_steps: int, delicate_rtol: float = 1e-6) -> None:
    """Fails where an ensemble's losses leave those of its twins within `steps` (of all-one runs: `delicate_steps`)."""
    runs = there.identities(seeds=(0,))
    seen = there.watched(runs)
    for index, run in enumerate(runs):
        fragile = run.condition in ALL_ONE
        twin = there.twin(run, max_steps=delicate_steps if fragile else steps)
        assert len(twin.step_losses) == (delicate_steps if fragile else min(steps, len(seen.losses)))
        np.testing.assert_allclose(
            seen.losses[: len(twin.step_losses), index],
            twin.step_losses,
            rtol=delicate_rtol if fragile else rtol,
            err_msg=run.condition,
        )


@pytest.mark.parametrize("name", QUICK)
def test_ensemble_and_twin_have_equal_losses_in_float64(name: str) -> None:
    assert_twins(made(name, dtype="float64"), rtol=1e-12, steps=40, delicate_steps=15)


@pytest.mark.parametrize("name", ["founding", "dropout-mlp", "sgd-momentum"])
def test_ensemble_and_twin_have_equal_losses_in_float32(name: str) -> None:
    assert_twins(made(name), rtol=1e-5, steps=40, delicate_steps=4, delicate_rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", TABLE)
def test_ensemble_and_twin_have_equal_losses_for_two_hundred_steps_in_float64(name: str) -> None:
    assert_twins(made(name, dtype="float64", epochs=8), rtol=1e-11, steps=200, delicate_steps=15)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sgd-momentum", "asgd", "dropout-mlp", "softmax-regression"])
def test_ensemble_and_twin_have_equal_losses_for_two_hundred_steps_in_float32(name: str) -> None:
    assert_twins(made(name, epochs=8), rtol=1e-5, steps=200, delicate_steps=4, delicate_rtol=1e-5)


def test_all_one_networks_agree_for_fifty_steps_in_float64_to_a_millionth() -> None:
    there = problem(dtype="float64", conditions={key: FOUNDING[key] for key in ALL_ONE})
    assert_twins(there, rtol=1e-12, steps=50, delicate_steps=50, delicate_rtol=2e-6)


@pytest.mark.parametrize("name", ["founding", "batchnorm-cnn", "transformer", "lstm", "tied-and-frozen"])
def test_a_row_of_the_stacked_start_is_the_start_of_the_run_alone_to_the_bit(name: str) -> None:
    there = made(name)
    runs = there.identities(seeds=(0, 1, 2))
    together = there.preparer().task(runs)
    for index, run in enumerate(runs):
        alone = there.preparer().task([run])
        for kind in ("start", "buffers"):
            for path, values in getattr(alone, kind).items():
                assert torch.equal(values[0], getattr(together, kind)[path][index]), (run.key, path)


@pytest.mark.parametrize("name", [slow("founding"), slow("batchnorm-cnn"), "tied-and-frozen"])
def test_gradients_accuracies_and_final_parameters_are_the_twins(name: str) -> None:
    keep = {"founding": "hidden1.weight", "batchnorm-cnn": "1.weight", "tied-and-frozen": "square.weight"}[name]
    there = made(name, dtype="float64", keep=(keep,))
    runs = [run for run in there.identities(seeds=(0, 1)) if run.condition not in ALL_ONE]
    seen = there.watched(runs, keep_gradients=3)
    for index, run in enumerate(runs):
        twin = there.twin(run, keep_gradients=3)
        assert_same_outcome(seen, run, twin, keep=keep)
        for step, gradients in enumerate(twin.gradients):
            assert set(gradients) == set(seen.gradients[step])
            for path, slope in gradients.items():
                torch.testing.assert_close(seen.gradients[step][path][index], slope, rtol=1e-10, atol=1e-12)


def assert_same_outcome(seen: Watched, run: RunIdentity, twin: TwinResult, *, keep: str) -> None:
    """Fails where the accuracies or the kept weights of a run are not its twin's."""
    history = record(seen.result, run.condition, run.seed).history
    np.testing.assert_array_equal(history.test_accuracy_percent, twin.test_accuracy_percent)
    np.testing.assert_allclose(history.train_accuracy_percent, twin.train_accuracy_percent, rtol=1e-12)
    kept = seen.result.weights[run.condition, run.seed][f"final/{keep}"]
    np.testing.assert_allclose(kept, twin.parameters[keep].numpy(), rtol=1e-9, atol=1e-12)


def founding_problem(dtype: str) -> Problem:
    """The founding study's own network, batches and data; skips without them."""
    if not CSV.exists():
        pytest.skip("the real data are not at hand")
    data = load(str(CSV))
    both = torch.from_numpy(data.inputs), torch.from_numpy(data.labels)
    return problem(model={"hidden": [64, 32, 32]}, data=both, batch_size=32, epochs=1, dtype=dtype)


@pytest.mark.slow
def test_the_founding_study_on_its_own_data_agrees_for_two_hundred_steps_in_float64() -> None:
    assert_twins(founding_problem("float64"), rtol=1e-12, steps=200, delicate_steps=50)


@pytest.mark.slow
def test_the_founding_study_on_its_own_data_agrees_for_two_hundred_steps_in_float32() -> None:
    """All but a few runs: 2 of 15 part, from step 9 and step 65 on; the others stay within 3e-6.

    In the one that was looked into, gradients jump by a fortieth where the paths part: a pre-activation seems to lie
    within rounding of ReLU's kink, the engines take different slopes there, and Adam tells them apart from then on.
    """
    there = founding_problem("float32")
    runs = [run for run in there.identities(seeds=(0, 1)) if run.condition not in ALL_ONE]
    seen = there.watched(runs)
    errors = [
        np.abs(there.twin(run, max_steps=200).step_losses / seen.losses[:200, index] - 1.0)
        for index, run in enumerate(runs)
    ]
    assert max(error[:5].max() for error in errors) < 1e-5
    assert sum(error.max() < 1e-5 for error in errors) >= len(runs) - 3


def test_the_comparison_fails_where_twins_part() -> None:
    there = problem(conditions={"default": {}}, epochs=1)
    other = Problem(study=there.study, inputs=there.inputs.flip(0), labels=there.labels)

    class Mixed(Problem):
        def twin(self, run: RunIdentity, *, max_steps: int | None = None, keep_gradients: int = 0) -> TwinResult:
            return other.twin(run, max_steps=max_steps, keep_gradients=keep_gradients)

    with pytest.raises(AssertionError):
        assert_twins(
            Mixed(study=there.study, inputs=there.inputs, labels=there.labels), rtol=1e-5, steps=10, delicate_steps=1
        )
