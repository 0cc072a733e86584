"""Variance scaling: the laws of LeCun, Glorot and He, one formula.

    Var w = gain^2 / n,   n in {n_in, n_out, (n_in + n_out) / 2};   normal: N(0, Var w);  uniform: U(+-sqrt(3 Var w))
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from initscope.base.errors import UsageError
from initscope.initializers.initializer import INITIALIZERS, Initializer, number, weight_only
from initscope.modules.slots import ParameterSlot

Mode = Literal["fan_in", "fan_out", "fan_avg"]
_MODES = ("fan_in", "fan_out", "fan_avg")


def scaled_draw(
    method: str,
    slot: ParameterSlot,
    generator: torch.Generator,
    *,
    gain: float,
    mode: str,
    distribution: Literal["normal", "uniform"],
) -> Tensor:
    """Returns a draw with variance gain^2 / n for a weight whose fans the module gives."""
    fan_in, fan_out = weight_only(method, slot)
    if mode == "fan_avg":
        std = gain * math.sqrt(2.0 / (fan_in + fan_out))  # in torch's order, so that the bits are torch's
    else:
        std = gain / math.sqrt(fan_in if mode == "fan_in" else fan_out)
    values = torch.empty(slot.shape, dtype=torch.float32)
    if distribution == "normal":
        return values.normal_(0.0, std, generator=generator)
    bound = math.sqrt(3.0) * std
    return values.uniform_(-bound, bound, generator=generator)


def _check(gain: object, mode: object) -> None:
    number("gain", gain, above=0.0)
    if mode not in _MODES:
        raise UsageError("mode is not legal", value=repr(mode), legal=", ".join(_MODES))


@INITIALIZERS.register("he_normal")
@dataclass(frozen=True)
class HeNormal(Initializer):
    """w ~ N(0, gain^2 / n_in), gain sqrt 2: keeps E[x^2] from layer to layer under ReLU.

    Not truncated, as torch's `kaiming_normal_`; JAX's and Keras' `he_normal` are. Legal: gain > 0; mode fan_in,
    fan_out or fan_avg.

    Reference: He, Zhang, Ren, Sun, ICCV 2015, eq. 10.
    """

    gain: float = math.sqrt(2.0)
    mode: str = "fan_in"
    paper: ClassVar[str] = "He et al. 2015"

    def __post_init__(self) -> None:
        _check(self.gain, self.mode)

    def draw(self, slot: ParameterSlot, generator: torch.Generator) -> Tensor:
        """Returns a draw of the law for a weight."""
        return scaled_draw("he_normal", slot, generator, gain=self.gain, mode=self.mode, distribution="normal")


@INITIALIZERS.register("he_uniform")
@dataclass(frozen=True)
class HeUniform(Initializer):
    """w ~ U(+-gain sqrt(3 / n_in)), gain sqrt 2: the uniform law with He's variance.

    Reference: He, Zhang, Ren, Sun, ICCV 2015, eq. 10.
    """

    gain: float = math.sqrt(2.0)
    mode: str = "fan_in"
    paper: ClassVar[str] = "He et al. 2015"

    def __post_init__(self) -> None:
        _check(self.gain, self.mode)

    def draw(self, slot: ParameterSlot, generator: torch.Generator) -> Tensor:
        """Returns a draw of the law for a weight."""
        return scaled_draw("he_uniform", slot, generator, gain=self.gain, mode=self.mode, distribution="uniform")


@INITIALIZERS.register("glorot_normal")
@dataclass(frozen=True)
class GlorotNormal(Initializer):
    """w ~ N(0, 2 gain^2 / (n_in + n_out)): between keeping signals and keeping gradients, for linear units and tanh.

    Reference: Glorot, Bengio, AISTATS 2010, eq. 12 (its variance).
    """

    gain: float = 1.0
    mode: str = "fan_avg"
    paper: ClassVar[str] = "Glorot & Bengio 2010"

    def __post_init__(self) -> None:
        _check(self.gain, self.mode)

    def draw(self, slot: ParameterSlot, generator: torch.Generator) -> Tensor:
        """Returns a draw of the law for a weight."""
        return scaled_draw("glorot_normal", slot, generator, gain=self.gain, mode=self.mode, distribution="normal")


@INITIALIZERS.register("glorot_uniform")
@dataclass(frozen=True)
class GlorotUniform(Initializer):
    """w ~ U(+-gain sqrt(6 / (n_in + n_out))).

    Reference: Glorot, Bengio, AISTATS 2010, eq. 16.
    """

    gain: float = 1.0
    mode: str = "fan_avg"
    paper: ClassVar[str] = "Glorot & Bengio 2010"

    def __post_init__(self) -> None:
        _check(self.gain, self.mode)

    def draw(self, slot: ParameterSlot, generator: torch.Generator) -> Tensor:
        """Returns a draw of the law for a weight."""
        return scaled_draw("glorot_uniform", slot, generator, gain=self.gain, mode=self.mode, distribution="uniform")


@INITIALIZERS.register("lecun_normal")
@dataclass(frozen=True)
class LecunNormal(Initializer):
    """w ~ N(0, gain^2 / n_in): unit variance out for unit variance in; SELU's own law.

    Reference: LeCun, Bottou, Orr, Müller 1998, Efficient BackProp, eq. 16.
    """

    gain: float = 1.0
    mode: str = "fan_in"
    paper: ClassVar[str] = "LeCun et al. 1998"

    def __post_init__(self) -> None:
        _check(self.gain, self.mode)

    def draw(self, slot: ParameterSlot, generator: torch.Generator) -> Tensor:
        """Returns a draw of the law for a weight."""
        return scaled_draw("lecun_normal", slot, generator, gain=self.gain, mode=self.mode, distribution="normal")


@INITIALIZERS.register("lecun_uniform")
@dataclass(frozen=True)
class LecunUniform(Initializer):
    """w ~ U(+-gain sqrt(3 / n_in)).

    Reference: LeCun, Bottou, Orr, Müller 1998, Efficient BackProp, eq. 16 (its variance).
    """

    gain: float = 1.0
    mode: str = "fan_in"
    paper: ClassVar[str] = "LeCun et al. 1998"

    def __post_init__(self) -> None:
        _check(self.gain, self.mode)

    def draw(self, slot: ParameterSlot, generator: torch.Generator) -> Tensor:
        """Returns a draw of the law for a weight."""
        return scaled_draw("lecun_uniform", slot, generator, gain=self.gain, mode=self.mode, distribution="uniform")
