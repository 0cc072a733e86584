"""Probes of an ensemble against the same numbers computed naively on single modules."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from initscope.records.run import Probes
from initscope.train import probe
from initscope.train.ensemble import train_ensemble
from initscope.train.probe import first_steps
from initscope.train.task import RunIdentity
from tests.support.problems import FOUNDING, TABLE, Problem, problem, record, slow

OTHERS = [key for key in FOUNDING if key not in ("default", "weights-zero-biases-default")]
HIDDEN = ("input", "hidden1", "hidden2")
PATHS = tuple(f"{layer}.{part}" for layer in (*HIDDEN, "output") for part in ("weight", "bias"))


def probes_at_start(made: Problem, run: RunIdentity) -> Probes:
    """A run's probes."""
    found = record(made.ensemble([run]), run.condition, run.seed).probes
    assert found is not None
    return found


def at_start(made: Problem, run: RunIdentity) -> nn.Module:
    """The single module of a run before training, in float64."""
    task = made.preparer().task([run])
    task.model.double()
    task.model.load_state_dict({path: value[0] for path, value in {**task.start, **task.buffers}.items()}, strict=False)
    return task.model.eval()


def outputs_of(model: nn.Module, inputs: Tensor) -> dict[str, Tensor]:
    """What every module says of the inputs, one module at a time."""
    found: dict[str, Tensor] = {}
    with torch.no_grad():
        for name, module in model.named_children():
            inputs = module(inputs)
            found[name] = inputs
    return found


def naive_rows(model: nn.Module, layer: str) -> np.ndarray:
    """A linear layer's rows [weights, bias]; -0.0 is 0.0."""
    module = model.get_submodule(layer)
    weight, bias = module.weight.detach().numpy(), module.bias.detach().numpy()  # type: ignore[union-attr,operator]
    return np.concatenate([weight, bias[:, None]], axis=1) + 0.0


@pytest.mark.parametrize("condition", ["default", "weights-zero-biases-default", *map(slow, OTHERS)])
def test_probes_of_a_fresh_run_are_what_one_computes_by_hand(condition: str) -> None:
    made = problem(conditions={condition: FOUNDING[condition]}, dtype="float64", epochs=1)
    run = made.identities(seeds=(1,))[0]
    found, model = probes_at_start(made, run), at_start(made, run)
    data = made.split(1)
    outputs = outputs_of(model, made.inputs[torch.from_numpy(data.test_index)].double())
    for index, layer in enumerate(HIDDEN):
        output, active = outputs[layer].numpy(), outputs[f"{layer}_activation"].numpy()
        rms = np.sqrt((output**2).mean())
        np.testing.assert_allclose(found.signal_rms[0, index], rms, rtol=1e-12, atol=1e-300)
        share = np.sqrt(output.var(axis=0).mean()) / rms if np.ptp(output, axis=0).any() else 0.0
        np.testing.assert_allclose(found.input_share[0, index], share, rtol=1e-7)
        assert found.dead_units[0, index] == (active == 0).all(axis=0).sum()
        assert found.distinct_units[0, index] == len(np.unique(naive_rows(model, layer), axis=0))
    batch = torch.from_numpy(data.batches(0, 20)[0])
    nn.functional.cross_entropy(model(made.inputs[batch].double()), made.labels[batch]).backward()
    for index, (path, parameter) in enumerate(model.named_parameters()):
        assert parameter.grad is not None
        np.testing.assert_allclose(found.gradient_norm[0, index], float(parameter.grad.norm()), rtol=1e-9, atol=1e-9)
        if "one" not in condition:
            assert bool(found.gradient_zero[0, index]) is not bool(parameter.grad.any()), path
    assert (found.unmoved_share[0] == 1).all()


def test_unmoved_share_counts_the_entries_that_equal_their_start() -> None:
    made = problem(conditions={"hidden1-weight-zero": FOUNDING["hidden1-weight-zero"]}, keep=PATHS)
    result = made.ensemble(made.identities(seeds=(0,)))
    kept, found = result.weights["hidden1-weight-zero", 0], result.records[0].probes
    assert found is not None and found.parameters == PATHS
    for index, path in enumerate(PATHS):
        assert found.unmoved_share[-1, index] == (kept[f"final/{path}"] == kept[f"initial/{path}"]).mean()


