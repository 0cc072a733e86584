"""What every initializer is: a frozen object that draws one parameter's values from one generator."""

from __future__ import annotations

import dataclasses
import inspect
from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from initscope.base.calls import Call, Literal
from initscope.base.errors import UsageError, nearest
from initscope.base.registry import Registry
from initscope.modules.slots import ParameterSlot


class Initializer(ABC):
    """Draws the starting values of one parameter. Subclasses are frozen dataclasses whose fields are the arguments.

    `paper` is the source in a few words; the class docstring carries formula, use, tests and reference.
    """

    paper: ClassVar[str] = ""

    @abstractmethod
    def draw(self, slot: ParameterSlot, generator: torch.Generator) -> Tensor:
        """Returns float32 values of `slot.shape` on the CPU, drawn from `generator` and nothing else.

        Raises: UsageError where the method cannot serve this parameter.
        """


LARGEST = torch.finfo(torch.float32).max
"""The largest number a starting value can be."""

INITIALIZERS: Registry[type[Initializer]] = Registry("initializer", "initscope.initializers")


def build_initializer(call: Call, *, where: str | None = None) -> Initializer:
    """Returns the initializer that a call text such as `normal(std=0.01)` names, its arguments checked.

    Raises: UsageError for an unknown name or argument (with the nearest legal one), a missing or an illegal value.
    """
    kind = INITIALIZERS.get(call.name, where=where)
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]  # each is a dataclass
    for key, _ in call.keywords:
        if key not in fields:
            near = nearest(key, fields)
            raise UsageError(
                f"{call.name} has no argument {key!r}",
                where=where,
                legal=signature_text(call.name),
                do=f"did you mean {near!r}?" if near else None,
            )
    try:
        return kind(**_arguments(call, tuple(fields)))
    except TypeError as error:
        reason = str(error).removeprefix(f"{kind.__name__}.__init__() ")
        raise UsageError(
            f"{call.name} cannot take these arguments: {reason}",
            where=where,
            value=str(call),
            legal=signature_text(call.name),
        ) from error
    except UsageError as error:
        raise UsageError(error.what, where=where, value=str(call), legal=error.legal, do=error.do) from error


def signature_text(name: str) -> str:
    """Returns how a method is called: "normal(mean=0.0, std=1.0)"."""
    kind = INITIALIZERS.get(name)
    parts = [
        key if parameter.default is inspect.Parameter.empty else f"{key}={parameter.default!r}"
        for key, parameter in inspect.signature(kind).parameters.items()
    ]
    return f"{name}({', '.join(parts)})" if parts else name


def number(name: str, value: object, *, above: float | None = None, least: float | None = None) -> None:
    """Raises UsageError unless `value` is a finite number in the legal range (> above, >= least)."""
    bound = f" > {above:g}" if above is not None else f" >= {least:g}" if least is not None else ""
    legal = "a finite number" + bound
    good = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")
    if good and isinstance(value, int | float) and abs(value) > LARGEST:
        good, legal = False, f"a float32 number{bound}, at most {LARGEST:.3g} in size"
    if good and isinstance(value, int | float):
        good = not (above is not None and value <= above) and not (least is not None and value < least)
    if not good:
        raise UsageError(f"{name} is not legal", value=repr(value), legal=f"{name}: {legal}")


def weight_only(method: str, slot: ParameterSlot) -> tuple[int, int]:
    """Returns (fan_in, fan_out) of a weight; raises UsageError for a parameter that has none.

    Biases, norm gains and parameters of unknown layout are not drawn as weights.
    """
    if slot.role != "weight" or slot.fan_in is None or slot.fan_out is None:
        raise UsageError(
            f"{method} draws weights, and {slot.path} is a {slot.role} of {slot.layer}",
            where=slot.path,
            legal="weights of linear and convolutional layers",
            do="name it by a pattern such as '*.weight', "
            "or give this parameter zeros, ones, constant, normal or uniform",
        )
    return slot.fan_in, slot.fan_out


def _arguments(call: Call, names: tuple[str, ...]) -> dict[str, Literal]:
    if len(call.positional) > len(names):
        raise TypeError(f"takes at most {len(names)} arguments, got {len(call.positional)}")
    given = dict(zip(names, call.positional, strict=False))
    for key, value in call.keywords:
        if key in given:
            raise TypeError(f"got {key!r} twice")
        given[key] = value
    return given
