"""The registry of models a study can name, and how a study's [model] table becomes a module."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import Any

from torch import nn

from initscope.base.errors import UsageError
from initscope.base.registry import Registry
from initscope.records.study import ModelSpec

Builder = Callable[..., nn.Module]
"""Called as builder(spec, in_features=..., out_features=...)."""

MODELS: Registry[Builder] = Registry("model", "initscope.models")


def build_model(spec: ModelSpec, *, in_features: int, out_features: int) -> nn.Module:
    """Returns the network of `spec` with its ends sized to the data.

    The constructor may draw from torch's global generator: callers that care keep it inside
    `initscope.modules.generators.seeded_generators`.

    Raises: UsageError for an unknown name, or a factory that cannot be imported, called or is no module builder.
    """
    if spec.factory is None:
        builder = MODELS.get(spec.name or "mlp", where="model.name")
        return builder(spec, in_features=in_features, out_features=out_features)
    factory = import_factory(spec.factory)
    arguments: dict[str, Any] = {"in_features": in_features, "out_features": out_features, **spec.options}
    try:
        inspect.signature(factory).bind(**arguments)
    except TypeError as error:
        raise UsageError(
            f"the factory {spec.factory} cannot take its arguments: {error}",
            where="model.factory",
            legal=f"a function that accepts {', '.join(arguments)} by name",
        ) from error
    model = factory(**arguments)
    if not isinstance(model, nn.Module):
        raise UsageError(
            f"the factory {spec.factory} returned {type(model).__name__}, not a torch.nn.Module", where="model.factory"
        )
    return model


def import_factory(reference: str) -> Callable[..., Any]:
    """Returns the function that "package.module:function" names; raises UsageError where it cannot be had."""
    module_name, _, path = reference.partition(":")
    try:
        found: Any = importlib.import_module(module_name)
        for part in path.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise UsageError(
            f"cannot import {reference}: {error}",
            where="model.factory",
            legal="package.module:function, importable from the current folder or the environment",
        ) from error
    if not callable(found):
        raise UsageError(f"{reference} is not callable", where="model.factory", value=type(found).__name__)
    return found  # type: ignore[no-any-return]  # callable() has just been checked; getattr gives Any
