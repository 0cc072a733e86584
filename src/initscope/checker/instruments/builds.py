"""What building a network several times shows: other seeds, and memory that nothing was written into."""

from __future__ import annotations

import io
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from typing import Any

import torch
from torch import Tensor, nn

from initscope.base.errors import InitscopeError
from initscope.base.streams import stream_seed
from initscope.checker.evidence import Absent, Builds
from initscope.checker.instruments.build_poison import heal, poisoned_entries, read_buffers
from initscope.checker.instruments.write_tensors import address
from initscope.checker.instruments.writes import WriteLog, held_tensors, watch_writes
from initscope.modules.generators import seeded_generators

Factory = Callable[[], Any]


def first_build(factory: Factory, *, seed: int) -> tuple[Any, WriteLog]:
    """Calls the factory and returns what it returned, with the log of every write, settled on the model.

    The model is built as the user would build it, under global generators seeded by `seed`; the generators and torch's
    deterministic switches are restored. What the factory raises is passed on as it is.
    """
    with _switches_restored(poison=False), seeded_generators(_seed(seed)), watch_writes() as log:
        returned = factory()
    model = model_of(returned)
    if model is not None:
        log.settle(model)
    return returned, log


def examine_builds(
    factory: Factory,
    model: nn.Module,
    log: WriteLog,
    *,
    seed: int,
    forward: Callable[[nn.Module], Any] | None = None,
) -> Builds:
    """Builds twice more, under another seed and on poisoned memory, and returns what that showed.

    `model` and `log` are those of `first_build`, unchanged since and under the same `seed`. The poisoned build runs
    under the first seed with uninitialised memory filled: entries that are NaN there (of integers, the maximum) and
    something else in `model` were never written. Each model built here is freed before the next. `forward` calls a
    model on the user's inputs and returns its outputs; without it no buffer can be seen to matter.

    A factory that cannot be called again leaves `second_seed` and `poisoned` absent, with the reason.
    """
    equal: frozenset[str] = frozenset()
    unwritten: dict[str, float] = {}
    read: frozenset[str] = frozenset()
    second = _again(factory, model, seed=_seed(seed, "second"), poison=False)
    if isinstance(second, nn.Module):
        equal = _equal_values(model, second)
    outcome: bool | Absent = second if isinstance(second, Absent) else True
    del second
    if isinstance(outcome, Absent):
        poison_outcome: bool | Absent = outcome
    else:
        poisoned = _again(factory, model, seed=_seed(seed), poison=True)
        poison_outcome = poisoned if isinstance(poisoned, Absent) else True
        if isinstance(poisoned, nn.Module):
            entries = poisoned_entries(poisoned, model, never_touched=_never_touched(model, log))
            unwritten = {path: int(mask.sum()) / mask.numel() for path, mask in entries.items()}
            read = read_buffers(poisoned, entries, forward)
            heal(poisoned, entries)
    return Builds(
        writes=log.writes,
        equal_in_seeds=equal,
        unwritten=unwritten,
        unwritten_read=read,
        born=log.born,
        seed_calls=log.seed_calls,
        second_seed=outcome,
        poisoned=poison_outcome,
    )


def model_of(returned: Any) -> nn.Module | None:
    """Returns the model in what a factory returned: the model itself, or the first of a tuple."""
    first = returned[0] if isinstance(returned, tuple) and returned else returned
    return first if isinstance(first, nn.Module) else None


def _seed(seed: int, *more: str) -> int:
    return stream_seed(seed, "build", *more)


def _again(factory: Factory, model: nn.Module, *, seed: int, poison: bool) -> nn.Module | Absent:
    """Returns another model of the factory, comparable with `model`, or why there is none; its prints are swallowed."""
    try:
        with _switches_restored(poison=poison), seeded_generators(seed), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with redirect_stdout(io.StringIO()):
                built = model_of(factory())
    except Exception as error:  # noqa: BLE001  # the user's code may raise anything
        cause = error.__cause__ if isinstance(error, InitscopeError) and error.__cause__ is not None else error
        said = str(cause).splitlines()
        told = f"{type(cause).__name__}: {said[0] if said else ''}"
        return Absent(reason=f"the factory raised when it was called again: {told}")
    if built is None:
        return Absent(reason="the factory returned no model when it was called again")
    if built is model:
        return Absent(reason="the factory returns the same model every time")
    differing = _difference(_layout(model), _layout(built))
    if differing:
        return Absent(reason=f"the factory builds another architecture every time: {differing}")
    return built


def _layout(model: nn.Module) -> dict[str, str]:
    return {path: f"{list(tensor.shape)} {str(tensor.dtype)[6:]}" for path, tensor in held_tensors(model)}


def _difference(first: Mapping[str, str], second: Mapping[str, str]) -> str:
    """Returns the first tensor that two models do not share, as text; "" where they agree."""
    for path in (*first, *second):
        if first.get(path) != second.get(path):
            return f"{path} is {first.get(path, 'absent')}, then {second.get(path, 'absent')}"
    return ""


def _equal_values(first: nn.Module, second: nn.Module) -> frozenset[str]:
    """Returns the names of tensors whose bytes agree; one and the same memory in both models proves nothing."""
    others = dict(held_tensors(second))
    return frozenset(
        path
        for path, tensor in held_tensors(first)
        if address(tensor) != address(others[path]) and torch.equal(_bytes(tensor), _bytes(others[path]))
    )


def _bytes(tensor: Tensor) -> Tensor:
    return tensor.detach().resolve_conj().resolve_neg().contiguous().reshape(-1).view(torch.uint8)


def _never_touched(model: nn.Module, log: WriteLog) -> frozenset[str]:
    """Returns the names of tensors that were made in the first build and that no write filled as a whole."""
    touched = {path for write in log.writes if write.whole for path in write.tensors}
    return frozenset(path for path, _ in held_tensors(model) if path in log.made and path not in touched)


@contextmanager
def _switches_restored(*, poison: bool) -> Iterator[None]:
    """Fills uninitialised memory inside the block, or sees to it that torch does not; torch's switches are restored."""
    mode = torch.get_deterministic_debug_mode()
    filled = torch._C._get_deterministic_fill_uninitialized_memory()
    dtype, grad = torch.get_default_dtype(), torch.is_grad_enabled()
    cudnn = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
    inductor = getattr(sys.modules.get("torch._inductor.config"), "deterministic", False)
    try:
        torch._C._set_deterministic_fill_uninitialized_memory(poison)
        if poison:
            torch.set_deterministic_debug_mode("warn")
        yield
    finally:
        torch.set_deterministic_debug_mode(mode)
        torch._C._set_deterministic_fill_uninitialized_memory(filled)
        torch.set_default_dtype(dtype)
        torch.set_grad_enabled(grad)
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = cudnn
        if "torch._inductor.config" in sys.modules:  # torch.use_deterministic_algorithms imports it and sets it, too
            vars(sys.modules["torch._inductor.config"])["deterministic"] = inductor
