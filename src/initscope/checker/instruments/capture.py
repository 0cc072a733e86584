"""One forward pass, loss and backward pass of a network, operator by operator, without keeping any activation.

Below torch's autograd a dispatch mode sees every operator: those of functional code, of fused modules taken apart, of
complex and half-precision tensors. Tensors are followed by identity; what only shares a storage with one that was seen
(`.data`, a re-wrapped parameter) is followed by its storage. Gradients are measured by hooks on the tensors themselves.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from initscope.checker.instruments.expected_dropout import as_expected
from initscope.checker.instruments.places import users_line
from initscope.checker.instruments.recording import Recording, Refusal, shapes_of
from initscope.modules.arguments import leaves


class Capture(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch ships it without types
    """Records into `recording` every operator called while it is entered, dropout replaced by its mean."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Keeps torch from importing its compiler, over a second, at the first operator."""
        return False

    def __init__(self, recording: Recording) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # as above
        self.recording = recording
        self.modules: list[str] = []
        self.recorded = True

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Runs one operator and records it; in the backward pass it runs it alone."""
        kwargs = dict(kwargs or {})
        replaced = as_expected(func, args, kwargs)
        if not self.recorded or self.recording.busy:
            return func(*args, **kwargs) if replaced is NotImplemented else replaced
        recording = self.recording
        recording.settle()
        name = func.overloadpacket.__name__ if hasattr(func, "overloadpacket") else str(func)
        tensors = [leaf for leaf in tree_flatten((args, kwargs))[0] if isinstance(leaf, Tensor)]
        operands = tuple(recording.index_of(tensor) for tensor in tensors)
        written = _written(func, args, kwargs)
        before = (
            tensors[0].clone() if written and tensors and _is_small_step(name) else (tensors[0] if tensors else None)
        )
        output = func(*args, **kwargs) if replaced is NotImplemented else replaced
        results = [leaf for leaf in tree_flatten(output)[0] if isinstance(leaf, Tensor)]
        if name == "_local_scalar_dense" and recording.stage == "forward":
            recording.numbers_read.update(operands)
        made = results if results else [tensor for tensor in tensors if any(tensor is one for one in written)]
        if made:
            recording.operator(
                name=name.rstrip("_") if written else name,
                args=args,
                kwargs=kwargs,
                operands=operands,
                tensors=() if written else tuple(tensors),
                results=made,
                given=before,
                module=self.modules[-1] if self.modules else "",
                place=users_line(2),
                written=bool(written),
            )
        return output


def _is_small_step(name: str) -> bool:
    """In-place activations need their input kept for a moment: which units are off is read from both."""
    return name in ("relu_", "hardtanh_", "clamp_", "clamp_min_", "threshold_", "hardswish_", "hardsigmoid_", "relu6_")


def _written(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[Tensor]:
    schema = getattr(func, "_schema", None)
    if schema is None or not schema.is_mutable:
        return []
    found = []
    for position, argument in enumerate(schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            value = args[position] if position < len(args) else kwargs.get(argument.name)
            found += [value] if isinstance(value, Tensor) else [one for one in value or () if isinstance(one, Tensor)]
    return found


@contextmanager
def module_calls(model: nn.Module, capture: Capture) -> Iterator[None]:
    """Tells `capture` which module is at work, through torch's global module hooks; nothing is pinned on the model."""
    paths: dict[int, str] = {}
    for path, module in model.named_modules():
        paths.setdefault(id(module), path)
    stack: list[tuple[nn.Module, tuple[int, ...]]] = []

    def enter(module: nn.Module, args: Any) -> None:
        if capture.recorded and id(module) in paths:
            capture.recording.settle()
            capture.modules.append(paths[id(module)])
            stack.append((module, tuple(capture.recording.index_of(tensor) for tensor in leaves(args))))

    def leave(module: nn.Module, args: Any, output: Any) -> None:
        if capture.recorded and stack and stack[-1][0] is module:
            _, operands = stack.pop()
            capture.modules.pop()
            if output is None and sys.exc_info()[0] is not None and capture.recording.refused is None:
                capture.recording.refused = Refusal(path=paths[id(module)], module=module, given=shapes_of(args))
            if output is not None:
                results = tuple(capture.recording.index_of(tensor) for tensor in leaves(output))
                capture.recording.call(paths[id(module)], type(module).__name__, operands, results)

    handles = [
        torch.nn.modules.module.register_module_forward_pre_hook(enter),
        torch.nn.modules.module.register_module_forward_hook(leave, always_call=True),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def run_captured(
    model: nn.Module,
    call: Callable[[], Any],
    loss_of: Callable[[Any], Tensor] | None,
    recording: Recording,
    *,
    backward: bool,
) -> Any:
    """Runs `call` (the model on its inputs), the loss of its output and the backward pass, all recorded.

    Returns the model's output. What it, the loss or the backward pass raise goes through; `recording.stage` says where.
    """
    capture = Capture(recording)
    with module_calls(model, capture), capture:
        output = recording.output = call()
        recording.settle()
        recording.finished(list(leaves(output)))
        if loss_of is not None:
            recording.stage = "loss"
            loss = loss_of(output)
            recording.settle()
            recording.loss = recording.index_of(loss)
            recording.loss_value = float(loss.detach())
            capture.recorded = False
            if backward and loss.requires_grad:
                recording.stage = "backward"
                loss.backward()  # type: ignore[no-untyped-call]  # torch ships it without types
    recording.stage = "done"
    return output
