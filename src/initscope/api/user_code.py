"""The user's own modules, functions and files: loaded by name, their errors told with the user's lines alone."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from initscope.api.here import importable_here
from initscope.base.errors import InitscopeError, UsageError
from initscope.models.registry import import_factory, raised_by_user

OURS = (str(Path(__file__).parent.parent), contextlib.__file__)
LEGAL = "package.module:function, importable from the current folder"


def load_object(reference: str, *, what: str = "factory") -> Any:
    """Returns what "package.module:name" or "path/to/file.py:name" names; the current folder is importable.

    A file is loaded as a module of its own with its folder importable. Raises: UsageError for a reference that names
    nothing, or a module that raises while it is imported (with the user's own traceback).
    """
    module, _, name = reference.rpartition(":")
    if not is_file(module):
        module, _, name = reference.partition(":")
    if not module.strip() or not name.strip():
        raise UsageError(f"{reference!r} names no {what}", legal=LEGAL)
    if not is_file(module):
        return _imported(reference)
    found: Any = _file_module(Path(module), reference)
    try:
        for part in name.split("."):
            found = getattr(found, part)
    except AttributeError as error:
        raise UsageError(
            f"cannot import {reference}: {Path(module).name} has no {name!r}", legal="path/to/file.py:function"
        ) from error
    if not callable(found):
        raise UsageError(f"{reference} is not callable", value=type(found).__name__)
    return found


def is_file(module: str) -> bool:
    """Returns whether the part of a reference before its colon is a file, not a module."""
    return module.endswith(".py") or "/" in module or os.sep in module


@contextlib.contextmanager
def importable_for(reference: str) -> Iterator[None]:
    """Makes what `reference` names importable inside the block: the current folder, and a file's own folder."""
    module = reference.rpartition(":")[0]
    folder = str(Path(os.path.abspath(module)).parent) if is_file(module) else ""
    added = folder not in ("", str(Path.cwd())) and folder not in sys.path
    with importable_here():
        if added:
            sys.path.insert(0, folder)
        try:
            yield
        finally:
            if added and folder in sys.path:
                sys.path.remove(folder)


def told(what: str, error: Exception) -> UsageError:
    """Returns the error that says `what` and shows where the user's own code raised, without our frames."""
    behind = error.__traceback__
    while behind is not None and behind.tb_frame.f_code.co_filename.startswith(OURS):
        behind = behind.tb_next
    shown = raised_by_user(what, error.with_traceback(behind))
    return UsageError(shown.what, value=shown.value)


def without_arguments(
    function: Callable[..., Any],
    name: str,
    *,
    what: str = "factory",
    do: str = "name a function that takes none, such as one that calls it with yours",
) -> Callable[[], Any]:
    """Returns `function`, whose name is `name`, once it is known to want no argument.

    Raises: UsageError where it wants some; `do` says what helps. A builtin without a signature says so itself.
    """
    if callable(getattr(function, "named_parameters", None)) and not isinstance(function, type):
        raise UsageError(
            f"{name} is a model, not a function that builds one",
            value=type(function).__name__,
            do=f"write a function that returns it: def build(): return {name.rpartition(':')[2]}",
        )
    try:
        inspect.signature(function).bind()
    except TypeError as error:
        raise UsageError(f"the {what} {name} cannot be called without arguments: {error}", do=do) from error
    except ValueError:
        pass
    return function


def called(function: Callable[[], Any], name: str, what: str = "factory") -> Any:
    """Returns what `function` returns.

    Raises: UsageError with the user's own lines where it raises anything but an error of ours.
    """
    try:
        return function()
    except InitscopeError:
        raise
    except SystemExit as error:
        raise UsageError(f"the {what} {name} ended the program", value=f"SystemExit({error.code!r})") from error
    except Exception as error:
        raise told(f"the {what} {name} raised {type(error).__name__}", error) from error


def _imported(reference: str) -> Callable[..., Any]:
    try:
        with importable_here():
            return import_factory(reference)
    except UsageError as error:  # said as a study's reader says it; here it stands in no study
        raise UsageError(error.what, value=error.value, legal=error.legal, do=error.do) from error
    except SystemExit as error:
        raise _left(reference, error) from error


def _file_module(path: Path, reference: str) -> ModuleType:
    whole = Path(os.path.abspath(path))
    if not whole.is_file():
        raise UsageError(f"cannot import {reference}: there is no file {path}", legal="path/to/file.py:function")
    name = f"_initscope_{whole.stem}_{hashlib.sha256(os.fsencode(whole)).hexdigest()[:12]}"
    spec = importlib.util.spec_from_file_location(name, whole)
    if spec is None or spec.loader is None:
        raise UsageError(f"cannot import {reference}: {path} is no Python file", legal="path/to/file.py:function")
    module = importlib.util.module_from_spec(spec)
    before = sys.modules.get(name)
    sys.modules[name] = module  # dataclasses and pickles look their module up by name
    try:
        with importable_for(reference):
            spec.loader.exec_module(module)
    except BaseException as error:
        sys.modules.pop(name, None)
        if before is not None:
            sys.modules[name] = before
        if isinstance(error, SystemExit):
            raise _left(reference, error) from error
        if not isinstance(error, Exception) or isinstance(error, UsageError):
            raise
        raise told(f"cannot import {reference}: its file raised {type(error).__name__}", error) from error
    return module


def _left(reference: str, error: SystemExit) -> UsageError:
    return UsageError(
        f"cannot import {reference}: it ended the program while it was imported",
        value=f"SystemExit({error.code!r})",
        do='put what should run as a program under if __name__ == "__main__":',
    )
