"""Inputs for a network that came without any: of given shapes, or of shapes found by calling it."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from initscope.base.errors import UsageError
from initscope.checker.instruments.input_layers import guessed_shapes, id_bounds
from initscope.checker.instruments.input_libraries import library_shapes
from initscope.checker.instruments.input_shapes import InputShape, parse_shape
from initscope.modules.arguments import call_of
from initscope.modules.guard import untouched

Inputs = Tensor | tuple[Any, ...] | dict[str, Any]
"""What a model is called with: one tensor, positional inputs, or inputs by keyword."""

ATTEMPTS = 120
EXAMPLES = ("example_input_array", "dummy_inputs")
"""Attributes in which models of known libraries keep inputs they take."""


def synthetic_inputs(model: nn.Module, *, shapes: Sequence[str] = (), seed: int) -> Inputs:
    """Returns made-up inputs that `model` can be called with: N(0, 1) floats, uniform ids.

    With `shapes` one tensor each, in the order of the positional inputs, the batch among the sizes. Without, shapes are
    tried until a forward pass ends well (evaluation mode, without gradients, behind the guard): those the model's
    library knows, those its first layers could take, then its own examples. 8 samples, fewer where one is large.

    Raises: UsageError for a text that is no shape, and where no guess works, with what was tried.
    """
    given = tuple(parse_shape(text) for text in shapes)
    trial = _Trial(model, seed)
    if given:
        bounds = id_bounds(model) if any(shape.whole for shape in given) else ()
        for below in bounds[:-1] or bounds:
            inputs = trial.drawn(tuple(_bounded(shape, below) for shape in given))
            if trial.works(inputs):
                return inputs
        return trial.drawn(tuple(_bounded(shape, bounds[-1] if bounds else 2) for shape in given))
    for inputs in _candidates(model, trial):
        if trial.works(inputs):
            return inputs
        if len(trial.refused) >= ATTEMPTS:
            break
    raise _none_works(model, trial)


class _Trial:
    """Calls a model with inputs and remembers which it refused, and how."""

    def __init__(self, model: nn.Module, seed: int) -> None:
        lazy = any(nn.parameter.is_lazy(one) for one in model.parameters())
        self.model = copy.deepcopy(model) if lazy else model  # a call would turn lazy modules into other classes
        self.seed = seed
        self.refused: dict[str, str] = {}
        real = [one for one in model.parameters() if one.is_floating_point() or one.is_complex()]
        self.dtype = real[0].dtype if real and not real[0].dtype.is_complex else torch.float32
        if real and real[0].dtype.is_complex:
            self.dtype = real[0].dtype
        self.device = real[0].device if real else torch.device("cpu")

    def drawn(self, shapes: tuple[InputShape, ...] | Mapping[str, InputShape]) -> Inputs:
        """Inputs of these shapes."""
        if isinstance(shapes, Mapping):
            return {name: self._one(shape, name) for name, shape in shapes.items()}
        made = tuple(self._one(shape, str(index)) for index, shape in enumerate(shapes))
        return made[0] if len(made) == 1 else made

    def _one(self, shape: InputShape, name: str) -> Tensor:
        return shape.drawn(seed=self.seed, name=name, dtype=self.dtype, device=self.device)

    def works(self, inputs: Inputs) -> bool:
        """Whether the model can be called with these."""
        text = _described(inputs)
        if text in self.refused:
            return False
        args, kwargs = call_of(inputs)
        modes = [(module, module.training) for module in self.model.modules()]
        try:
            with untouched(self.model), torch.no_grad(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    self.model.eval()
                    self.model(*args, **kwargs)
                finally:
                    for module, training in modes:
                        module.training = training
        except Exception as error:  # noqa: BLE001  # a wrong guess may make any error
            lines = str(error).strip().splitlines()
            self.refused[text] = f"{type(error).__name__}: {lines[0][:100] if lines else ''}"
            return False
        return True


def _candidates(model: nn.Module, trial: _Trial) -> Iterator[Inputs]:
    for known in library_shapes(model):
        yield trial.drawn(known)
    for guessed in guessed_shapes(model):
        yield trial.drawn(guessed)
        if any(shape.whole for shape in guessed):
            yield trial.drawn(tuple(_bounded(shape, min(id_bounds(model))) for shape in guessed))
    for attribute in EXAMPLES:
        example = getattr(model, attribute, None)
        if isinstance(example, Tensor | tuple | dict) and len(example):
            yield example


def _bounded(shape: InputShape, below: int) -> InputShape:
    return InputShape(sizes=shape.sizes, dtype=shape.dtype, below=below) if shape.whole else shape


def _described(inputs: Inputs) -> str:
    args, kwargs = call_of(inputs)
    named = [f"{name}={_one(value)}" for name, value in kwargs.items()]
    return ", ".join([*map(_one, args), *named])


def _one(value: object) -> str:
    if not isinstance(value, Tensor):
        return type(value).__name__
    text = f"{'x'.join(map(str, value.shape))}:{str(value.dtype).removeprefix('torch.')}"
    return text if value.is_floating_point() or not value.numel() else f"{text} up to {int(value.abs().max())}"


def _none_works(model: nn.Module, trial: _Trial) -> UsageError:
    tried = [f"{text}  ({error})" for text, error in list(trial.refused.items())[:4]]
    if len(trial.refused) > len(tried):
        tried.append(f"and {len(trial.refused) - len(tried)} more")
    return UsageError(
        f"no inputs could be made up for {type(model).__name__}",
        value=("tried " + "\n         ".join(tried)) if tried else "no layer whose input could be guessed",
        do="pass --input with the shape of each, such as 8x3x32x32 or 4x128:int64, or let the factory return "
        "(model, inputs)",
    )
