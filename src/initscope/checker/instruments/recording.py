"""The book in which a capture writes: values, operators and their statistics, made into a `Trace` at the end."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten
from torch.utils.weak import WeakTensorKeyDictionary

from initscope.checker.instruments.activity import activity
from initscope.checker.instruments.axes import sample_axis, takes_together, unit_axis
from initscope.checker.instruments.kinds import FRESH, kind_of
from initscope.checker.instruments.moments import moments
from initscope.checker.instruments.storages import may_overlap, storage_key
from initscope.checker.instruments.trace import Activity, Call, Kind, Moments, Op, Trace, Value
from initscope.checker.instruments.written_out import exponents_of, rectified_operand
from initscope.modules.arguments import leaves
from initscope.records.finding import Location

Origin = Literal["input", "parameter", "buffer", "constant", "op"]
MEASURED: frozenset[str] = frozenset({
    "linear", "lookup", "matmul", "activation", "softmax", "norm", "bias", "gain", "sum", "product", "scale",
    "join", "reduce", "loss", "other",
})  # fmt: skip
"""Kinds whose results are measured; views and copies have the statistics of what they were made from."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Refusal:
    """The innermost module that was at work when the forward pass raised, and the shapes it was given."""

    path: str
    module: nn.Module
    given: tuple[str, ...]


def shapes_of(values: Any) -> tuple[str, ...]:
    """Returns shape and dtype of every tensor in `values`, as texts."""
    return tuple(
        f"{list(tensor.shape)} {str(tensor.dtype)[6:]}" for tensor in leaves(values) if isinstance(tensor, Tensor)
    )


@dataclass(kw_only=True, eq=False)
class _Open:
    """A value while it is written; `Value` is its closed form."""

    shape: tuple[int, ...]
    dtype: str
    origin: Origin
    op: int | None = None
    path: str = ""
    from_data: bool = False
    parameters: frozenset[str] = frozenset()
    requires_grad: bool = False
    sample_axis: int | None = None
    unit_axis: int | None = None
    forward: Moments | None = None
    backward: Moments | None = None
    output: bool = False


