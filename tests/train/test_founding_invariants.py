"""What theory says of the founding conditions, exactly, in both engines: the ensemble and its naive twin."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.func import functional_call

from initscope.records.run import Probes
from initscope.train.task import RunIdentity
from tests.support.problems import ALL_ONE, CLASSES, FOUNDING, problem, record, slow

LAYERS = ("input", "hidden1", "hidden2", "output")
PATHS = tuple(f"{layer}.{part}" for layer in LAYERS for part in ("weight", "bias"))
HIDDEN = (16, 8, 8)
SEEDS = (0, 1, 2)
EVERY = frozenset(range(4))

AWAKE = {
    "default": dict.fromkeys(PATHS, EVERY),
    "biases-zero": dict.fromkeys(PATHS, EVERY),
    "hidden1-weight-zero": dict.fromkeys(PATHS, EVERY)
    | {"input.weight": frozenset({1, 2, 3}), "input.bias": frozenset({1, 2, 3})},
    "all-zero": dict.fromkeys(PATHS, frozenset[int]()) | {"output.bias": EVERY},
    "weights-zero-biases-default": {
        path: frozenset(step for step in range(4) if step >= first)
        for layer, first in zip(LAYERS, (3, 2, 1, 0), strict=True)
        for path in (f"{layer}.weight", f"{layer}.bias")
    },
}
"""condition -> parameter -> the steps 0..3 at which its gradient is not exactly zero."""


@cache
def gradients(engine: str) -> dict[tuple[str, int], list[dict[str, Tensor]]]:
    """The gradients of the first four steps of every founding run, in float64."""
    there = problem(dtype="float64", epochs=1)
    runs = there.identities(seeds=SEEDS)
    if engine == "twin":
        return {
            (run.condition, run.seed): there.twin(run, max_steps=4, keep_gradients=4).gradients
            for run in runs
        }
    seen = there.watched(runs, keep_gradients=4).gradients
    return {
        (run.condition, run.seed): [{path: step[path][index] for path in step} for step in seen]
        for index, run in enumerate(runs)
    }


@cache
def trained(condition: str, dtype: str = "float32") -> dict[int, dict[str, np.ndarray]]:
    """Every parameter of a condition's runs before and after an epoch, by seed."""
    there = problem(conditions={condition: FOUNDING[condition]}, keep=PATHS, dtype=dtype, epochs=1)
    return {seed: kept for (_, seed), kept in there.ensemble(there.identities(seeds=SEEDS)).weights.items()}


def lives(weights: dict[str, np.ndarray], layer: str) -> np.ndarray:
    """Which units of a layer have a positive bias at the start."""
    return weights[f"initial/{layer}.bias"] > 0


@pytest.mark.parametrize("engine", ["ensemble", "twin"])
@pytest.mark.parametrize("condition", AWAKE)
def test_the_gradients_that_are_exactly_zero_in_the_first_four_steps_are_those_of_theory(
    condition: str, engine: str
) -> None:
    for seed in SEEDS:
        steps = gradients(engine)[condition, seed]
        awake = {path: frozenset(k for k in range(4) if bool((steps[k][path] != 0).any())) for path in PATHS}
        assert awake == AWAKE[condition]


@pytest.mark.parametrize("engine", ["ensemble", "twin"])
@pytest.mark.parametrize("condition", ALL_ONE)
def test_of_an_all_one_network_only_the_output_layer_has_a_gradient_at_step_0(condition: str, engine: str) -> None:
    for seed in SEEDS:
        first = gradients(engine)[condition, seed][0]
        for path, slope in first.items():
            if path.startswith("output"):
                assert float(slope.abs().max()) > 1e-3
            else:
                assert float(slope.abs().max()) < 1e-9


def test_the_probes_say_which_gradients_are_exactly_zero() -> None:
    result = problem(dtype="float64", epochs=1).ensemble(problem().identities(seeds=(0,)))
    for condition, expected in AWAKE.items():
        probes = probes_of(record(result, condition, 0).probes)
        for step in range(4):
            row = list(probes.steps).index(step)
            awake = {path for path, zero in zip(probes.parameters, probes.gradient_zero[row], strict=True) if zero == 0}
            assert awake == {path for path in PATHS if step in expected[path]}, (condition, step)
            assert all((probes.gradient_norm[row] == 0) == (probes.gradient_zero[row] == 1))


def probes_of(probes: Probes | None) -> Probes:
    """The probes of a run that has them."""
    assert probes is not None
    return probes


def test_with_hidden1_weight_zero_units_of_negative_bias_stay_exactly_as_they_are_and_the_others_move() -> None:
    for kept in trained("hidden1-weight-zero").values():
        alive = lives(kept, "hidden1")
        assert not kept["initial/hidden1.weight"].any()
        assert not kept["final/hidden1.weight"][~alive].any()
        assert np.array_equal(kept["final/hidden1.bias"][~alive], kept["initial/hidden1.bias"][~alive])
        assert kept["final/hidden1.weight"][alive].any(axis=1).all()


def test_with_hidden1_weight_zero_each_runs_first_predictions_are_one_class() -> None:
    there = problem(conditions={"hidden1-weight-zero": FOUNDING["hidden1-weight-zero"]})
    task = there.preparer().task(there.identities(seeds=SEEDS))
    for seed in SEEDS:
        logits = functional_call(task.model, {path: value[seed] for path, value in task.start.items()}, (there.inputs,))
        assert bool((logits == logits[0]).all())


