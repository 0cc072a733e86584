"""How people name rules: by name, by code, by the beginning of a code, or ALL."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from initscope.base.errors import UsageError, nearest

EVERYTHING = "ALL"
LEGAL = "names (signal-fades), codes (INI301), beginnings of codes (INI3), or ALL"
REDIRECTS: dict[str, str] = {}
"""Former names and codes -> the code of today; a name or code is never given to another rule."""


def known_rules() -> dict[str, str]:
    """Returns {name: code} of every registered rule, in the order of the codes."""
    from initscope.checker.rule import RULES

    return dict(sorted(((name, rule.code) for name, rule in RULES.items()), key=lambda pair: pair[1]))


def split_rules(text: str) -> tuple[str, ...]:
    """Returns the parts of a list separated by commas; blanks and empty parts are dropped.

    Example:
        >>> split_rules("signal-fades, INI1,")
        ('signal-fades', 'INI1')
    """
    return tuple(part.strip() for part in text.split(",") if part.strip())


def resolve_rules(wanted: Iterable[str], *, where: str, known: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """Returns the names of the rules that `wanted` means, in the order of their codes, each once.

    Arguments: `where` is the option or the key they come from, for errors; `known` is {name: code}, all registered
    rules unless given.
    Raises: UsageError for a part that means no rule.

    Example:
        >>> resolve_rules(["INI3"], where="--select", known={"signal-fades": "INI301", "dead-units": "INI402"})
        ('signal-fades',)
    """
    rules = known_rules() if known is None else known
    found: set[str] = set()
    for part in wanted:
        means = _meant(part, rules)
        if not means:
            raise _unknown(part, where, rules)
        found |= means
    return tuple(sorted(found, key=lambda name: rules[name]))


def _meant(part: str, rules: Mapping[str, str]) -> set[str]:
    if part == EVERYTHING:
        return set(rules)
    part = REDIRECTS.get(part, part)
    if part in rules:
        return {part}
    code = part.upper()
    return {name for name, own in rules.items() if code.startswith("INI") and own.startswith(code)}


def _unknown(part: str, where: str, rules: Mapping[str, str]) -> UsageError:
    near = nearest(part, [*rules, *rules.values(), EVERYTHING])
    ask = "initscope list rules shows them all"
    do = f"did you mean {near!r}? {ask}" if near else ask
    return UsageError(f"unknown rule {part!r}", where=where, legal=LEGAL, do=do)
