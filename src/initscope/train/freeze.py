"""Runs that diverge are frozen: their parameters stay as they were before the update whose loss was not finite."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


class Freezer:
    """Watches losses and holds the frozen rows of stacked parameters in place.

    Optimisers act entry by entry, so a row can be put back after each step without any other row noticing: neighbours'
    numbers are those they would have without the frozen run, to the bit.
    """

    def __init__(self, parameters: Mapping[str, Tensor]) -> None:
        self.frozen: dict[int, int] = {}
        """Row -> the update (0-based) whose loss was not finite."""
        self._held: dict[str, Tensor] = {}
        self._rows = torch.empty(0, dtype=torch.int64)
        self._paths = tuple(parameters)

    def watch(self, losses: Tensor, *, update: int) -> None:
        """Marks the runs whose loss is not finite at `update`."""
        finite = torch.isfinite(losses)
        if bool(finite.all()):
            return
        for row in torch.nonzero(~finite).flatten().tolist():
            self.frozen.setdefault(row, update)
        self._rows = torch.tensor(sorted(self.frozen), device=losses.device)

    def before(self, parameters: Mapping[str, Tensor], gradients: Mapping[str, Tensor]) -> None:
        """Remembers the frozen rows and clears their gradients, so that no NaN enters the optimiser's state."""
        if not self.frozen:
            return
        self._held = {path: parameters[path][self._rows].clone() for path in self._paths}
        for path in self._paths:
            gradients[path][self._rows] = 0.0

    def after(self, parameters: Mapping[str, Tensor]) -> None:
        """Puts the frozen rows back."""
        for path, rows in self._held.items():
            parameters[path][self._rows] = rows
