"""The book of a watch: for each storage, by identity, when it was made and what was written into it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef

from initscope.checker.evidence import Write
from initscope.checker.instruments.write_frames import Caller, caller
from initscope.checker.instruments.write_tensors import (
    COPIES,
    EMPTY,
    REPLACING,
    RESHAPES,
    SCATTERED,
    SHAPED_ONLY,
    address,
    extent,
    moments,
    operands,
    tensors,
)
from initscope.records.finding import Location

MANY = 20_000
"""Storages in the book before those that have been freed are struck out."""


@dataclass(kw_only=True, eq=False, slots=True)
class _Written:
    """One write; `low` and `high` bound its bytes in the storage, `dense` where all between were written."""

    order: int
    op: str
    caller: Caller
    low: int
    high: int
    dense: bool
    source: tuple[int, ...]
    random: bool
    n: int
    mean: float
    std: float


@dataclass(kw_only=True, eq=False, slots=True)
class _Storage:
    """One storage. The weak reference keeps its address from being given to another; its memory is freed all the same.

    `origin` are the storages whose values it holds a copy of, `random` whether its values came from a draw.
    """

    weak: StorageWeakRef
    nbytes: int
    made: bool = False
    born: Location | None = None
    random: bool = False
    origin: tuple[int, ...] = ()
    written: list[_Written] = field(default_factory=list)


class WriteBook:
    """Takes operators one by one, and gives the writes into named tensors at the end."""

    def __init__(self, root: FrameType | None) -> None:
        self.root = root
        self.missed: list[str] = []
        self._storages: dict[int, _Storage] = {}
        self._order = 0

    def note(self, func: torch._ops.OpOverload, args: tuple[Any, ...], named: Mapping[str, Any], result: Any) -> None:
        """Enters what one operator wrote and made."""
        targets, others = operands(func, args, named)
        name = func._schema.name.rpartition("::")[2]
        if name not in RESHAPES:
            for target in targets:
                self._note_write(func, name, target, others)
        fresh = others if name == "lift_fresh" else ()
        before = {address(tensor) for tensor in (*others, *targets)} if name != "set_" else set()
        for tensor in (*fresh, *tensors(result)):
            place = address(tensor)
            if place is not None and place not in self._storages and (fresh or place not in before):
                self._note_birth(func, name, tensor, others)

    def writes(self, named: Mapping[str, Tensor], owners: Mapping[str, str]) -> tuple[Write, ...]:
        """Returns the writes into the storages of `named`, in order, each with every name whose bytes it touched."""
        holders: dict[int, list[str]] = {}
        for path, tensor in named.items():
            holders.setdefault(address(tensor) or 0, []).append(path)
        found = [
            one
            for place, paths in holders.items()
            for written in (self._storages[place].written if place in self._storages else ())
            if (one := _closed(written, {path: named[path] for path in paths}, holders, owners))
        ]
        return tuple(sorted(found, key=lambda write: write.order))

    def born(self, named: Mapping[str, Tensor]) -> dict[str, Location]:
        """Returns, for each name whose storage was made in the user's code, the line that made it."""
        storages = {path: self._storages.get(address(tensor) or 0) for path, tensor in named.items()}
        return {path: one.born for path, one in storages.items() if one is not None and one.born is not None}

    def made(self, named: Mapping[str, Tensor]) -> frozenset[str]:
        """Returns the names whose storage was made while the book was open."""
        storages = {path: self._storages.get(address(tensor) or 0) for path, tensor in named.items()}
        return frozenset(path for path, one in storages.items() if one is not None and one.made)

    def _note_birth(self, func: torch._ops.OpOverload, name: str, tensor: Tensor, others: list[Tensor]) -> None:
        """Enters a new storage, and what the operator that made it wrote; a module's move takes its history along."""
        who = caller(self.root)
        storage = self._enter(tensor)
        storage.made, storage.born = True, who.location
        source = next((self._enter(one) for one in others if address(one) is not None), None)
        if who.moving and source is not None and name in (*COPIES, *EMPTY):
            storage.born = source.born or who.location
            if name not in EMPTY and source.written:
                storage.random, storage.origin = source.random, source.origin
                storage.written = [_rescaled(one, source.nbytes, storage.nbytes) for one in source.written]
                return
        if name not in EMPTY:
            self._enter_write(storage, tensor, name, who, self._source(name, others), drawn=self._drawn(func, others))

    def _note_write(self, func: torch._ops.OpOverload, name: str, target: Tensor, others: list[Tensor]) -> None:
        if address(target) is None:
            return
        storage = self._enter(target)
        name = name.removeprefix("_foreach_")
        kept = address(target) in {address(one) for one in others}
        if kept and not name.endswith("_"):
            name += "_"
        transforms = name.endswith("_") and name not in REPLACING
        drawn = self._drawn(func, others) or (transforms and storage.random)
        self._enter_write(storage, target, name, caller(self.root), self._source(name, others), drawn=drawn)

    def _enter_write(
        self, storage: _Storage, tensor: Tensor, name: str, who: Caller, source: tuple[int, ...], *, drawn: bool
    ) -> None:
        bounds = extent(tensor)
        if bounds is None or tensor.is_meta:
            return
        low, high, dense = bounds
        scattered = name in SCATTERED
        mean, std = (math.nan, math.nan) if scattered else moments(tensor, dense=dense)
        one = _Written(
            order=self._order, op=who.initializer or name, caller=who, low=low, high=high,
            dense=dense and not scattered, source=source, random=drawn, n=tensor.numel(), mean=mean, std=std,
        )  # fmt: skip
        self._order += 1
        whole = one.dense and high - low >= storage.nbytes
        storage.random = drawn or (storage.random and not whole)
        storage.origin = source if whole else ()
        last = storage.written[-1] if storage.written else None
        if last is None or not _continues(last, one):
            storage.written.append(one)
        elif who.initializer and _within(last, one):
            storage.written[-1] = _stepped(last, one)
        else:
            storage.written[-1] = _joined(last, one)

    def _enter(self, tensor: Tensor) -> _Storage:
        """Returns the entry of a tensor's storage, a new one where it was not known."""
        storage = tensor.untyped_storage()
        found = self._storages.get(storage._cdata)
        if found is None:
            if len(self._storages) >= MANY:
                self._strike_out_freed()
            found = _Storage(weak=StorageWeakRef(storage), nbytes=storage.nbytes())  # type: ignore[no-untyped-call]
            self._storages[storage._cdata] = found
        return found

    def _strike_out_freed(self) -> None:
        alive = {place: one for place, one in self._storages.items() if not one.weak.expired()}  # type: ignore[no-untyped-call]
        cited = {place for one in alive.values() for written in one.written for place in written.source}
        cited.update(place for one in alive.values() for place in one.origin)
        self._storages = {place: one for place, one in self._storages.items() if place in alive or place in cited}

    def _source(self, name: str, others: list[Tensor]) -> tuple[int, ...]:
        """Returns the storage copied from and, where that one is a copy itself, those before it."""
        if name not in COPIES or not others or address(others[0]) is None:
            return ()
        origin = self._enter(others[0])
        return (others[0].untyped_storage()._cdata, *origin.origin)

    def _drawn(self, func: torch._ops.OpOverload, others: list[Tensor]) -> bool:
        """Whether values come from a draw: of this operator, or of one that made what it read."""
        if torch.Tag.nondeterministic_seeded in func.tags:
            return True
        if func._schema.name.rpartition("::")[2] in SHAPED_ONLY:
            return False
        known = (self._storages.get(address(one) or 0) for one in others)
        return any(one.random for one in known if one is not None)


