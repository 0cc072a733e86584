"""Models named on the command line: `package.module:factory`, called without arguments."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from initscope.api.here import importable_here
from initscope.base.errors import UsageError
from initscope.base.streams import stream_seed
from initscope.models.registry import import_factory, raised_by_user
from initscope.modules.generators import seeded_generators


@dataclass(frozen=True, kw_only=True, eq=False)
class Target:
    """What a factory returned: a model, and inputs, targets and loss where it gave them."""

    model: nn.Module
    inputs: Any = None
    targets: Any = None
    loss: Any = None


def load_target(reference: str, *, seed: int = 0) -> Target:
    """Returns what the factory that `reference` names builds, called without arguments.

    The current folder is importable. The factory returns a module, or a tuple (module, inputs), (module, inputs,
    targets) or (module, inputs, targets, loss). Its random draws come from generators seeded from `seed`.

    Raises: UsageError for a reference that cannot be imported, a factory that raises (with its own traceback), or one
        that returns something else.
    """
    module, _, path = reference.partition(":")
    if not module.strip() or not path.strip():
        raise UsageError(
            f"{reference!r} names no factory", legal="package.module:function, importable from the current folder"
        )
    with importable_here(), seeded_generators(stream_seed(seed, "build")):
        found = _called(_factory(reference), reference)
    parts = found if isinstance(found, tuple) else (found,)
    if not 1 <= len(parts) <= 4 or not isinstance(parts[0], nn.Module):
        kinds = ", ".join(type(part).__name__ for part in parts)
        raise UsageError(
            f"the factory {reference} returned ({kinds})",
            legal="a torch.nn.Module, or a tuple (module, inputs, targets, loss) of which the later may be left out",
        )
    return Target(**dict(zip(("model", "inputs", "targets", "loss"), parts, strict=False)))


def _factory(reference: str) -> Callable[[], Any]:
    """The factory, as the study's reader imports it; that it stands in no study is said."""
    try:
        factory = import_factory(reference)
    except UsageError as error:
        raise UsageError(error.what, value=error.value, legal=error.legal, do=error.do) from error
    try:
        inspect.signature(factory).bind()
    except TypeError as error:
        raise UsageError(
            f"the factory {reference} cannot be called without arguments: {error}",
            do="name a function that takes none, such as one that calls it with yours",
        ) from error
    except ValueError:
        return factory  # a builtin without a signature: it is called and says so itself
    return factory


def _called(factory: Callable[[], Any], reference: str) -> Any:
    try:
        return factory()
    except UsageError:
        raise
    except Exception as error:
        behind = error.__traceback__.tb_next if error.__traceback__ is not None else None
        told = raised_by_user(
            f"the factory {reference} raised {type(error).__name__}", error.with_traceback(behind)
        )
        raise UsageError(told.what, value=told.value) from error