@dataclass(kw_only=True, eq=False)
class Recording:
    """What one pass showed so far."""

    parameters: Mapping[int, str]
    buffers: Mapping[int, str]
    storages: Mapping[int, str]
    batch: int | None
    stage: Literal["forward", "loss", "backward", "done"] = "forward"
    refused: Refusal | None = None
    output: Any = None
    loss: int | None = None
    loss_value: float = float("nan")
    used: set[str] = field(default_factory=set)
    numbers_read: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.busy = False
        self._values: list[_Open] = []
        self._ops: list[Op] = []
        self._calls: list[Call] = []
        self._outputs: list[int] = []
        self._known = WeakTensorKeyDictionary()
        self._by_path: dict[str, int] = {}
        self._by_storage: dict[int, list[weakref.ref[Tensor]]] = {}
        self._waiting: list[tuple[weakref.ref[Tensor], int]] = []
        self._hooks: list[Any] = []

    @classmethod
    def of(cls, model: nn.Module, *, batch: int | None) -> Recording:
        """Returns an empty book that knows the model's parameters and buffers by identity and by storage."""
        parameters = {id(one): name for name, one in model.named_parameters()}
        buffers = {id(one): name for name, one in model.named_buffers()}
        storages: dict[int, str] = {}
        for name, one in model.named_parameters():
            if (key := storage_key(one)) is not None:
                storages.setdefault(key, name)
        return cls(parameters=parameters, buffers=buffers, storages=storages, batch=batch)

    def input(self, tensor: Tensor, name: str) -> None:
        """Enters one of the model's inputs."""
        axis = sample_axis(tensor.shape, self.batch, [])
        value = _Open(shape=tuple(tensor.shape), dtype=str(tensor.dtype)[6:], origin="input", path=name, from_data=True)
        value.sample_axis, value.unit_axis = axis, (1 if tensor.ndim == 4 else tensor.ndim - 1) if tensor.ndim else None
        self.busy = True
        value.forward = self._moments(tensor, value)
        self.busy = False
        self._known[tensor] = self._enter(value)
        self._remember_storage(tensor)

    def index_of(self, tensor: Any) -> int:
        """Returns the value that a tensor is; one never seen is a parameter, a buffer, or a constant."""
        if tensor in self._known:
            return int(self._known[tensor])
        path = self.parameters.get(id(tensor))
        if path is not None:
            return self._leaf(tensor, "parameter", path)
        path = self.buffers.get(id(tensor))
        if path is not None:
            return self._leaf(tensor, "buffer", path)
        key = storage_key(tensor)
        if key is not None and key in self.storages:
            return self._alias(tensor, self._leaf(tensor, "parameter", self.storages[key]))
        sharing = self._sharing(key)
        if sharing:
            return self._alias(tensor, int(self._known[sharing[-1]]))
        self._known[tensor] = made = self._enter(_described(tensor, "constant", ""))
        return made

    def _leaf(self, tensor: Tensor, origin: Origin, path: str) -> int:
        if origin == "parameter":
            self.used.add(path)
        if path not in self._by_path:
            value = _described(tensor, origin, path)
            value.parameters = frozenset([path]) if origin == "parameter" else frozenset()
            self._by_path[path] = self._enter(value)
        return self._by_path[path]

    def _alias(self, tensor: Tensor, index: int) -> int:
        """A tensor that shares a storage with one that was seen: `.data`, or a new wrapper around it."""
        made = self._derived([tensor], "alias", (index,), "view", "", None)
        return made[0]

    def operator(
        self,
        *,
        name: str,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        operands: tuple[int, ...],
        tensors: tuple[Tensor, ...],
        results: list[Tensor],
        given: Tensor | None,
        module: str,
        place: Location | None,
        written: bool,
    ) -> None:
        """Enters one operator call and measures its results; `tensors` are the operands of one that writes nothing."""
        rectified = rectified_operand(name, tensors, results)
        if rectified is not None:
            name, operands, given = "relu", (operands[rectified],), tensors[rectified]
        exponents = exponents_of(name, operands, self._values, self._ops) if self.stage == "forward" else None
        if exponents is not None:
            name, operands, args = "_softmax", exponents[:1], exponents[1:]
        if name.rstrip("_") in FRESH:
            operands = ()
        data = [index for index in operands if self._values[index].from_data]
        made = [index for index in operands if not self._values[index].from_data and self._values[index].parameters]
        kind: Any = kind_of(name, data=len(data), made=len(made))
        if written and name in ("copy", "fill", "zero", "masked_fill", "index_put"):
            kind = "join"
        indices = self._derived(results, name, operands, kind, module, place, args=args, kwargs=kwargs, given=given)
        if written:
            self._overwritten(results, indices)

    def _derived(
        self,
        results: Sequence[Tensor],
        name: str,
        operands: tuple[int, ...],
        kind: Kind,
        module: str,
        place: Location | None,
        *,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
        given: Tensor | None = None,
    ) -> list[int]:
        number = len(self._ops)
        parents = [self._values[index] for index in operands]
        from_data = any(parent.from_data for parent in parents)
        sources = frozenset().union(*(parent.parameters for parent in parents)) if not from_data else frozenset()
        indices = []
        for tensor in results:
            value = _described(tensor, "op", "")
            value.op, value.from_data, value.parameters = number, from_data, sources
            carriers = [parent for parent in parents if parent.from_data] or parents
            value.unit_axis = unit_axis(name, value.shape, [(parent.shape, parent.unit_axis) for parent in carriers])
            value.sample_axis = (
                sample_axis(value.shape, self.batch, [parent.sample_axis for parent in carriers])
                if from_data
                and not (kind == "reduce" and takes_together(args, carriers[0].shape, carriers[0].sample_axis))
                else None
            )
            if from_data:
                same = next((one for one in carriers if one.shape == value.shape), None)
                if (
                    kind in ("view", "copy")
                    and same is not None
                    and name not in ("masked_fill", "nan_to_num", "tril", "triu")
                ):
                    value.forward = same.forward
                elif kind in MEASURED:
                    value.forward = self._moments(tensor, value)
            index = self._enter(value)
            self._known[tensor] = index
            self._remember_storage(tensor)
            if (from_data and tensor.is_floating_point()) or tensor.is_complex():
                self._waiting.append((weakref.ref(tensor), index))
            indices.append(index)
        numbers, named = _numbers(args, kwargs or {})
        weight = self._weight(operands) if kind in ("linear", "lookup", "bias", "gain") else ""
        self._ops.append(
            Op(
                index=number,
                name=name,
                kind=kind,
                operands=operands,
                results=tuple(indices),
                numbers=numbers,
                named=named,
                weight=weight,
                module=module,
                place=place,
                in_loss=self.stage != "forward",
                activity=self._activity(name, kind, numbers, given, results, indices) if from_data else None,
            )
        )
        return indices

    def _activity(
        self,
        name: str,
        kind: Kind,
        numbers: Sequence[Any],
        given: Tensor | None,
        results: Sequence[Tensor],
        indices: Sequence[int],
    ) -> Activity | None:
        if kind not in ("activation", "softmax") or given is None or not results:
            return None
        axis = None
        if kind == "softmax":
            axis = int(numbers[0]) if numbers and isinstance(numbers[0], int) else -1
        return activity(name, given, results[0], unit_axis=self._values[indices[0]].unit_axis, softmax_axis=axis)

    def _weight(self, operands: Iterable[int]) -> str:
        """The largest parameter among those that the operator's parameter-made operands consist of."""
        names = {
            name for index in operands if not self._values[index].from_data for name in self._values[index].parameters
        }
        sizes = {name: prod(self._values[self._by_path[name]].shape) for name in names if name in self._by_path}
        return max(sizes, key=lambda name: sizes[name]) if sizes else ""

    def _overwritten(self, results: Sequence[Tensor], indices: Sequence[int]) -> None:
        """After an in-place write, what is a view of the written tensor, or has it as a view, holds new content too."""
        for tensor, index in zip(results, indices, strict=True):
            for other in self._sharing(storage_key(tensor)):
                if other is not tensor and other in self._known and may_overlap(tensor, other):
                    self._known[other] = self._merged(other, int(self._known[other]), index)

    def _sharing(self, key: int | None) -> list[Tensor]:
        """The living tensors over one storage, in the order they were seen."""
        if key is None or key not in self._by_storage:
            return []
        alive = [(reference, tensor) for reference in self._by_storage[key] if (tensor := reference()) is not None]
        self._by_storage[key] = [reference for reference, _ in alive]
        return [tensor for _, tensor in alive if storage_key(tensor) == key]

    def _merged(self, tensor: Tensor, old: int, new: int) -> int:
        number = len(self._ops)
        value = _described(tensor, "op", "")
        parents = (self._values[old], self._values[new])
        value.op, value.from_data = number, any(parent.from_data for parent in parents)
        value.parameters = frozenset() if value.from_data else parents[0].parameters | parents[1].parameters
        value.sample_axis, value.unit_axis = parents[0].sample_axis, parents[0].unit_axis
        if value.sample_axis is None and value.from_data:
            value.sample_axis = sample_axis(value.shape, self.batch, [])
        index = self._enter(value)
        self._ops.append(
            Op(
                index=number,
                name="write",
                kind="join",
                operands=(old, new),
                results=(index,),
                numbers=(),
                named={},
                weight="",
                module="",
                place=None,
                in_loss=self.stage != "forward",
                activity=None,
            )
        )
        if value.from_data:
            self._waiting.append((weakref.ref(tensor), index))
        return index

    def settle(self) -> None:
        """Hangs a hook on every tensor that joined autograd's graph since the last call, and notes that it did."""
        waiting, self._waiting = self._waiting, []
        for reference, index in waiting:
            tensor = reference()
            if tensor is None or not tensor.requires_grad:
                continue
            value = self._values[index]
            value.requires_grad = True
            if self._known.get(tensor) == index:  # type: ignore[no-untyped-call]  # torch ships it without types
                hook = tensor.register_hook(self._gradient_hook(value))  # type: ignore[no-untyped-call]  # as above
                self._hooks.append(hook)

    def _gradient_hook(self, value: _Open) -> Any:
        def measure(gradient: Tensor | None) -> None:
            if gradient is not None:  # autograd hands None where no gradient is defined
                value.backward = self._moments(gradient, value)

        return measure

    def call(self, path: str, layer: str, operands: tuple[int, ...], results: tuple[int, ...]) -> None:
        """Enters one call of a module."""
        self._calls.append(Call(path=path, layer=layer, operands=operands, results=results))

    def finished(self, outputs: Iterable[Any]) -> None:
        """Marks what the model returned."""
        for tensor in outputs:
            index = self.index_of(tensor)
            self._values[index].output = True
            self._measure_by_sample(tensor, self._values[index])
            self._outputs.append(index)

    def _measure_by_sample(self, tensor: Tensor, value: _Open) -> None:
        """An answer made of all samples together and repeated for each has an axis of samples all the same."""
        known = value.forward is not None and value.forward.between == value.forward.between
        if not known and value.from_data and self.batch and tensor.ndim and tensor.shape[0] == self.batch:
            value.sample_axis = 0
            self.busy = True
            value.forward = self._moments(tensor.detach(), value)
            self.busy = False

    def trace(self) -> Trace:
        """Returns the closed book, and takes the hooks off."""
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()
        values = tuple(Value(index=index, **vars(value)) for index, value in enumerate(self._values))
        return Trace(
            ops=tuple(self._ops), values=values, outputs=tuple(self._outputs), loss=self.loss, batch=self.batch,
            calls=tuple(self._calls), used_parameters=frozenset(self.used),
            read_as_numbers=frozenset(self.numbers_read),
        )  # fmt: skip

    def _enter(self, value: _Open) -> int:
        self._values.append(value)
        return len(self._values) - 1

    def _remember_storage(self, tensor: Tensor) -> None:
        if (key := storage_key(tensor)) is not None:
            self._by_storage.setdefault(key, []).append(weakref.ref(tensor))

    def _moments(self, tensor: Tensor, value: _Open) -> Moments | None:
        return moments(tensor, samples=self.batch, sample_axis=value.sample_axis, unit_axis=value.unit_axis)


def _described(tensor: Tensor, origin: Origin, path: str) -> _Open:
    return _Open(shape=tuple(tensor.shape), dtype=str(tensor.dtype)[6:], origin=origin, path=path)


def _numbers(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    plain = (float, int, bool)
    positional = tuple(leaf for leaf in tree_flatten(args)[0] if isinstance(leaf, plain))
    return positional, {key: value for key, value in kwargs.items() if isinstance(value, plain)}


def grad_state(tensor: Tensor) -> torch.Tensor | None:
    """Returns a parameter's gradient as a dense tensor, None where none arrived."""
    gradient = tensor.grad
    return gradient.to_dense() if gradient is not None and gradient.layout != torch.strided else gradient
