"""Entries that a poisoned build shows as never written, and whether the network reads them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from initscope.checker.instruments.write_tensors import address
from initscope.checker.instruments.writes import held_tensors
from initscope.modules.arguments import leaves
from initscope.modules.guard import untouched
from initscope.modules.writing import write_values

ONE_BY_ONE = 16
"""Unwritten buffers that are tried one at a time; of more, all are named where any is read."""


def poisoned_entries(
    poisoned: nn.Module, first: nn.Module, *, never_touched: frozenset[str] = frozenset()
) -> dict[str, Tensor]:
    """Returns path -> Bool mask of the entries that nothing was written into; only tensors that have some.

    `first` is the same build on ordinary memory: what is NaN or the integers' maximum there too was written on purpose,
    except in the tensors of `never_touched`, as the write log shows. Where both models hold one and the
    same memory, and for bool and uint8, nothing can be said.
    """
    others = dict(held_tensors(first))
    found = {}
    for path, tensor in held_tensors(poisoned):
        mask = _full(tensor)
        if mask is None or tensor.data_ptr() == others[path].data_ptr():
            continue
        if path not in never_touched:
            mask &= ~cast(Tensor, _full(others[path]))
        if bool(mask.any()):
            found[path] = mask
    return found


def read_buffers(
    poisoned: nn.Module, entries: Mapping[str, Tensor], forward: Callable[[nn.Module], Any] | None
) -> frozenset[str]:
    """Returns the names of unwritten buffers whose values reach the model's outputs.

    Unwritten entries of parameters are given a harmless value before; of buffers too, for the outputs to compare with.
    A forward pass that fails only with a buffer's poison reads it. Without a `forward` that runs, none is named.
    """
    buffers = {path for path, _ in poisoned.named_buffers(remove_duplicate=False)} & set(entries)
    if forward is None or not buffers:
        return frozenset()
    _make_plain(poisoned)
    heal(poisoned, {path: mask for path, mask in entries.items() if path not in buffers})
    held = {path: tensor.detach().clone() for path, tensor in held_tensors(poisoned) if path in buffers}
    heal(poisoned, {path: entries[path] for path in buffers})
    sound = _outputs(poisoned, forward)
    if sound is None or any(bool(output.isnan().any()) for output in sound):
        return frozenset()

    def matters(paths: frozenset[str]) -> bool:
        _put(poisoned, {path: held[path] for path in paths})
        given = _outputs(poisoned, forward)
        heal(poisoned, {path: entries[path] for path in paths})
        return given is None or not _alike(sound, given)

    everything = frozenset(buffers)
    if not matters(everything):
        return frozenset()
    if len(buffers) == 1 or len(buffers) > ONE_BY_ONE:
        return everything
    return frozenset(path for path in buffers if matters(frozenset({path}))) or everything


def heal(model: nn.Module, entries: Mapping[str, Tensor]) -> None:
    """Puts harmless values (0.5, or 0 among integers) where nothing was written.

    Done before a poisoned model is freed, too: its memory is given to later models, whose own unwritten entries would
    look as if NaN had been meant.
    """
    for path, tensor in held_tensors(model):
        if path in entries:
            harmless = 0.5 if tensor.is_floating_point() or tensor.is_complex() else 0
            _write(tensor, torch.where(entries[path], torch.full_like(tensor, harmless), tensor.detach()))


def _make_plain(model: nn.Module) -> None:
    """Gives every buffer memory of its own that can be written: expanded ones and those of inference mode cannot."""
    plain: dict[int, Tensor] = {}
    for module in model.modules():
        for name, buffer in module._buffers.items() if not isinstance(module, torch.jit.ScriptModule) else ():
            if buffer is not None and address(buffer) is not None and (buffer.is_inference() or 0 in buffer.stride()):
                module._buffers[name] = plain.setdefault(
                    id(buffer), buffer.detach().clone(memory_format=torch.contiguous_format)
                )


def _put(model: nn.Module, values: Mapping[str, Tensor]) -> None:
    for path, tensor in held_tensors(model):
        if path in values:
            _write(tensor, values[path])


def _write(held: Tensor, values: Tensor) -> None:
    """Copies values into a tensor; of an expanded one, into the entries that are memory."""
    for axis, step in enumerate(held.stride()):
        if step == 0:
            held, values = held.detach().narrow(axis, 0, 1), values.narrow(axis, 0, 1)
    write_values(held, values)


def _full(tensor: Tensor) -> Tensor | None:
    """Returns which entries have the value that torch fills memory with; None for dtypes where that says nothing."""
    if tensor.is_floating_point() or tensor.is_complex():
        return tensor.detach().isnan()
    if tensor.dtype in (torch.int8, torch.int16, torch.int32, torch.int64):
        return tensor.detach() == torch.iinfo(tensor.dtype).max
    return None


def _outputs(model: nn.Module, forward: Callable[[nn.Module], Any]) -> list[Tensor] | None:
    """Returns copies of the tensors a model gives, None where the forward pass raised; the model stays as it was."""
    with untouched(model), torch.no_grad():
        try:
            return [cast(Tensor, one).detach().clone() for one in leaves(forward(model))]
        except Exception:  # noqa: BLE001  # the user's forward pass may raise anything; that it did is the outcome
            return None


def _alike(first: list[Tensor], second: list[Tensor]) -> bool:
    """Whether outputs agree to what the order of sums can change."""
    if len(first) != len(second):
        return False
    return all(
        one.shape == other.shape and torch.allclose(one, other, rtol=1e-4, atol=1e-6)
        for one, other in zip(first, second, strict=True)
    )
