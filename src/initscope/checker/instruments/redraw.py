"""Code that draws given parameters again: by a scheme where their layout is known, else by hand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import prod

from initscope.checker.evidence import ParameterFacts

MOST = 16
"""Parameters named in one fix; the rest goes the same way."""


def redrawn(facts: Mapping[str, ParameterFacts], schemes: Mapping[str, str]) -> str:
    """Returns code that draws each parameter of `schemes` (path -> scheme) at random.

    A bare parameter, whose layout nobody knows, gets a normal law of variance 2 / (rows + columns); a gate of fewer
    than two axes gets 0.1.
    """
    known = {path: scheme for path, scheme in schemes.items() if facts[path].fan_in is not None}
    lines = []
    if known:
        named = ", ".join(f'"{path}": "{scheme}"' for path, scheme in list(known.items())[:MOST])
        lines.append(f"initscope.initialize(model, {{{named}}})")
    lines += [_by_hand(facts[path]) for path in schemes if path not in known][:MOST]
    return "\n".join(lines)


def of_matrices(facts: Mapping[str, ParameterFacts], paths: Iterable[str], scheme: str) -> dict[str, str]:
    """Returns path -> scheme for those of `paths` that have two axes and more; for all of them where none has."""
    every = list(paths)
    matrices = [path for path in every if len(facts[path].shape) > 1]
    return dict.fromkeys(matrices or every, scheme)


def _by_hand(facts: ParameterFacts) -> str:
    tensor = f'model.get_parameter("{facts.path}")'
    if len(facts.shape) < 2:
        return f"nn.init.constant_({tensor}, 0.1)"
    *rows, columns = facts.shape[-2:] if len(facts.shape) < 4 else (facts.shape[0], prod(facts.shape[1:]))
    return f"nn.init.normal_({tensor}, std={(2 / (rows[0] + columns)) ** 0.5:.3g})"
