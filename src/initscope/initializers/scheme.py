"""From a condition's table to starting values: which parameter is overwritten by what, then the draws.

A parameter's values come from the stream (root seed, "run", seed, "init", its path): conditions of one seed share every
draw they do not overwrite, and adding a layer changes no other layer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

import torch
from torch import Tensor

from initscope.base.calls import parse_call
from initscope.base.errors import UsageError, nearest
from initscope.base.streams import stream_seed
from initscope.initializers.initializer import Initializer, build_initializer
from initscope.modules.slots import ParameterSlot

Scheme = dict[str, Initializer]
"""Parameter path -> the initializer that overwrites it; parameters that are not in it keep their default."""


def resolve_scheme(table: Mapping[str, str], slots: Sequence[ParameterSlot], *, where: str) -> Scheme:
    """Returns which initializer each parameter gets under `table` (pattern -> call text, a later pattern wins).

    Patterns are shell patterns over parameter paths: `hidden1.weight`, `*.bias`, `*`. Every method is tried on its
    parameters' slots, so what cannot be drawn is refused before anything is trained.

    Raises: UsageError for a pattern that matches nothing, an unknown method, a bad argument, a parameter it cannot
    serve.
    """
    scheme: Scheme = {}
    paths = [slot.path for slot in slots]
    for pattern, text in table.items():
        place = f"{where}, pattern {pattern!r}"
        matched = matching(pattern, slots)
        if not matched:
            near = nearest(pattern, paths)
            raise UsageError(
                f"the pattern {pattern!r} matches no parameter",
                where=where,
                legal="parameters are " + ", ".join(paths),
                do=f"did you mean {near!r}?" if near else None,
            )
        method = build_initializer(parse_call(text, where=place), where=place)
        scheme.update(dict.fromkeys(matched, method))
    by_path = {slot.path: slot for slot in slots}
    for path, method in scheme.items():
        method.draw(by_path[path], torch.Generator().manual_seed(0))
    return scheme


def matching(pattern: str, slots: Sequence[ParameterSlot]) -> list[str]:
    """Returns the paths of the parameters that a shell pattern matches, capitals being what they are."""
    return [slot.path for slot in slots if fnmatchcase(slot.path, pattern)]


def draw_parameter(method: Initializer, slot: ParameterSlot, *, root_seed: int, seed: int) -> Tensor:
    """Returns the values of one parameter of the run with `seed`, float32 on the CPU."""
    generator = torch.Generator().manual_seed(stream_seed(root_seed, "run", seed, "init", slot.path))
    return method.draw(slot, generator)
