"""A Flow by a real forward pass: every function torch is asked for and every module that is called is noted.

Tensors are followed by identity. A step that gives back its own argument unchanged (dropout in evaluation) gives back
a view of it here, so that what went through it and what went past it stay apart.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from initscope.modules.arguments import call_of, leaves, replaced
from initscope.modules.builder import FlowBuilder
from initscope.modules.inventory import Inventory, Step
from initscope.modules.nodes import Flow, Value
from initscope.modules.operations import canonical, is_in_place, operation
from initscope.modules.unfused import unfused


class ModelRaisedError(Exception):
    """The forward pass ended in an error of the model's own; `place` is the innermost module at work."""

    def __init__(self, message: str, *, place: str) -> None:
        super().__init__(message)
        self.place = place


def watch_forward(model: nn.Module, inventory: Inventory, data: object) -> Flow:
    """Returns the flow of one forward pass of `model` on `data`, run without gradients.

    Raises: ModelRaisedError with the model's own error.
    """
    watch = _Watch(inventory)
    positional, keywords = call_of(data)
    names = [f"input {number}" for number in range(1, len(positional) + 1)]
    try:
        with torch.no_grad(), unfused(), watch.hooks():
            given = [watch.noted_input(name, value) for name, value in zip(names, positional, strict=True)]
            named = {name: watch.noted_input(name, value) for name, value in keywords.items()}
            with watch:
                output = model(*given, **named)
        outputs = [watch.index_of(tensor) for tensor in leaves(output)]
    except Exception as error:  # a user's model may raise anything
        raise ModelRaisedError(f"{type(error).__name__}: {error}", place=watch.failed_at or "") from error
    return watch.builder.flow(outputs, "run")


