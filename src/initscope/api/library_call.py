"""Names of libraries' models with keyword arguments: `resnet18(num_classes=10)`, dots and dashes in names allowed."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from initscope.base.calls import parse_call
from initscope.base.errors import EnvironmentFault, UsageError
from initscope.modules.vision_operators import declare_vision_operators


@dataclass(frozen=True, kw_only=True)
class LibraryCall:
    """A model's name in a library ("timm", "hf") and the keyword arguments to build it with."""

    library: str
    name: str
    keywords: dict[str, Any] = field(default_factory=dict)

    @property
    def reference(self) -> str:
        """How the user named it, without arguments."""
        return f"{self.library}:{self.name}"


def library_call(reference: str) -> LibraryCall:
    """Returns the call of "library:name" or "library:name(key=value, ...)".

    Raises: UsageError for arguments that are no literals, or have no name.
    """
    library, _, text = reference.partition(":")
    name, bracket, rest = text.strip().partition("(")
    legal = f"{library}:name, or {library}:name(key=value, ...)"
    if not name.strip():
        raise UsageError(f"{reference!r} names no model", legal=legal)
    try:
        call = parse_call(f"model({rest}" if bracket else "model")
    except UsageError as error:
        raise UsageError("cannot read the arguments of a model", value=repr(reference), legal=legal) from error
    if call.positional:
        raise UsageError("arguments of a model need names", value=repr(reference), legal=legal)
    return LibraryCall(library=library, name=name.strip(), keywords=dict(call.keywords))


def library(name: str, *, wanted_by: str) -> ModuleType:
    """Returns an optional library.

    Raises: EnvironmentFault that names the package to install where it is missing, and for one that cannot be imported.
    """
    declare_vision_operators()
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name == name:
            raise EnvironmentFault(
                f"{wanted_by} needs {name}, which is not installed", do=f"install it: pip install {name}"
            ) from error
        raise _broken(name, wanted_by, error) from error
    except Exception as error:
        raise _broken(name, wanted_by, error) from error


def _broken(name: str, wanted_by: str, error: Exception) -> EnvironmentFault:
    told = f"{wanted_by} needs {name}, which cannot be imported: {type(error).__name__}: {error}"
    return EnvironmentFault(told, do=f"mend the installation until this works: python -c 'import {name}'")


def unknown_model(call: LibraryCall, legal: str, names: Iterable[str]) -> UsageError:
    """Returns the error for a name that a library does not have, with the nearest ones."""
    near = difflib.get_close_matches(call.name, list(names), n=3, cutoff=0.6)
    return UsageError(
        f"unknown model {call.reference!r}",
        legal=legal,
        do=f"did you mean {' or '.join(repr(one) for one in near)}?" if near else None,
    )
