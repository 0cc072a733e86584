"""All that was measured of one network, handed to every rule. Nothing here judges."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch import nn

from initscope.checker.instruments.trace import Trace
from initscope.records.finding import Location

LossKind = Literal["cross_entropy", "nll", "bce_logits", "bce", "mse", "l1", "other", "stand-in"]
"""`stand-in` is the one used where neither loss nor targets are known: mean squares against fixed random targets."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Absent:
    """Something that was not measured, and why; it is false in a condition."""

    reason: str

    def __bool__(self) -> bool:
        return False


@dataclass(frozen=True, kw_only=True, eq=False)
class Write:
    """One write of values into a parameter's or buffer's storage while the factory ran.

    order      position among all writes of the build
    op         torch's operation ("normal_", "copy_", "fill_", "zero_", "uniform_", "mul_"; "randn" for a creation)
    tensors    the paths (tensor names) whose storage was written
    location   the innermost line of the user's code (outside torch) that asked for it; None where there is none
    framework  True where torch's own modules asked (a constructor's default), not the user's code
    whole      True where the whole storage was written, False for a part (a slice)
    source     paths of tensors whose values were copied from, for copies (deepcopy, clone, copy_)
    mean, std  of the values written; NaN where not taken
    random     True where the operation draws (normal_, uniform_, ...)
    site       the call chain of the user's code, innermost first, as "file:line" texts
    owner      class name of the module that owns the tensor in the finished model
    """

    order: int
    op: str
    tensors: tuple[str, ...]
    location: Location | None
    framework: bool
    whole: bool
    source: tuple[str, ...] = ()
    mean: float = float("nan")
    std: float = float("nan")
    random: bool = False
    site: tuple[str, ...] = ()
    owner: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class Builds:
    """What building the network several times showed.

    writes          every write into storages that the finished model holds, in order
    equal_in_seeds  paths of tensors with bitwise equal values under two global seeds
    unwritten       path -> share of entries that were never written (NaN, or the integer maximum, in the poisoned
                    build); only tensors with such entries, buffers too
    unwritten_read  those of `unwritten` that are buffers and change what the network computes
    born            path -> the line of the user's code that created the tensor's module or tensor
    seed_calls      lines of the user's code that seeded a global generator
    second_seed, poisoned   whether that build could be made; Absent with the reason where not
    """

    writes: tuple[Write, ...]
    equal_in_seeds: frozenset[str]
    unwritten: Mapping[str, float]
    unwritten_read: frozenset[str]
    born: Mapping[str, Location]
    seed_calls: tuple[Location, ...] = ()
    second_seed: bool | Absent = True
    poisoned: bool | Absent = True

    def last_write(self, path: str) -> Write | None:
        """Returns the last write into `path`, or None."""
        return next((write for write in reversed(self.writes) if path in write.tensors), None)


@dataclass(frozen=True, kw_only=True, eq=False)
class ParameterFacts:
    """One parameter (or buffer) at the start. Statistics in float64; NaN where not measured.

    path, tied      its name, and its other names
    shape, dtype    dtype as text without "torch."
    trainable       requires_grad
    buffer          True for a buffer
    layer           class name of the module that owns it; `module` its path
    role            "weight", "bias", "norm_gain", "norm_bias", "embedding", ... as `modules.owners.Role`, "other"
    fan_in, fan_out of its layer; None where not known
    mean, std, rms, low, high  over all entries; `finite` False where any entry is NaN or infinite
    zero            True where every entry is exactly zero; `constant` where all entries are equal (zeros too)
    used            read by the forward pass; None where there was none
    grad            "none" (no gradient arrived), "zero" (exactly), "some", or None where no backward pass ran or it is
                    frozen
    grad_rms, grad_max
    """

    path: str
    tied: tuple[str, ...] = ()
    shape: tuple[int, ...]
    dtype: str
    trainable: bool
    buffer: bool = False
    layer: str = ""
    module: str = ""
    role: str = "other"
    fan_in: int | None = None
    fan_out: int | None = None
    mean: float = float("nan")
    std: float = float("nan")
    rms: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")
    finite: bool = True
    zero: bool = False
    constant: bool = False
    used: bool | None = None
    grad: Literal["none", "zero", "some"] | None = None
    grad_rms: float = float("nan")
    grad_max: float = float("nan")


