"""initscope: see what your initialisation does, with enough seeds to believe it."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from initscope import init
    from initscope.api.activation_gain import gain
    from initscope.api.check import check
    from initscope.api.check_report import Report
    from initscope.api.explanation import explain
    from initscope.api.initialization import initialize, initialize_ensemble, plan
    from initscope.api.results import StudyResults
    from initscope.api.run import open_results, run
    from initscope.base.errors import EnvironmentFault, InitscopeError, RunsFailedError, UnsoundStartError, UsageError
    from initscope.checker.allowances import allow
    from initscope.records.study import Study

__version__ = "0.1.0"

_HOME = {
    "allow": "initscope.checker.allowances",
    "check": "initscope.api.check",
    "Report": "initscope.api.check_report",
    "UnsoundStartError": "initscope.base.errors",
    "explain": "initscope.api.explanation",
    "gain": "initscope.api.activation_gain",
    "initialize": "initscope.api.initialization",
    "initialize_ensemble": "initscope.api.initialization",
    "plan": "initscope.api.initialization",
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
    "Report",
    "RunsFailedError",
    "Study",
    "StudyResults",
    "UnsoundStartError",
    "UsageError",
    "__version__",
    "allow",
    "check",
    "explain",
    "gain",
    "init",
    "initialize",
    "initialize_ensemble",
    "open_results",
    "plan",
    "run",
]


def __getattr__(name: str) -> Any:
    """Loads a public name where it lives, at its first use: `import initscope` alone loads nothing heavy."""
    if name == "init":
        return importlib.import_module("initscope.init")
    if name not in _HOME:
        raise AttributeError(f"module 'initscope' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return __all__