def _continues(last: _Written, one: _Written) -> bool:
    """Whether a write goes on with the one before: a step of the same initialiser, or the next part of a loop."""
    if last.op != one.op or last.caller.site != one.caller.site or last.caller.framework != one.caller.framework:
        return False
    return bool(one.caller.initializer) or (one.op in REPLACING and (last.low, last.high) != (one.low, one.high))


def _within(last: _Written, one: _Written) -> bool:
    return (last.low <= one.low and one.high <= last.high) or (one.low <= last.low and last.high <= one.high)


def _stepped(last: _Written, one: _Written) -> _Written:
    """Two steps of one initialiser in the same place as one write, with what the wider and later step left."""
    wide = one if one.dense and one.n >= last.n else last
    wide.order, wide.random, wide.op, wide.source = last.order, last.random or one.random, one.caller.initializer, ()
    return wide


def _joined(last: _Written, one: _Written) -> _Written:
    """Two parts of a storage as one write; dense where they touch."""
    n = last.n + one.n
    mean = (last.n * last.mean + one.n * one.mean) / n
    square = (last.n * (last.std**2 + last.mean**2) + one.n * (one.std**2 + one.mean**2)) / n
    last.dense = last.dense and one.dense and (one.low == last.high or one.high == last.low)
    last.low, last.high = min(last.low, one.low), max(last.high, one.high)
    last.n, last.mean, last.std = n, mean, math.sqrt(max(square - mean**2, 0.0)) if not math.isnan(square) else math.nan
    last.source, last.random = tuple(dict.fromkeys((*last.source, *one.source))), last.random or one.random
    return last


def _rescaled(one: _Written, before: int, after: int) -> _Written:
    """The same write after a cast from a storage of `before` bytes to one of `after`."""
    return _Written(
        order=one.order, op=one.op, caller=one.caller, low=one.low * after // max(before, 1),
        high=one.high * after // max(before, 1), dense=one.dense, source=one.source, random=one.random, n=one.n,
        mean=one.mean, std=one.std,
    )  # fmt: skip


def _closed(
    written: _Written, named: Mapping[str, Tensor], holders: Mapping[int, list[str]], owners: Mapping[str, str]
) -> Write | None:
    """Returns a write as the rules read it; None where it touched no byte of the named tensors."""
    bounds = {path: extent(tensor) for path, tensor in named.items()}
    touched = [path for path, one in bounds.items() if one and one[0] < written.high and written.low < one[1]]
    if not touched:
        return None
    whole = written.dense and all(
        written.low <= one[0] and one[1] <= written.high for path in touched if (one := bounds[path]) is not None
    )
    source = [path for place in written.source for path in holders.get(place, ()) if path not in named]
    who = written.caller
    return Write(
        order=written.order, op=written.op, tensors=tuple(touched), location=who.location, framework=who.framework,
        whole=whole, source=tuple(dict.fromkeys(source)), mean=written.mean, std=written.std, random=written.random,
        site=who.site, owner=owners.get(touched[0], ""),
    )  # fmt: skip
