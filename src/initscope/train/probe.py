"""Looks inside an ensemble at one moment: test accuracy, signal, dead and distinct units, gradients, what has moved."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from initscope.measures.gradients import exactly_zero, gradient_norms, unmoved_share
from initscope.measures.signal import SignalSums, alive_units, units_last
from initscope.measures.width import distinct_units, similar_groups
from initscope.modules.layers import Layer
from initscope.records.run import Probes
from initscope.train.aligned import AlignedProducts, missing_rows, repeat_last

TOLERANCE = 1e-3
CHUNK = 1024
"""Test samples a forward pass: bounds memory, changes no result (counts and float64 sums)."""
WIDEST = 2048
"""Layers with more units than this are not compared pairwise (units^2 distances): similar_groups is NaN there."""

FloatArray = NDArray[np.float64]
Outputs = dict[tuple[str, int], Tensor]
"""(module path, which of its calls) -> its output, stacked over runs."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TestView:
    """What a forward pass over the held-out set shows: Float "run" and Float "run layer"; NaN is not measured."""

    __test__ = False

    accuracy_percent: FloatArray
    dead_units: FloatArray
    signal_rms: FloatArray
    input_share: FloatArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Moment:
    """One probe of all runs of an ensemble: {measure name of `Probes`: Float "run parameter" or "run layer"}."""

    step: int
    values: Mapping[str, FloatArray]


def first_steps(steps_per_epoch: int) -> tuple[int, ...]:
    """Returns the first epoch's updates at which a probe is taken: 0, 1, 2, 3, then powers of two below an epoch."""
    powers = [2**exponent for exponent in range(2, steps_per_epoch.bit_length() + 1)]
    return tuple(step for step in [0, 1, 2, 3, *powers] if step < steps_per_epoch)


