"""The floating tensors in whatever a model returned, found and replaced by their place in it."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

Step = tuple[str, Any]
"""One step into a structure: ("item", index or key) or ("attribute", name)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Leaf:
    """A floating or complex tensor of an output, and the steps that lead to it (none for a tensor alone)."""

    steps: tuple[Step, ...]
    tensor: Tensor

    @property
    def name(self) -> str:
        """The last key on the way, "" for a tensor alone."""
        return str(self.steps[-1][1]) if self.steps else ""


def floating_outputs(output: Any) -> tuple[Leaf, ...]:
    """Returns every floating or complex tensor of `output`, in order, each once.

    Looked into are tensors, tuples, named tuples, lists, mappings, dataclasses and the tensors that are attributes of
    any other object. A scalar called "loss" is left out: it is no output but what a model made of its outputs.
    """
    seen: set[int] = set()
    found = []
    for leaf in _leaves(output, ()):
        if id(leaf.tensor) not in seen and not (leaf.name == "loss" and leaf.tensor.numel() == 1):
            seen.add(id(leaf.tensor))
            found.append(leaf)
    return tuple(found)


def main_output(output: Any) -> Leaf | None:
    """Returns the tensor that stands for `output`: the one called logits, else the first; None where there is none.

    Tensors of one axis or more go before numbers, and those in the graph before constants.
    """
    leaves = floating_outputs(output)
    return min(
        leaves,
        key=lambda leaf: (leaf.name != "logits", leaf.tensor.ndim == 0, not leaf.tensor.requires_grad),
        default=None,
    )


def loss_output(output: Any) -> Tensor | None:
    """Returns the main floating tensor of whatever a model returned; None where there is none.

    Example:
        >>> import torch
        >>> loss_output({"loss": torch.ones(()), "hidden": torch.ones(2, 3), "logits": torch.ones(2, 5)}).shape
        torch.Size([2, 5])
    """
    leaf = main_output(output)
    return None if leaf is None else leaf.tensor


def with_replaced(output: Any, replacements: Mapping[tuple[Step, ...], Tensor]) -> Any:
    """Returns a copy of `output`'s structure in which the tensors at these steps are replaced; the rest is shared.

    Raises: TypeError, ValueError or AttributeError where a structure cannot be rebuilt.
    """
    for steps, tensor in replacements.items():
        output = _replaced(output, steps, tensor)
    return output


def _leaves(value: Any, steps: tuple[Step, ...]) -> Iterator[Leaf]:
    if isinstance(value, Tensor):
        if (value.is_floating_point() or value.is_complex()) and value.numel():
            yield Leaf(steps=steps, tensor=value)
        return
    for step, inner in _parts(value, depth=len(steps)):
        yield from _leaves(inner, (*steps, step))


def _parts(value: Any, *, depth: int) -> Iterator[tuple[Step, Any]]:
    if depth > 8 or isinstance(value, str | bytes | nn.Module | type):
        return
    if isinstance(value, Mapping):
        yield from ((("item", key), inner) for key, inner in value.items())
    elif isinstance(value, tuple | list):
        yield from ((("item", index), inner) for index, inner in enumerate(value))
    elif dataclasses.is_dataclass(value):
        yield from ((("attribute", one.name), getattr(value, one.name, None)) for one in dataclasses.fields(value))
    elif hasattr(value, "__dict__"):
        yield from ((("attribute", name), one) for name, one in vars(value).items() if isinstance(one, Tensor))


def _replaced(value: Any, steps: tuple[Step, ...], tensor: Tensor) -> Any:
    if not steps:
        return tensor
    (kind, key), rest = steps[0], steps[1:]
    if kind == "attribute":
        made = copy.copy(value)
        object.__setattr__(made, key, _replaced(getattr(value, key), rest, tensor))
        return made
    inner = _replaced(value[key], rest, tensor)
    if isinstance(value, Mapping):
        made = copy.copy(value)
        made[key] = inner  # type: ignore[index]  # a mapping that cannot be written raises TypeError, as promised
        return made
    items = [*value[:key], inner, *value[key + 1 :]]
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*items)
    return type(value)(items)
