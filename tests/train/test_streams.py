"""Where numbers come from: a run's draws depend on its own names alone, and the user's generators are left as they
were."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from initscope.base.streams import stream_seed
from initscope.models.registry import build_model
from initscope.modules.generators import seeded_generators
from initscope.records.dataset import Dataset
from initscope.study.plan import make_plan
from initscope.train.task import RunIdentity, seed_data
from tests.support.problems import CLASSES, FEATURES, FOUNDING, Problem, problem


def start_of(made: Problem, condition: str, seed: int) -> dict[str, Tensor]:
    """One run's starting values."""
    task = made.preparer().task([RunIdentity(condition=condition, seed=seed, key="")])
    return {path: value[0] for path, value in task.start.items()}


def assert_equal_values(one: dict[str, Tensor], other: dict[str, Tensor], paths: set[str]) -> None:
    """Fails where one of the parameters differs in a bit."""
    assert paths
    for path in paths:
        assert torch.equal(one[path], other[path]), path


@pytest.mark.parametrize("factory", [None, "dropout_mlp"])
def test_a_runs_default_draw_does_not_depend_on_the_studys_other_conditions(factory: str | None) -> None:
    few = problem(factory=factory, conditions={"default": {}})
    many = problem(factory=factory, conditions={"z": {"*.bias": "zeros"}, "o": {"*": "ones"}, "default": {}})
    for seed in (0, 7):
        one, other = start_of(few, "default", seed), start_of(many, "default", seed)
        assert_equal_values(one, other, set(one))


def test_conditions_of_one_seed_share_every_draw_they_do_not_overwrite() -> None:
    made = problem()
    for seed in (0, 3):
        default = start_of(made, "default", seed)
        biases_zero = start_of(made, "biases-zero", seed)
        assert_equal_values(default, biases_zero, {path for path in default if path.endswith("weight")})
        assert not any(biases_zero[path].any() for path in default if path.endswith("bias"))
        starved = start_of(made, "hidden1-weight-zero", seed)
        assert_equal_values(default, starved, set(default) - {"hidden1.weight"})


def test_another_seed_and_another_root_seed_give_other_draws() -> None:
    made = problem()
    moved = made.study.model_copy(update={"root_seed": 1})
    other_root = Problem(study=moved, inputs=made.inputs, labels=made.labels)
    default = start_of(made, "default", 0)
    for other in (start_of(made, "default", 1), start_of(other_root, "default", 0)):
        assert not any(torch.equal(value, other[path]) for path, value in default.items())


def test_one_more_layer_changes_no_draw_of_a_layer_whose_shape_it_does_not_change() -> None:
    three, four = problem(model={"hidden": [16, 8, 8]}), problem(model={"hidden": [16, 8, 8, 8]})
    one, other = start_of(three, "default", 0), start_of(four, "default", 0)
    assert set(other) - set(one) == {"hidden3.weight", "hidden3.bias"}
    assert_equal_values(one, other, set(one))


def test_an_overwritten_parameter_reads_its_own_stream_whatever_the_method_of_others() -> None:
    made = problem(conditions={"a": {"*.weight": "he_normal"}, "b": {"input.*": "ones", "output.weight": "he_normal"}})
    assert_equal_values(start_of(made, "a", 0), start_of(made, "b", 0), {"output.weight"})


def test_a_factorys_default_draw_is_what_the_factory_does_under_the_runs_seed() -> None:
    made = problem(factory="batchnorm_cnn")
    with seeded_generators(stream_seed(0, "run", 4, "build")):
        fresh = build_model(made.study.model, in_features=FEATURES, out_features=CLASSES)
    start = start_of(made, "default", 4)
    assert_equal_values(start, dict(fresh.named_parameters()), set(start))


def test_conditions_of_one_seed_share_split_and_shuffles_and_seeds_do_not() -> None:
    one, again, other = (seed_data(100, seed=seed, root_seed=0, test_fraction=0.1) for seed in (0, 0, 1))
    assert np.array_equal(one.test_index, again.test_index) and not np.array_equal(one.test_index, other.test_index)
    assert np.array_equal(one.batches(3, 8), again.batches(3, 8))
    assert not np.array_equal(one.batches(3, 8), one.batches(4, 8))
    assert set(one.train_index) | set(one.test_index) == set(range(100))
    assert one.batches(0, 8).shape == (11, 8)


def generators() -> tuple[object, ...]:
    """The states of torch's, numpy's and Python's global generators."""
    return torch.get_rng_state().tolist(), str(np.random.get_state()), random.getstate()  # noqa: NPY002  # only read


class Draws(nn.Module):
    """Draws from all three global generators when it is built."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.layer = nn.Linear(in_features, out_features)
        self.factor = float(np.random.rand()) + random.random()  # noqa: NPY002  # what a user's model may do
        self.drop = nn.Dropout(0.2)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.layer(self.drop(inputs)) * self.factor


def draws(*, in_features: int, out_features: int) -> nn.Module:
    """A factory."""
    return Draws(in_features, out_features)


@pytest.mark.parametrize("model", [{"hidden": [5]}, {"factory": "tests.train.test_streams:draws"}])
def test_planning_preparing_and_training_leave_the_users_generators_as_they_were(model: dict[str, object]) -> None:
    made = problem(model=model, conditions={"default": {}, "random": {"*.bias": "normal(std=0.1)"}}, epochs=1)
    data = Dataset(
        name="blobs",
        source="blobs",
        inputs=made.inputs.numpy(),
        labels=made.labels.numpy(),
        class_values=(0, 1, 2, 3),
        image_shape=None,
        scale=1.0,
        sha256="0" * 64,
    )
    before = generators()
    plan = make_plan(made.study, data)
    assert generators() == before
    made.ensemble(list(plan.runs[:4]))
    assert generators() == before
    made.twin(plan.runs[0], max_steps=3)
    assert generators() == before


def test_founding_conditions_overwrite_exactly_what_they_name() -> None:
    made = problem()
    default = start_of(made, "default", 0)
    for key in FOUNDING:
        start = start_of(made, key, 0)
        changed = {path for path in default if not torch.equal(start[path], default[path])}
        weights, biases = ({path for path in default if path.endswith(part)} for part in ("weight", "bias"))
        assert changed == {
            "default": set(),
            "hidden1-weight-zero": {"hidden1.weight"},
            "all-zero": weights | biases,
            "all-one": weights | biases,
            "weights-one-biases-zero": weights | biases,
            "weights-zero-biases-default": weights,
            "weights-one-biases-default": weights,
            "biases-zero": biases,
        }[key]
