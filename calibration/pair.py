"""One entry for a broken network and its twin."""

from __future__ import annotations

from functools import partial
from typing import Any, Protocol

from calibration.case import Case, Training


class PairFactory(Protocol):
    """Builds the network with the fault, or the same network without it."""

    def __call__(self, *, broken: bool) -> tuple[Any, Any, Any, Any]:
        """Returns (model, inputs, targets, loss_fn)."""
        ...


def pair(
    name: str,
    build: PairFactory,
    *,
    family: str,
    rules: tuple[str, ...],
    why: str,
    training: Training | None = None,
    why_no_training: str = "",
) -> tuple[Case, Case]:
    """Returns the broken case `name` and its repaired twin, "`name`-repaired"; `why` tells the fault."""
    broken = Case(
        name=name,
        kind="broken",
        family=family,
        build=partial(build, broken=True),
        why=why,
        rules=rules,
        twin=f"{name}-repaired",
        training=training,
        why_no_training=why_no_training,
    )
    twin = Case(
        name=f"{name}-repaired",
        kind="twin",
        family=family,
        build=partial(build, broken=False),
        why=f"The same network as {name} with only the fault repaired.",
        training=training,
        why_no_training=why_no_training,
    )
    return broken, twin