class _Watch(TorchFunctionMode):
    """Sees every call of a torch function while it is entered, and every call of a module through hooks."""

    def __init__(self, inventory: Inventory) -> None:
        super().__init__()
        self.builder = FlowBuilder(inventory)
        self.failed_at: str | None = None
        self._inventory = inventory
        self._made = WeakTensorKeyDictionary()
        self._frames: list[tuple[str, Step | None, int | None]] = []
        self._inside = 0
        self._has_inputs = False

    def noted_input(self, name: str, value: object) -> object:
        """Returns one argument of the model with its tensors copied, since a model may write into them, as inputs."""

        def noted(tensor: Tensor) -> Tensor:
            self._has_inputs = True
            copy = tensor.clone()
            self._made[copy] = self.builder.input(name)
            return copy

        return replaced(value, noted)

    def index_of(self, tensor: object) -> int:
        """Returns the node that made a tensor; one never seen is a parameter, a buffer or a constant."""
        if tensor in self._made:
            return int(self._made[tensor])
        path = self._inventory.parameter(tensor)
        if path is not None:
            return self.builder.parameter(path)
        buffer = self._inventory.buffer(tensor)
        hidden = buffer is None and not self._has_inputs  # the tensors came inside an object of the user's
        self._made[tensor] = made = self.builder.input("data") if hidden else self.builder.constant(buffer)
        return made

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if self._inside:
            return func(*args, **kwargs)
        raw = _name_of(func)
        first = args[0] if args and isinstance(args[0], Tensor) else None
        version = _version(first)
        output = func(*args, **kwargs)
        in_place = is_in_place(raw) or (first is not None and _version(first) != version)
        return self._note_call(raw, args, kwargs, output, in_place=in_place)

    def _note_call(
        self, raw: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Any, *, in_place: bool
    ) -> Any:
        made = list(leaves(output))
        if raw == "__setitem__" and isinstance(args[0], Tensor):
            made = [args[0]]
        if not made:
            return output
        op = operation(canonical(raw))
        if op == "constant":
            for tensor in made:
                self._made[tensor] = self.builder.constant(raw)
            return output
        same = output is args[0] if args else False
        if same and not in_place and op != "dropout":
            return output
        place = self._frames[-1][0] if self._frames else ""
        index = self.builder.call(raw, self._values(args), self._values(kwargs), place)
        if index is None:
            return output
        if same and not in_place:
            output = _view(output)
            made = [output]
        for tensor in made:
            self._made[tensor] = index
        return output

    def _values(self, arguments: Any) -> Any:
        """Arguments with every tensor replaced by the node that made it."""
        if isinstance(arguments, Tensor):
            return Value(self.index_of(arguments))
        if isinstance(arguments, tuple | list):
            return tuple(self._values(item) for item in arguments)
        if isinstance(arguments, Mapping):
            return {key: self._values(item) for key, item in arguments.items()}
        if isinstance(arguments, slice):
            return self._values((arguments.start, arguments.stop, arguments.step))
        return arguments

    @contextmanager
    def hooks(self) -> Iterator[None]:
        """Hooks on every module while the block lasts; those compiled by torch.compile run as they are written."""
        handles = []
        try:
            for module in self._inventory.modules.values():
                if getattr(module, "_compiled_call_impl", None) is not None:
                    module._compiled_call_impl = None
                handles.append(module.register_forward_pre_hook(self._enter, with_kwargs=True))
                handles.append(module.register_forward_hook(self._leave, with_kwargs=True, always_call=True))
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _enter(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        tensors = sum(isinstance(value, Tensor) for value in (*args, *kwargs.values()))
        step = None if self._inside else self._inventory.step(module, tensors)
        first = args[0] if args and isinstance(args[0], Tensor) else None
        self._inside += 1
        self._frames.append((self._inventory.path(module) or "", step, _version(first)))
        self._inside -= step is None

    def _leave(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
        place, step, version = self._frames.pop()
        if output is None and sys.exc_info()[0] is not None:
            self.failed_at = self.failed_at or place
        outer, self._inside = self._inside - (step is not None), self._inside + 1
        try:
            if step is not None:
                return self._note_step(step, module, place, (args, kwargs), output, version)
            if not outer:
                self._note_hidden(module, place, (args, kwargs), output)
            return None
        finally:
            self._inside = outer

    def _note_step(
        self, step: Step, module: nn.Module, place: str, arguments: Any, output: Any, version: int | None
    ) -> Any:
        first = arguments[0][0] if arguments[0] else None
        passed_through = output is first and isinstance(first, Tensor) and _version(first) == version
        if output is None or (passed_through and step.op != "dropout"):
            return None
        index = self.builder.module(step, module, place, self._values(arguments))
        returned = _view(output) if passed_through else output
        for tensor in leaves(returned):
            self._made[tensor] = index
        return returned

    def _note_hidden(self, module: nn.Module, place: str, arguments: Any, output: Any) -> None:
        """Connects what a module gave back to what it was given where the way between could not be seen."""
        unknown = [tensor for tensor in leaves(output) if not self._is_known(tensor)]
        if unknown:
            index = self.builder.opaque(module, place, self._values(arguments))
            for tensor in unknown:
                self._made[tensor] = index

    def _is_known(self, tensor: Any) -> bool:
        return tensor in self._made or bool(self._inventory.parameter(tensor) or self._inventory.buffer(tensor))


def _name_of(func: Callable[..., Any]) -> str:
    """The name of what torch was asked for; of a property, its own."""
    name = str(getattr(func, "__name__", func))
    if name in ("__get__", "__set__", "__delete__"):
        held = getattr(func, "__self__", None)
        name = str(getattr(held, "__name__", None) or getattr(getattr(held, "fget", None), "__name__", name))
    return name.split(".")[0]


def _version(tensor: Tensor | None) -> int | None:
    return None if tensor is None or tensor.is_inference() else tensor._version


def _view(tensor: Tensor) -> Tensor:
    """Another tensor of the same storage, where torch can make one."""
    try:
        return tensor.view_as(tensor) if type(tensor) is Tensor else tensor
    except RuntimeError:
        return tensor
