"""The studies that come with the package: one TOML file each in the folder `builtin`."""

from __future__ import annotations

from importlib.resources import files
from importlib.resources.abc import Traversable

from initscope.base.errors import unknown_name


def builtin_names() -> tuple[str, ...]:
    """Returns the names of the built-in studies, sorted.

    Example:
        >>> "surprising-demo" in builtin_names()
        True
    """
    return tuple(sorted(_files()))


def builtin_text(name: str) -> str:
    """Returns the TOML text of the built-in study `name`; raises UsageError where there is none of that name."""
    found = _files()
    if name not in found:
        raise unknown_name("study", name, found)
    return found[name].read_text(encoding="utf-8")


def _files() -> dict[str, Traversable]:
    folder = files("initscope.study").joinpath("builtin")
    return {item.name.removesuffix(".toml"): item for item in folder.iterdir() if item.name.endswith(".toml")}