class Prober:
    """Probes ensembles of one model. `layers` are its layers in forward order; the hidden ones are all but the last.

    The model is put in evaluation mode for the forward pass and back in training mode after it.
    """

    def __init__(self, model: nn.Module, layers: Sequence[Layer]) -> None:
        self._model, self.hidden = model, tuple(layers[:-1])

    def view(self, state: Mapping[str, Tensor], groups: Sequence[tuple[slice, Tensor, Tensor]]) -> TestView:
        """Returns what the held-out sets show. `groups` are (rows of the ensemble, inputs, labels), a seed each."""
        fast = torch.backends.mha.get_fastpath_enabled()
        torch.backends.mha.set_fastpath_enabled(False)  # torch's fused evaluation of attention knows no vmap
        self._model.eval()
        try:
            parts = [self._view_rows({k: v[rows] for k, v in state.items()}, x, y) for rows, x, y in groups]
        finally:
            self._model.train()
            torch.backends.mha.set_fastpath_enabled(fast)
        return TestView(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in parts[0].__dict__})

    def _view_rows(self, state: Mapping[str, Tensor], inputs: Tensor, labels: Tensor) -> TestView:
        """A view of one group, its rows made whole, so that a run's bits do not depend on the group's size."""
        runs = len(next(iter(state.values())))
        extra = missing_rows(runs, samples=len(inputs))
        view = self._view_group({path: repeat_last(value, extra) for path, value in state.items()}, inputs, labels)
        return TestView(**{name: values[:runs] for name, values in view.__dict__.items()})

    def _view_group(self, state: Mapping[str, Tensor], inputs: Tensor, labels: Tensor) -> TestView:
        runs = len(next(iter(state.values())))
        correct = torch.zeros(runs, dtype=torch.int64, device=inputs.device)
        sums = [SignalSums() for _ in self.hidden]
        alive: list[Tensor | None] = [None] * len(self.hidden)
        for start in range(0, len(inputs), CHUNK):
            logits, outputs = self._forward(dict(state), inputs[start : start + CHUNK])
            correct += (logits.argmax(dim=-1) == labels[start : start + CHUNK]).sum(dim=-1)
            for index, layer in enumerate(self.hidden):
                sums[index].add(units_last(outputs[layer.path, 0], layer.unit_axis))
                now = _alive(outputs, layer)
                if now is not None:
                    before = alive[index]
                    alive[index] = now if before is None else before | now
        dead = [torch.full((runs,), torch.nan) if units is None else (~units).sum(dim=1).double() for units in alive]
        return TestView(
            accuracy_percent=100.0 * correct.double().cpu().numpy() / len(inputs),
            dead_units=_columns(dead, runs),
            signal_rms=_columns([signal.rms() for signal in sums], runs),
            input_share=_columns([signal.input_share() for signal in sums], runs),
        )

    def _forward(self, state: dict[str, Tensor], inputs: Tensor) -> tuple[Tensor, Outputs]:
        wanted = {(layer.path, 0) for layer in self.hidden}
        wanted |= {(layer.activation, layer.activation_call) for layer in self.hidden if layer.activation is not None}
        caught: dict[str, list[Tensor]] = {path: [] for path, _ in wanted}

        def catch(path: str, output: Tensor) -> None:
            caught[path].append(output)

        def one(zero: Tensor, values: dict[str, Tensor]) -> tuple[Tensor, tuple[Tensor, Outputs]]:
            for outputs in caught.values():
                outputs.clear()
            logits = functional_call(self._model, values, (inputs,))
            return zero, (logits, {(path, call): caught[path][call] for path, call in wanted})

        modules = dict(self._model.named_modules())
        handles = [modules[path].register_forward_hook(_hook(catch, path)) for path in sorted(caught)]
        lifted = vmap(grad(one, has_aux=True), in_dims=(None, 0))  # only under grad is a composite call taken apart
        try:
            with torch.no_grad(), AlignedProducts(), warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # vmap's fallback: slow, and right
                return lifted(torch.zeros((), device=inputs.device), state)[1]  # type: ignore[no-any-return]  # untyped
        finally:
            for handle in handles:
                handle.remove()

    def moment(
        self,
        step: int,
        view: TestView,
        *,
        parameters: Mapping[str, Tensor],
        start: Mapping[str, Tensor],
        gradients: Mapping[str, Tensor],
    ) -> Moment:
        """Returns one probe: `view`, the gradients on the batch about to be used, widths, and what has moved."""
        runs = len(next(iter(parameters.values())))
        rows = [_rows(parameters, layer) for layer in self.hidden]
        nothing = torch.full((runs,), torch.nan)
        groups = [
            nothing if row is None or row.shape[1] > WIDEST else similar_groups(row, tolerance=TOLERANCE)
            for row in rows
        ]
        distinct = [nothing if row is None else distinct_units(row) for row in rows]
        return Moment(
            step=step,
            values={
                "gradient_norm": _columns([gradient_norms(gradients[path]) for path in parameters], runs),
                "gradient_zero": _columns([exactly_zero(gradients[path]) for path in parameters], runs),
                "unmoved_share": _columns([unmoved_share(parameters[path], start[path]) for path in parameters], runs),
                "distinct_units": _columns(distinct, runs),
                "similar_groups": _columns(groups, runs),
                "dead_units": view.dead_units,
                "signal_rms": view.signal_rms,
                "input_share": view.input_share,
            },
        )

    def probes_of(self, run: int, moments: Sequence[Moment], parameters: Sequence[str]) -> Probes:
        """Returns what was measured of one run over all moments."""
        stacked = {name: np.stack([moment.values[name][run] for moment in moments]) for name in moments[0].values}
        return Probes(
            steps=np.array([moment.step for moment in moments], dtype=np.int64),
            parameters=tuple(parameters),
            layers=tuple(layer.path for layer in self.hidden),
            units=tuple(layer.units for layer in self.hidden),
            tolerance=TOLERANCE,
            **stacked,
        )


def _hook(catch: Callable[[str, Tensor], None], path: str) -> Callable[[nn.Module, object, Tensor], None]:
    def hook(_module: nn.Module, _inputs: object, output: Tensor) -> None:
        catch(path, output)

    return hook


def _alive(outputs: Outputs, layer: Layer) -> Tensor | None:
    """Bool "run unit": the layer's living units; None where its activation is no module or says nothing unit by
    unit."""
    if layer.activation is None:
        return None
    units = units_last(outputs[layer.activation, layer.activation_call], layer.unit_axis)
    return alive_units(units) if units.shape[-1] == layer.units else None


def _rows(parameters: Mapping[str, Tensor], layer: Layer) -> Tensor | None:
    """A layer's rows [weights, bias] of all runs, "run unit weight"; None where its weight is no plain parameter."""
    if f"{layer.path}.weight" not in parameters:
        return None
    weight = parameters[f"{layer.path}.weight"].movedim(layer.row_axis + 1, 1).flatten(2)
    bias = parameters.get(f"{layer.path}.bias")
    if weight.shape[1] != layer.units:  # a grouped transposed convolution: its rows are spread over groups
        weight = weight.reshape(weight.shape[0], layer.units, -1)
    return weight if bias is None else torch.cat([weight, bias.unsqueeze(-1)], dim=-1)


def _columns(values: Sequence[Tensor], runs: int) -> FloatArray:
    if not values:
        return np.empty((runs, 0))
    return torch.stack([value.double().cpu() for value in values], dim=1).numpy()
