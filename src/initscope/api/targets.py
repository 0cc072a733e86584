"""What is named on the command line: models by TARGET, batches and losses by reference."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from initscope.api.hf_target import hf_factory
from initscope.api.timm_target import timm_factory
from initscope.api.user_code import called, importable_for, load_object, without_arguments
from initscope.base.errors import UsageError
from initscope.base.streams import stream_seed
from initscope.checker.instruments.losses import Loss, named_loss
from initscope.modules.generators import seeded_generators

PARTS = "a torch.nn.Module, or a tuple (module, inputs, targets, loss) of which the later may be left out"


@dataclass(frozen=True, kw_only=True, eq=False)
class Target:
    """What a factory returned: a model, and inputs, targets and loss where it gave them."""

    model: nn.Module
    inputs: Any = None
    targets: Any = None
    loss: Any = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Source:
    """Where models come from: `factory` builds one afresh at every call, `name` is the reference as it was given."""

    factory: Callable[[], Any]
    name: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """What a batch function returned; `targets` None where it gave inputs alone."""

    inputs: Any
    targets: Any = None


def load_source(reference: str, *, seed: int = 0) -> Source:
    """Returns where the models that TARGET names come from; nothing is built yet.

    TARGET is "package.module:factory" (importable from the current folder), "path/to/file.py:factory", "timm:name" or
    "hf:name", the last two with keyword arguments in brackets where wanted. A user's module is imported under
    generators seeded from `seed`. The factory draws from the global generators as they stand: seed them around it.

    Raises: UsageError for a reference that cannot be loaded, and for a factory that needs arguments; EnvironmentFault
        for a library that is not installed. The factory itself raises UsageError with the user's own traceback.
    """
    libraries: dict[str, Callable[[str], Callable[[], Any]]] = {"timm": timm_factory, "hf": hf_factory}
    made = libraries.get(reference.partition(":")[0].strip())
    with seeded_generators(stream_seed(seed, "build")):
        user = made(reference) if made is not None else without_arguments(load_object(reference), reference)

    def factory() -> Any:
        with importable_for(reference):
            return called(user, reference, "factory")

    return Source(factory=factory, name=reference)


def load_target(reference: str, *, seed: int = 0) -> Target:
    """Returns what the TARGET `reference` builds: see `load_source` for its forms.

    Its random draws come from generators seeded from `seed`.

    Raises: UsageError for a reference that cannot be imported, a factory that raises (with its own traceback), or one
        that returns something else.
    """
    source = load_source(reference, seed=seed)
    with seeded_generators(stream_seed(seed, "build")):
        return parts_of(source.factory(), reference)


def parts_of(returned: Any, name: str) -> Target:
    """Returns the model, inputs, targets and loss that the factory called `name` returned.

    Raises: UsageError where it is neither a module nor a tuple that begins with one.
    """
    parts = returned if isinstance(returned, tuple) else (returned,)
    if not 1 <= len(parts) <= 4 or not isinstance(parts[0], nn.Module):
        kinds = ", ".join(type(part).__name__ for part in parts)
        raise UsageError(f"the factory {name} returned ({kinds})", legal=PARTS)
    return Target(**dict(zip(("model", "inputs", "targets", "loss"), parts, strict=False)))


def load_batch(reference: str, *, seed: int = 0) -> Batch:
    """Returns what the batch function that `reference` names gives, called without arguments.

    A tuple or list of two is (inputs, targets), as a DataLoader gives it; of one, inputs; anything else is the inputs:
    a tensor, or a dict of keyword inputs. Several positional inputs are told apart by writing
    ((first, second), targets), targets None where there are none. Its random draws come from generators seeded from
    `seed`.

    Raises: UsageError as `load_source` does, and for a tuple of any other length.
    """
    with seeded_generators(stream_seed(seed, "batch")), importable_for(reference):
        function = without_arguments(load_object(reference, what="batch function"), reference, what="batch function")
        found = called(function, reference, "batch function")
    if found is None or (isinstance(found, tuple | list) and len(found) not in (1, 2)):
        given = "None" if found is None else f"a {type(found).__name__} of {len(found)}"
        raise UsageError(
            f"the batch function {reference} returned {given}",
            legal="inputs, or (inputs, targets); several positional inputs as ((first, second), targets)",
        )
    if isinstance(found, tuple | list):
        return Batch(inputs=found[0], targets=found[1] if len(found) == 2 else None)
    return Batch(inputs=found)


def load_loss(reference: str) -> Loss:
    """Returns the loss that `reference` names: "cross_entropy" and the like, or "package.module:function".

    A class of losses, such as one of torch.nn, is called for an instance.

    Raises: UsageError for an unknown name, or a reference that cannot be loaded.
    """
    if ":" not in reference:
        return named_loss(reference)
    with importable_for(reference):
        found = load_object(reference, what="loss")
        if isinstance(found, type):
            found = called(without_arguments(found, reference, what="loss"), reference, "loss")
    if not callable(found):
        raise UsageError(f"{reference} makes no loss", value=type(found).__name__, legal="loss(output, target)")
    return found  # type: ignore[no-any-return]  # callable() has just been checked