@dataclass(frozen=True, kw_only=True, eq=False)
class UnitGroups:
    """Which slices of a parameter along one axis agree, in values and gradients (to 1e-6 of the largest entry).

    Axis 0 of torch's weights are units, axis 1 inputs. `values[i]`, `gradients[i]` are group numbers of slice i: equal
    numbers, equal slices. `quiet[i]`: the gradient of slice i is below a thousandth of the largest entry, so that its
    agreement with others proves little. Where all values differ, gradients were not compared: their numbers differ too.
    """

    values: NDArray[np.int64]
    gradients: NDArray[np.int64]
    quiet: NDArray[np.bool_]

    @property
    def distinct(self) -> bool:
        """Whether no two slices have equal values."""
        return len(np.unique(self.values)) == len(self.values)

    @property
    def both(self) -> NDArray[np.int64]:
        """Group numbers by values and gradients together."""
        return np.unique(np.stack([self.values, self.gradients], axis=1), axis=0, return_inverse=True)[1].reshape(-1)


@dataclass(frozen=True, kw_only=True, eq=False)
class Apart:
    """How far a parameter that started bit for bit as another one is from it after the probe.

    twin       the first parameter, in the model's order, of those that started so
    values, gradients   largest difference of the values, and of the last gradients, over the largest entry of both
    """

    twin: str
    values: float
    gradients: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Escape:
    """What a few tiny normalised steps on the same batch changed; see `instruments.escape`.

    steps            number of steps taken
    zero_at          path -> for step 0 ... steps: True where the whole gradient was exactly zero
    start, end       path -> {axis: UnitGroups} before the first and after the last step (parameters of two axes and
                     more, and vectors with axis 0)
    finite           False where a step led to NaN or infinity (the steps stop there)
    apart            path -> distance to the parameter it started equal to, for each but the first of such a group
    after            a second trace, after the steps: the same operators in the same order unless the model chooses by
                     data; with gradients where some parameter's gradient is zero to the end
    loss             after the steps
    """

    steps: int
    zero_at: Mapping[str, tuple[bool, ...]]
    start: Mapping[str, Mapping[int, UnitGroups]]
    end: Mapping[str, Mapping[int, UnitGroups]]
    finite: bool
    after: Trace | Absent
    loss: float
    apart: Mapping[str, Apart] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, eq=False)
class Chance:
    """The loss of constant outputs on this batch.

    best         loss of the best constant output (one vector broadcast over samples and positions)
    zero         loss where every output is zero (ln C for cross-entropy)
    vector       the best constant; n_targets the number of targets behind it; classes for class targets
    standard_error  of the loss over samples, NaN where it cannot be taken
    accuracy     share of right answers at the start, confidence the mean largest probability (classification; else NaN)
    label_entropy  in nats, of the class targets; NaN else
    """

    best: float
    zero: float
    vector: NDArray[np.float64]
    n_targets: int
    classes: int | None = None
    standard_error: float = float("nan")
    accuracy: float = float("nan")
    confidence: float = float("nan")
    label_entropy: float = float("nan")
    label_counts: NDArray[np.float64] | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Evidence:
    """All of it. `model` may be read (structure, hyperparameters, values at the start) and never called or changed.

    parameters   every parameter, in the model's own order; buffers after them
    trace        one forward (and backward) pass, operator by operator
    loss         its value; loss_kind how it was recognised from the operators; user_loss False for the stand-in
    synthetic    True where inputs were made up here
    seed         the seed of the check
    locate       path -> where the user's code last wrote or made it, or the class of its module is written
    """

    model: nn.Module
    parameters: Mapping[str, ParameterFacts]
    builds: Builds | Absent
    trace: Trace | Absent
    loss: float | Absent
    loss_kind: LossKind = "other"
    user_loss: bool = False
    gradients: bool | Absent = True
    escape: Escape | Absent
    chance: Chance | Absent
    synthetic: bool = False
    batch: int | None = None
    inputs: Any = None
    targets: Any = None
    seed: int = 0
    locate: Callable[[str], Location | None] = field(default=lambda path: None)
