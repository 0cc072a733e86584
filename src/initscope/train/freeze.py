"""Runs that diverge are frozen at the last parameters that were finite and had a finite loss."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

SAFE = 1e18
"""An update whose gradients are shorter than this (also times the learning rate) leaves finite parameters finite."""

Tensors = Mapping[str, Tensor]


class Freezer:
    """Watches losses and gradients and holds the frozen rows of stacked parameters in place.

    A run is frozen at the first update whose loss or gradient is not finite, or that would carry its parameters out of
    the finite numbers; that update is not made. Optimisers act entry by entry, so a row can be put back after each step
    without any other row noticing: neighbours' numbers are those they would have without the frozen run, to the bit.
    """

    def __init__(self, parameters: Tensors, *, learning_rate: float) -> None:
        self.frozen: dict[int, int] = {}
        """Row -> the update (0-based) that was not made."""
        self._scale = max(1.0, learning_rate)
        self._held: dict[str, Tensor] = {}
        self._rows = torch.empty(0, dtype=torch.int64)
        self._before: dict[str, Tensor] = {}
        self._paths = tuple(parameters)

    def before(self, parameters: Tensors, gradients: Tensors, losses: Tensor, *, update: int) -> Tensors:
        """Returns the gradients to use at `update`: those of frozen runs are zero, so that no NaN enters the optimiser.

        `losses` are "run"; parameters and gradients {path: "run *shape"} are only read.
        """
        gradients = self._without_frozen(gradients)
        length = float(torch.nn.utils.get_total_norm([gradients[path] for path in self._paths]))
        risky = not length * self._scale < SAFE  # a NaN is risky
        if risky or not bool(torch.isfinite(losses).all()):
            finite = _finite_rows(gradients) if risky else torch.ones_like(losses, dtype=torch.bool)
            self._freeze(~(finite & torch.isfinite(losses)), update)
            gradients = self._without_frozen(gradients)
        self._before = {path: parameters[path].clone() for path in self._paths} if risky else {}
        if self.frozen:
            self._held = {path: parameters[path][self._rows] for path in self._paths}
        return gradients

    def _without_frozen(self, gradients: Tensors) -> Tensors:
        if not self.frozen:
            return gradients
        return {path: gradients[path].index_fill(0, self._rows, 0.0) for path in self._paths}

    def after(self, parameters: Tensors, *, update: int) -> None:
        """Puts the frozen rows back, and freezes the runs that this update has carried out of the finite numbers."""
        for path, rows in self._held.items():
            parameters[path][self._rows] = rows
        lost = ~_finite_rows(parameters) if self._before else None
        if lost is not None and bool(lost.any()):
            for path, values in self._before.items():
                parameters[path][lost] = values[lost]
            self._freeze(lost, update)
        self._before = {}

    def _freeze(self, rows: Tensor, update: int) -> None:
        for row in torch.nonzero(rows).flatten().tolist():
            self.frozen.setdefault(row, update)
        self._rows = torch.tensor(sorted(self.frozen), device=rows.device, dtype=torch.int64)


def _finite_rows(values: Tensors) -> Tensor:
    """Bool "run": which runs have only finite entries in all of `values` {path: "run *shape"}."""
    rows = [torch.isfinite(value).flatten(1).all(dim=1) for value in values.values()]
    return torch.stack(rows).all(dim=0)
