"""What a user's own code allows: a rule that may say nothing of a module, and why."""

from __future__ import annotations

from weakref import WeakKeyDictionary

from torch import nn

from initscope.base.errors import UsageError
from initscope.checker.rule_names import resolve_rules
from initscope.checker.selection import Allowance

_ALLOWED: WeakKeyDictionary[nn.Module, list[tuple[str, str]]] = WeakKeyDictionary()
"""Module -> (rule, reason). Kept beside the modules: nothing is pinned on them, and it goes when they go."""


def allow(module: nn.Module, rule: str, *, reason: str) -> None:
    """Lets `rule` (a name, a code, the beginning of a code) say nothing of `module` and what it holds.

    `reason` is shown wherever the finding would have been. An allowance that silences nothing is itself reported.

    Raises: UsageError for something that is no module, an unknown rule, or an empty reason.

    Example:
        >>> import initscope, torch
        >>> gate = torch.nn.Linear(4, 4)
        >>> initscope.allow(gate, "dead-units", reason="a gate that starts shut")
    """
    if not isinstance(module, nn.Module):
        raise UsageError("allow wants a torch.nn.Module", where="initscope.allow", value=type(module).__name__)
    resolve_rules([rule], where="initscope.allow")
    if not str(reason or "").strip():
        raise UsageError(
            "an allowance needs a reason", where="initscope.allow", value=repr(reason),
            do="say why this rule is wrong here: it is shown to whoever reads the report",
        )  # fmt: skip
    held = _ALLOWED.setdefault(module, [])
    if (rule, reason) not in held:
        held.append((rule, reason))


def allowances_in(model: nn.Module) -> tuple[Allowance, ...]:
    """Returns what is allowed in `model`, by the paths of its modules."""
    return tuple(
        Allowance(path=path, rule=rule, reason=reason)
        for path, module in model.named_modules()
        for rule, reason in _ALLOWED.get(module, ())
    )
