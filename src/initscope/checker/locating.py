"""Where in the user's files a parameter or a module comes from."""

from __future__ import annotations

import inspect
from collections.abc import Callable

from torch import nn

from initscope.checker.evidence import Absent, Builds
from initscope.checker.instruments.places import is_users
from initscope.records.finding import Location


def locator(model: nn.Module, builds: Builds | Absent) -> Callable[[str], Location | None]:
    """Returns the function path -> place: the line that last wrote a parameter or made it, else its module's class.

    A module stands where its first parameter does. Classes of torch itself are looked up at the next module outward.
    """

    def locate(path: str) -> Location | None:
        if not isinstance(builds, Absent):
            write = builds.last_write(path)
            if write is not None and write.location is not None and not write.framework:
                return write.location
            inside = [one for one in builds.born if one == path or one.startswith(f"{path}.")]
            if inside:
                return builds.born[inside[0]]
        return _class_of(model, path)

    return locate


def _class_of(model: nn.Module, path: str) -> Location | None:
    parts, modules = path.split(".") if path else [], dict(model.named_modules())
    for length in range(len(parts), -1, -1):
        module = modules.get(".".join(parts[:length]))
        place = None if module is None else _source(type(module))
        if place is not None:
            return place
    return None


def _source(kind: type) -> Location | None:
    try:
        file = inspect.getsourcefile(kind)
        if file is None or not is_users(file):
            return None
        return Location(file=file, line=inspect.getsourcelines(kind)[1])
    except (OSError, TypeError):
        return None
