"""initscope: see what your initialisation does, with enough seeds to believe it."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from initscope.api.results import StudyResults
    from initscope.api.run import open_results, run
    from initscope.base.errors import EnvironmentFault, InitscopeError, RunsFailedError, UsageError
    from initscope.records.study import Study

__version__ = "0.1.0"

_HOME = {
    "run": "initscope.api.run",
    "open_results": "initscope.api.run",
    "StudyResults": "initscope.api.results",
    "Study": "initscope.records.study",
    "InitscopeError": "initscope.base.errors",
    "UsageError": "initscope.base.errors",
    "EnvironmentFault": "initscope.base.errors",
    "RunsFailedError": "initscope.base.errors",
}

__all__ = [
    "EnvironmentFault",
    "InitscopeError",
    "RunsFailedError",
    "Study",
    "StudyResults",
    "UsageError",
    "__version__",
    "open_results",
    "run",
]


def __getattr__(name: str) -> Any:
    """Loads a public name where it lives, at its first use: `import initscope` alone loads nothing heavy."""
    if name not in _HOME:
        raise AttributeError(f"module 'initscope' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return __all__