def test_probes_are_taken_at_the_first_steps_at_powers_of_two_and_after_every_epoch() -> None:
    made = problem(conditions={"default": {}}, epochs=3)
    found = probes_at_start(made, made.identities(seeds=(0,))[0])
    assert found.steps.tolist() == [0, 1, 2, 3, 4, 8, 16, 27, 54, 81]
    assert found.layers == HIDDEN and found.units == (16, 8, 8)
    assert [first_steps(steps) for steps in (1, 2, 4, 5)] == [(0,), (0, 1), (0, 1, 2, 3), (0, 1, 2, 3, 4)]


@pytest.mark.parametrize("name", ["founding", slow("batchnorm-cnn"), slow("odd-widths")])
def test_the_size_of_chunks_of_test_samples_changes_no_count_and_no_mean(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = problem(**{**TABLE[name], "dtype": "float64", "epochs": 1})
    runs = made.identities(seeds=(0, 1))[:4]
    whole = made.ensemble(runs)
    monkeypatch.setattr(probe, "CHUNK", 7)
    for one, other in zip(made.ensemble(runs).records, whole.records, strict=True):
        assert one.history.test_accuracy_percent.tolist() == other.history.test_accuracy_percent.tolist()
        for field in fields(Probes):
            left, right = (getattr(item.probes, field.name) for item in (one, other))
            if isinstance(left, np.ndarray):
                np.testing.assert_allclose(left, right, rtol=1e-9, atol=1e-12, err_msg=field.name)


def test_a_convolutions_units_are_its_channels_over_all_positions_and_samples() -> None:
    made = problem(factory="grouped_convolutions", conditions={"default": {}}, dtype="float64", epochs=1)
    run = made.identities(seeds=(0,))[0]
    found, model = probes_at_start(made, run), at_start(made, run)
    assert (found.layers, found.units) == (("1", "3", "5"), (4, 6, 4))
    outputs = outputs_of(model, made.inputs[torch.from_numpy(made.split(0).test_index)].double())
    for index, layer in enumerate(found.layers):
        output, active = outputs[layer].numpy(), outputs[str(int(layer) + 1)].numpy()
        np.testing.assert_allclose(found.signal_rms[0, index], np.sqrt((output**2).mean()), rtol=1e-12)
        spread = np.sqrt(output.var(axis=(0, 2, 3)).mean()) / np.sqrt((output**2).mean())
        np.testing.assert_allclose(found.input_share[0, index], spread, rtol=1e-9)
        assert found.dead_units[0, index] == (active == 0).all(axis=(0, 2, 3)).sum()
    assert found.distinct_units[0].tolist() == [4, 6, 4]


class Oddities(nn.Module):
    """Activations that are functions, shared, flattened before they act, or missing."""

    def __init__(self, in_features: int, out_features: int, kind: str) -> None:
        super().__init__()
        self.kind, self.relu = kind, nn.ReLU()
        self.first, self.second, self.head = nn.Linear(in_features, 6), nn.Linear(6, 9), nn.Linear(9, out_features)

    def forward(self, inputs: Tensor) -> Tensor:
        if self.kind == "shared":
            return self.head(self.relu(self.second(self.relu(self.first(inputs)))))
        if self.kind == "functional":
            return self.head(nn.functional.relu(self.second(nn.functional.relu(self.first(inputs)))))
        if self.kind == "pairs":
            paired = self.relu(self.first(inputs).reshape(-1, 3, 2)).reshape(-1, 6)
            return self.head(self.relu(self.second(paired)))
        raise AssertionError(self.kind)


def oddities(*, in_features: int, out_features: int, kind: str) -> nn.Module:
    """A factory."""
    return Oddities(in_features, out_features, kind)


def odd_problem(kind: str) -> Problem:
    """The odd model of a kind; a unit of the second layer is made dead by its bias."""
    model = {"factory": "tests.train.test_probe:oddities", "options": {"kind": kind}}
    table = {"second.bias": "constant(-100.0)", "first.bias": "constant(5.0)"}
    return problem(model=model, conditions={"bad": table}, epochs=1)


def test_one_activation_module_that_serves_two_layers_is_read_at_each_layers_own_call() -> None:
    made = odd_problem("shared")
    found = probes_at_start(made, made.identities(seeds=(0,))[0])
    assert found.dead_units[0].tolist() == [0, 9]


def test_dead_units_are_not_measured_where_the_activation_is_a_function() -> None:
    made = odd_problem("functional")
    found = probes_at_start(made, made.identities(seeds=(0,))[0])
    assert np.isnan(found.dead_units).all()
    assert np.isfinite(found.signal_rms).all() and np.isfinite(found.distinct_units).all()


def test_dead_units_are_not_measured_where_the_activation_sees_other_units_than_the_layers() -> None:
    made = odd_problem("pairs")
    found = probes_at_start(made, made.identities(seeds=(0,))[0])
    assert np.isnan(found.dead_units[:, 0]).all() and (found.dead_units[:1, 1] == 9).all()


def test_widths_are_not_measured_where_a_weight_is_computed_from_others() -> None:
    made = problem(factory="weight_norm", epochs=1)
    found = probes_at_start(made, made.identities(seeds=(0,))[0])
    assert (found.layers, found.units) == (("0", "2"), (8, 6))
    assert np.isnan(found.distinct_units[:, 0]).all() and np.isnan(found.similar_groups[:, 0]).all()
    assert (found.distinct_units[:, 1] == 6).all() and np.isfinite(found.dead_units).all()


def test_layers_too_wide_to_compare_pairwise_have_no_similar_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "WIDEST", 10)
    made = problem(conditions={"default": {}}, epochs=1)
    found = probes_at_start(made, made.identities(seeds=(0,))[0])
    assert np.isnan(found.similar_groups[:, 0]).all() and (found.similar_groups[:, 1:] == 8).all()