def test_with_weights_zero_the_dead_units_are_the_negative_biases_of_every_hidden_layer_for_ever() -> None:
    there = problem(conditions={"weights-zero-biases-default": FOUNDING["weights-zero-biases-default"]}, keep=PATHS)
    result = there.ensemble(there.identities(seeds=SEEDS))
    for seed in SEEDS:
        kept = result.weights["weights-zero-biases-default", seed]
        probes = probes_of(record(result, "weights-zero-biases-default", seed).probes)
        for index, layer in enumerate(probes.layers):
            alive = lives(kept, layer)
            assert probes.dead_units[0, index] == (~alive).sum()
            assert (probes.dead_units[:, index] >= (~alive).sum()).all()
            assert not kept[f"final/{layer}.weight"][~alive].any()
            assert np.array_equal(kept[f"final/{layer}.bias"][~alive], kept[f"initial/{layer}.bias"][~alive])


def test_with_everything_zero_only_the_output_bias_ever_moves() -> None:
    for kept in trained("all-zero").values():
        moved = {path for path in PATHS if kept[f"final/{path}"].any()}
        assert moved == {"output.bias"}


def test_with_everything_zero_the_first_loss_is_ln_c_and_all_test_answers_are_one_class() -> None:
    there = problem(conditions={"all-zero": FOUNDING["all-zero"]}, dtype="float64")
    for run in there.ensemble(there.identities(seeds=SEEDS)).records:
        assert run.first_step_loss == pytest.approx(math.log(CLASSES), abs=1e-14)
        shares = 100.0 * np.array(run.class_shares)
        assert all(np.isclose(shares, accuracy).any() for accuracy in run.history.test_accuracy_percent)
        probes = probes_of(run.probes)
        assert not probes.signal_rms.any() and not probes.input_share.any()


@pytest.mark.parametrize("condition", ["all-one", "weights-one-biases-zero"])
@pytest.mark.parametrize("hidden", [(16, 16, 8), slow((7, 5, 3))])
def test_units_that_start_equal_stay_equal_in_float64(condition: str, hidden: tuple[int, ...]) -> None:
    model = {"hidden": list(hidden)}
    there = problem(conditions={condition: FOUNDING[condition]}, dtype="float64", keep=PATHS, model=model, epochs=1)
    result = there.ensemble(there.identities(seeds=SEEDS))
    for seed in SEEDS:
        assert (probes_of(record(result, condition, seed).probes).similar_groups == 1).all()
        kept = result.weights[condition, seed]
        for layer in LAYERS[:-1]:
            rows = kept[f"final/{layer}.weight"]
            np.testing.assert_allclose(rows, rows[:1].repeat(len(rows), 0), rtol=1e-9)
            assert not np.array_equal(rows, kept[f"initial/{layer}.weight"])
        columns = kept["final/output.weight"].T
        np.testing.assert_allclose(columns, columns[:1].repeat(len(columns), 0), rtol=1e-9)


@pytest.mark.parametrize(
    ("optimizer", "options", "revives"),
    [
        slow("adam", {}, False),
        ("adamw", {"weight_decay": 0.01}, False),
        slow("sgd", {"momentum": 0.9}, False),
        ("adam", {"weight_decay": 1e-4}, True),
    ],
)
def test_a_starved_unit_comes_back_under_adam_with_coupled_weight_decay_and_under_nothing_else(
    optimizer: str,
    options: dict[str, object],
    revives: bool,  # noqa: FBT001  # a case
) -> None:
    there = problem(
        conditions={"hidden1-weight-zero": FOUNDING["hidden1-weight-zero"]},
        optimizer=optimizer,
        optimizer_options=options,
        epochs=4,
        keep=("hidden1.bias", "hidden1.weight"),
    )
    for kept in there.ensemble(there.identities(seeds=SEEDS)).weights.values():
        starved = ~lives(kept, "hidden1")
        assert starved.any()
        assert bool(kept["final/hidden1.weight"][starved].any()) is revives


def test_without_biases_the_network_is_homogeneous_at_the_start() -> None:
    there = problem(conditions={"biases-zero": FOUNDING["biases-zero"]}, dtype="float64")
    task = there.preparer().task(there.identities(seeds=SEEDS))
    inputs = there.inputs.double()
    for seed in SEEDS:
        state = {path: value[seed].double() for path, value in task.start.items()}
        model = task.model.double()
        whole = functional_call(model, state, (inputs,))
        assert torch.equal(functional_call(model, state, (4.0 * inputs,)), 4.0 * whole)
        torch.testing.assert_close(functional_call(model, state, (0.3 * inputs,)), 0.3 * whole, rtol=1e-12, atol=1e-15)
        assert not functional_call(model, state, (0.0 * inputs,)).any()


def test_pixels_that_are_blank_in_every_image_leave_their_weights_where_they_were() -> None:
    blank = problem(keep=("input.weight",), conditions={"default": {}})
    blank.inputs[:, [0, 7, 35]] = 0.0
    result = blank.ensemble([RunIdentity(condition="default", seed=seed, key="") for seed in SEEDS])
    for kept in result.weights.values():
        moved = (kept["final/input.weight"] != kept["initial/input.weight"]).any(axis=0)
        assert set(np.nonzero(~moved)[0]) == {0, 7, 35}
