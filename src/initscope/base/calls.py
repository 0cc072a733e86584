"""Call texts such as `normal(std=0.01)`: how study files, options and docs name a variant with its arguments."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field

from initscope.base.errors import UsageError

Literal = bool | int | float | str | None | tuple["Literal", ...]


@dataclass(frozen=True, kw_only=True)
class Call:
    """A name with literal arguments; `str(call)` is its canonical text."""

    name: str
    positional: tuple[Literal, ...] = ()
    keywords: tuple[tuple[str, Literal], ...] = field(default=())

    def __str__(self) -> str:
        inside = [repr(value) for value in self.positional]
        inside += [f"{key}={value!r}" for key, value in sorted(self.keywords)]
        return f"{self.name}({', '.join(inside)})" if inside else self.name


def parse_call(text: str, *, where: str | None = None) -> Call:
    """Returns the call that `text` writes; raises UsageError where it is not a name with literal arguments.

    Example:
        >>> parse_call("normal(std=0.01)").keywords
        (('std', 0.01),)
        >>> str(parse_call(" zeros "))
        'zeros'
    """
    try:
        node = ast.parse(text.strip(), mode="eval").body
        if isinstance(node, ast.Name):
            return Call(name=node.id)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            return Call(
                name=node.func.id,
                positional=tuple(_literal(argument) for argument in node.args),
                keywords=tuple((_keyword(pair), _literal(pair.value)) for pair in node.keywords),
            )
        raise ValueError("not a name or a call")
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError) as error:
        raise UsageError(
            "cannot read this as a name with arguments",
            where=where,
            value=repr(text),
            legal="a name, or a name with literal arguments in brackets, such as zeros or normal(std=0.01)",
        ) from error


def _keyword(pair: ast.keyword) -> str:
    if pair.arg is None:
        raise ValueError("** is not a literal")
    return pair.arg


def _literal(node: ast.expr) -> Literal:
    value = ast.literal_eval(node)
    return _frozen(value)


def _frozen(value: object) -> Literal:
    if isinstance(value, list | tuple):
        return tuple(_frozen(item) for item in value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ValueError(f"{type(value).__name__} is not a literal argument")
