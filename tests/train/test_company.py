"""A run's bits do not depend on the company it is trained in: records, probes and kept weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

import numpy as np
import pytest
import torch

from initscope.records.run import RunRecord
from initscope.train.aligned import aligned_product
from initscope.train.task import EnsembleResult, RunIdentity
from tests.support.problems import FOUNDING, TABLE, Problem, problem, record, slow

SIZES = (1, 3, 7)
NAMES = ("founding", "dropout-mlp", "batchnorm-cnn", "odd-widths", "tied-and-frozen", "grouped-convolutions")
OPTIMISERS = ("sgd-momentum", "adam-amsgrad", "adamw", "rmsprop", "nadam", "radam", "adagrad", "adadelta", "rprop")


def differences(one: RunRecord, other: RunRecord) -> list[str]:
    """The names of what differs between two records of a run, wall time left out."""
    found = []
    for part in ("history", "probes"):
        for field in fields(getattr(one, part)):
            left, right = (getattr(getattr(record, part), field.name) for record in (one, other))
            if isinstance(left, np.ndarray):
                equal = np.array_equal(left, right, equal_nan=left.dtype.kind == "f")
            else:
                equal = left == right
            if not equal:
                found.append(f"{part}.{field.name}")
    names = ("condition", "seed", "status", "first_step_loss", "diverged_step", "class_shares", "steps")
    return found + [name for name in names if getattr(one, name) != getattr(other, name)]


def assert_same_bits(one: EnsembleResult, other: EnsembleResult, runs: Sequence[RunIdentity]) -> None:
    """Fails where a run's record or kept weights differ between two results."""
    for run in runs:
        assert differences(record(one, run.condition, run.seed), record(other, run.condition, run.seed)) == [], run
        left, right = (result.weights[run.condition, run.seed] for result in (one, other))
        assert left.keys() == right.keys()
        for name, values in left.items():
            assert np.array_equal(values, right[name], equal_nan=True), (run, name)


def kept_of(made: Problem) -> tuple[str, ...]:
    """All parameters of a problem's model."""
    return tuple(made.preparer().task(made.identities(seeds=(0,))[:1]).start)


def company(name: str, **changes: object) -> Problem:
    """A problem of the table that keeps all its weights; three conditions, two short epochs."""
    arguments = {**TABLE[name], **changes}
    if "factory" not in arguments and "conditions" not in changes:
        arguments["conditions"] = {key: FOUNDING[key] for key in ("default", "hidden1-weight-zero", "all-one")}
    bare = problem(**arguments)
    short = (bare.inputs[:170], bare.labels[:170])
    return problem(**arguments, data=short, keep=kept_of(bare))


def assert_company_changes_nothing(made: Problem, *, runs: int, sizes: Sequence[int]) -> None:
    """Fails where a run differs between the whole ensemble and ensembles of the given sizes."""
    identities = made.identities(seeds=range(runs))[:runs]  # type: ignore[arg-type]  # any sequence of seeds will do
    whole = made.ensemble(identities)
    for size in sizes:
        for first in range(0, runs, size):
            some = identities[first : first + size]
            assert_same_bits(made.ensemble(some), whole, some)


@pytest.mark.parametrize("name", [*map(slow, NAMES)])
def test_the_size_of_the_ensemble_changes_no_bit(name: str) -> None:
    assert_company_changes_nothing(company(name, epochs=1), runs=5, sizes=(3,))


@pytest.mark.slow
@pytest.mark.parametrize("name", OPTIMISERS)
def test_the_size_of_the_ensemble_changes_no_bit_under_any_optimiser(name: str) -> None:
    assert_company_changes_nothing(company(name, epochs=1), runs=3, sizes=(1,))


@pytest.mark.slow
@pytest.mark.parametrize("name", [*NAMES, "transformer", "lstm"])
def test_no_size_of_ensemble_up_to_twelve_changes_a_bit(name: str) -> None:
    sizes = SIZES if name in ("founding", "odd-widths") else (7,)
    assert_company_changes_nothing(company(name, epochs=1), runs=12, sizes=sizes)


@pytest.mark.parametrize("batch_size", [slow(1), slow(3), 16])
def test_the_size_of_the_ensemble_changes_no_bit_with_odd_widths_and_any_batch(batch_size: int) -> None:
    made = company("odd-widths", batch_size=batch_size, epochs=1)
    assert_company_changes_nothing(made, runs=3, sizes=(2,))


@pytest.mark.parametrize("activation", ["tanh", "gelu", "sigmoid", "softplus", "selu", "silu"])
@pytest.mark.slow
def test_the_size_of_the_ensemble_changes_no_bit_with_any_activation(activation: str) -> None:
    model = {"hidden": [5, 3], "activation": activation}
    assert_company_changes_nothing(company("founding", model=model, batch_size=9, epochs=1), runs=4, sizes=(1, 3))


@pytest.mark.parametrize("sides", [(5, 16, 7), (9, 20, 9), (7, 7, 9), (9, 37, 5), (16, 32, 8), (1, 1, 1)])
def test_a_product_of_matrices_does_not_depend_on_their_position_in_the_stack(sides: tuple[int, int, int]) -> None:
    rows, inner, columns = sides
    generator = torch.Generator().manual_seed(0)
    left, right = torch.randn(6, rows, inner, generator=generator), torch.randn(6, columns, inner, generator=generator)
    whole = aligned_product(left, right.transpose(1, 2))
    torch.testing.assert_close(whole, torch.bmm(left, right.transpose(1, 2)))
    for index in range(6):
        pair = aligned_product(left[[index] * 2], right[[index] * 2].transpose(1, 2))
        assert torch.equal(pair[0], whole[index]) and torch.equal(pair[1], whole[index])


def test_neither_order_nor_neighbours_nor_number_change_a_bit() -> None:
    made = company("founding", epochs=1)
    runs = made.identities(seeds=(0, 1, 2))
    whole = made.ensemble(runs)
    assert_same_bits(made.ensemble(runs[::-1]), whole, runs)
    assert_same_bits(made.ensemble(runs[1::3]), whole, runs[1::3])
    shuffled = [runs[index] for index in np.random.default_rng(0).permutation(len(runs))]
    assert_same_bits(made.ensemble(shuffled), whole, runs)


@pytest.mark.slow
def test_a_run_repeated_gives_the_same_bits() -> None:
    made = company("dropout-mlp")
    runs = made.identities(seeds=(0, 1))
    assert_same_bits(made.ensemble(runs), made.ensemble(runs), runs)


def test_the_comparison_of_records_fails_where_one_bit_differs() -> None:
    made = company("founding", epochs=1)
    runs = made.identities(seeds=(0,))
    one, other = made.ensemble(runs), made.ensemble(runs)
    curve = other.records[0].history.train_loss
    curve[0] = np.nextafter(curve[0], 9.0)
    assert differences(one.records[0], other.records[0]) == ["history.train_loss"]
    with pytest.raises(AssertionError):
        assert_same_bits(one, other, runs)
