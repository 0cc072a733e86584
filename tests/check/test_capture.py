"""One pass is recorded operator by operator, with the statistics of what passed."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from initscope.checker.instruments.graph import layers, main_outputs, next_activation, trunk
from initscope.checker.instruments.moments import moments
from tests.check.measuring import evidence_of, trace_of


def _kinds(trace) -> list[str]:
    return [op.name for op in trace.forward_ops("linear", "activation", "norm", "softmax", "sum")]


def test_modules_and_functions_leave_the_same_operators() -> None:
    torch.manual_seed(0)
    modules = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.LayerNorm(5), nn.Linear(5, 3))

    class Functional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.held = modules

        def forward(self, inputs: Tensor) -> Tensor:
            first, _, norm, last = self.held
            hidden = functional.relu(functional.linear(inputs, first.weight, first.bias))
            return functional.layer_norm(hidden, (5,), norm.weight, norm.bias) @ last.weight.T + last.bias

    inputs = torch.randn(8, 6)
    assert _kinds(trace_of(modules, inputs)) == ["addmm", "relu", "native_layer_norm", "addmm"]
    assert _kinds(trace_of(Functional(), inputs)) == ["addmm", "relu", "native_layer_norm", "mm"]


def test_attention_and_recurrent_kernels_are_taken_apart() -> None:
    attention = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    assert "_safe_softmax" in _kinds(trace_of(attention, torch.randn(4, 5, 8)))
    steps = _kinds(trace_of(nn.GRU(6, 5, batch_first=True), torch.randn(4, 7, 6)))
    assert steps.count("tanh") == 7 and steps.count("sigmoid") == 14


def test_forward_statistics_are_those_of_the_activations() -> None:
    torch.manual_seed(1)
    model, inputs = nn.Sequential(nn.Linear(6, 50), nn.Tanh(), nn.Linear(50, 3)), torch.randn(64, 6)
    trace = trace_of(model, inputs)
    first = layers(trace)[0]
    expected = model[0](inputs)
    assert first.weight == "0.weight" and first.fan_in == 6 and first.units == 50
    assert first.forward is not None
    assert math.isclose(first.forward.rms, float(expected.square().mean().sqrt()), rel_tol=1e-5)
    assert math.isclose(first.forward.spread, float(expected.var(0, correction=0).mean().sqrt()), rel_tol=1e-5)
    assert first.forward.between == pytest.approx(first.forward.spread)


def test_backward_statistics_are_those_of_autograd() -> None:
    torch.manual_seed(1)
    model, inputs = nn.Sequential(nn.Linear(6, 50), nn.Tanh(), nn.Linear(50, 3)), torch.randn(64, 6)
    targets = torch.randint(0, 3, (64,))
    trace = trace_of(model, inputs, targets, functional.cross_entropy)
    hidden = model[0](inputs)
    hidden.retain_grad()
    functional.cross_entropy(model[2](model[1](hidden)), targets).backward()
    backward = layers(trace)[0].backward
    assert backward is not None and hidden.grad is not None
    assert math.isclose(backward.rms, float(hidden.grad.square().mean().sqrt()), rel_tol=1e-5)


def test_between_sees_samples_where_spread_sees_positions_too() -> None:
    tokens = torch.randn(1, 10, 4).expand(8, 10, 4).contiguous()
    found = moments(tokens, samples=8, sample_axis=0, unit_axis=2)
    assert found is not None and found.between == 0 and found.spread > 0.5


@pytest.mark.parametrize("factor", [1e-30, 1.0, 1e30])
def test_statistics_do_not_leave_the_range_of_the_numbers(factor: float) -> None:
    entries = torch.randn(100, 5, generator=torch.Generator().manual_seed(0))
    found = moments(entries * factor, samples=100, sample_axis=0, unit_axis=1)
    assert found is not None and found.rms == pytest.approx(factor * float(entries.square().mean().sqrt()), rel=1e-4)


def test_dropout_is_its_mean_and_leaves_equal_units_equal() -> None:
    model = nn.Sequential(nn.Linear(6, 40), nn.Dropout(0.5), nn.Linear(40, 3))
    inputs = torch.randn(8, 6)
    trace = trace_of(model, inputs)
    output = trace.values[main_outputs(trace)[0]].forward
    expected = model[2](model[0](inputs))
    assert output is not None and output.rms == pytest.approx(float(expected.square().mean().sqrt()), rel=1e-5)


class Residual(nn.Module):
    def __init__(self, *, skip: bool) -> None:
        super().__init__()
        self.stem, self.branch, self.head, self.skip = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 2), skip

    def forward(self, inputs: Tensor) -> Tensor:
        stream = self.stem(inputs)
        inside = self.branch(stream.relu())
        return self.head(stream + inside if self.skip else inside)


def test_the_trunk_passes_branches_by() -> None:
    plain = {layer.weight: layer.trunk for layer in layers(trace_of(Residual(skip=False), torch.randn(8, 6)))}
    skipped = {layer.weight: layer.trunk for layer in layers(trace_of(Residual(skip=True), torch.randn(8, 6)))}
    assert plain == {"stem.weight": True, "branch.weight": True, "head.weight": True}
    assert skipped == {"stem.weight": True, "branch.weight": False, "head.weight": True}


def test_the_trunk_ends_at_the_output() -> None:
    trace = trace_of(Residual(skip=True), torch.randn(8, 6))
    assert trunk(trace)[-1] in main_outputs(trace)


def test_an_in_place_activation_is_seen_with_its_input() -> None:
    model = nn.Sequential(nn.Linear(6, 30), nn.ReLU(inplace=True), nn.Linear(30, 2))
    with torch.no_grad():
        model[0].bias.fill_(-100)
    trace = trace_of(model, torch.randn(8, 6))
    op = next_activation(trace, layers(trace)[0].value)
    assert op is not None and op.activity is not None and op.activity.off.all()


def test_a_cut_is_seen_by_what_no_longer_stands_in_the_graph() -> None:
    class Cut(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(6, 5), nn.Linear(5, 2)

        def forward(self, inputs: Tensor) -> Tensor:
            return self.second(self.first(inputs).data)

    evidence = evidence_of(Cut(), torch.randn(8, 6))
    assert evidence.parameters["first.weight"].grad == "none" and evidence.parameters["first.weight"].used
    assert evidence.parameters["second.weight"].grad == "some"


def test_a_write_into_a_slice_reaches_the_whole_tensor() -> None:
    class Filling(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(6, 3)

        def forward(self, inputs: Tensor) -> Tensor:
            found = torch.zeros(len(inputs), 6)
            found[:, :3] = self.layer(inputs)
            return found

    trace = trace_of(Filling(), torch.randn(8, 6))
    assert [layer.trunk for layer in layers(trace)] == [True]
    assert trace.values[main_outputs(trace)[0]].from_data