def test_a_network_of_one_layer_has_no_hidden_layer_and_trains() -> None:
    made = problem(model={"hidden": []}, conditions={"default": {}, "all-zero": {"*": "zeros"}})
    for run in made.ensemble(made.identities(seeds=(0, 1))).records:
        assert run.probes is not None
        assert run.probes.layers == () and run.probes.dead_units.shape == (8 + 1, 0)
        assert run.final_test_accuracy_percent > 80


def test_frozen_parameters_are_neither_probed_nor_moved_and_tied_ones_are_probed_once() -> None:
    made = problem(factory="tied_and_frozen", epochs=1)
    task = made.preparer().task(made.identities(seeds=(0,)))
    before = {path: value.clone() for path, value in task.buffers.items()}
    found = train_ensemble(task).records[0].probes
    assert found is not None
    assert found.parameters == (
        "first.weight", "first.bias", "square.weight", "square.bias", "again.bias", "head.weight", "head.bias",
    )  # fmt: skip
    assert set(before) == {"fixed.weight", "fixed.bias"}
    assert all(torch.equal(task.buffers[path], value) for path, value in before.items())
    logits = functional_call(
        task.model, {path: value[0] for path, value in {**task.start, **task.buffers}.items()}, (made.inputs[:5],)
    )
    assert logits.shape == (5, 4)


def test_training_leaves_the_start_it_was_given_as_it_was() -> None:
    made = problem(factory="batchnorm_cnn", epochs=1)
    task = made.preparer().task(made.identities(seeds=(0,)))
    before = {path: value.clone() for path, value in {**task.start, **task.buffers}.items()}
    train_ensemble(task)
    for path, value in {**task.start, **task.buffers}.items():
        assert torch.equal(value, before[path]), path
    assert not any(module._forward_hooks for module in task.model.modules())
    assert torch.backends.mha.get_fastpath_enabled()
