"""Pydantic's complaints about a study, put into sentences of our own."""

from __future__ import annotations

import datetime
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from initscope.base.errors import nearest
from initscope.records.study import Study
from initscope.records.study_mistakes import KEY_RULE, Mistake, Path
from initscope.records.study_toml import toml_key, toml_value

_WANTED = {
    "int_type": "a whole number",
    "float_type": "a number",
    "string_type": "text",
    "dict_type": "a table",
    "model_type": "a table",
    "tuple_type": "a list",
    "list_type": "a list",
    "finite_number": "a finite number",
}
_BOUNDS = {
    "greater_than_equal": ("at least", "ge"),
    "greater_than": ("above", "gt"),
    "less_than": ("below", "lt"),
    "less_than_equal": ("at most", "le"),
}
_PATTERNS = {"name": KEY_RULE, "factory": "package.module:function"}
_QUOTE = re.compile(r"'([^']*)'")
_OWN_CHECKS = "value_error"


def mistakes_of(error: ValidationError, study: Mapping[str, Any]) -> list[Mistake]:
    """Returns one mistake for each key or value that pydantic refused; what `study_mistakes` finds is left to it."""
    found: dict[Path, Mistake] = {}
    for detail in error.errors(include_url=False):
        kind = detail["type"]
        if kind == _OWN_CHECKS:
            continue
        path = _path(detail["loc"], study, missing=kind in {"missing", "extra_forbidden"})
        value = _at(study, path)
        patterns = _unquoted_patterns(path, value) if path[0] == "conditions" and len(path) == 3 else []
        if patterns:
            found |= {mistake.path: mistake for mistake in patterns}
        elif path not in found:
            found[path] = _mistake(kind, path, value, detail.get("ctx") or {}, detail["msg"])
    return [mistake for path, mistake in found.items() if not (_is_option(path) and _has_inner(path, found))]


def described(value: object) -> str:
    """Returns a value with its kind, as messages name it.

    Example:
        >>> described("ten"), described(3), described([1])
        ("text 'ten'", 'the whole number 3', 'a list')
    """
    match value:
        case bool():
            return str(value).lower()
        case int():
            return f"the whole number {value}"
        case float():
            return f"the number {value}"
        case str():
            return f"text {_shortened(value)!r}"
        case datetime.datetime() | datetime.date() | datetime.time():
            return f"the date or time {value}"
        case Mapping():
            return "a table"
        case list() | tuple():
            return "a list"
        case _:
            return f"{type(value).__name__}"


def dotted(path: Path) -> str:
    """Returns a path as a study file writes it.

    Example:
        >>> dotted(("conditions", "mine", "*.bias"))
        'conditions.mine."*.bias"'
    """
    parts = [f"[{part}]" if isinstance(part, int) else f".{toml_key(part)}" for part in path]
    return "".join(parts).removeprefix(".")


def _mistake(kind: str, path: Path, value: object, ctx: Mapping[str, Any], text: str) -> Mistake:
    """Returns the mistake for one complaint: `kind`, `ctx` and `text` are pydantic's."""
    where = dotted(path)
    if kind == "extra_forbidden":
        return _unknown_key(path, value)
    if kind == "missing":
        return _missing(path)
    if path[0] == "conditions" and len(path) > 1:
        return _not_a_condition(path, value)
    if _is_option(path):
        finite = "finite " if isinstance(value, float) else ""
        what = f"{where} must be true, false, a {finite}number, text or a list of these, got {described(value)}"
        return Mistake(path=path, what=what)
    if kind in _WANTED:
        what = f"{where} must be {_WANTED[kind]}, got {described(value)}"
        return Mistake(path=path, what=what, do=_other_quotes(_WANTED[kind], value))
    if kind in _BOUNDS:
        words, bound = _BOUNDS[kind]
        return Mistake(path=path, what=f"{where} must be {words} {ctx[bound]:g}, got {value}")
    if kind == "literal_error":
        return _not_among(path, value, _QUOTE.findall(str(ctx["expected"])))
    if kind == "string_pattern_mismatch":
        what = f"{where} cannot be {_shortened(str(value))!r}"
        return Mistake(path=path, what=what, legal=_PATTERNS.get(str(path[-1])))
    if kind in {"too_short", "string_too_short"}:
        return Mistake(path=path, what=f"{where} must not be empty", do=_first_condition(path))
    return Mistake(path=path, what=f"{where} is not legal: {text[:1].lower()}{text[1:]}, got {described(value)}")


def _unknown_key(path: Path, value: object) -> Mistake:
    """Returns the mistake for a key that its table does not have, with the table it belongs to where there is one."""
    table, key = path[:-1], str(path[-1])
    legal = _fields_at(table)
    homes = [home for home in ((), ("data",), ("model",), ("train",)) if home != table and key in _fields_at(home)]
    near = nearest(key, legal)
    hint = f"; did you mean {near!r}?" if near else ""
    if homes:
        hint = f"; it belongs in [{homes[0][0]}]" if homes[0] else "; it belongs at the top, before the first [table]"
    place = f"in [{dotted(table)}]" if table else "at the top"
    what = f"unknown key {key!r} {place}{hint}"
    if not table and isinstance(value, Mapping):
        what = f"unknown table [{dotted(path)}]{hint}"
    return Mistake(path=path, at="key", what=what, legal=", ".join(legal))


def _missing(path: Path) -> Mistake:
    if path == ("conditions",):
        return Mistake(path=path, at="key", what="a study needs at least one condition", do=_first_condition(path))
    return Mistake(path=path[:-1], at="key", what=f"{dotted(path[:-1])} has no {path[-1]!r}, which is needed")


def _not_a_condition(path: Path, value: object) -> Mistake:
    """Returns the mistake for something in [conditions] that is no table of patterns and initializers."""
    if len(path) == 2:
        what = f"{dotted(path)} must be a table of patterns and initializers, got {described(value)}"
        do = f'write [{dotted(path)}] and below it, for example, "*.bias" = "zeros"'
        return Mistake(path=path, what=what, do=do)
    what = f'{dotted(path)} must be an initializer in quotes, such as "zeros", got {described(value)}'
    return Mistake(path=path, what=what, do=_constant(value))


def _unquoted_patterns(path: Path, value: object) -> list[Mistake]:
    """Returns a mistake for each pattern such as hidden1.weight without quotes: TOML takes it for a table in a table.

    None where the value is no such table, that is where not all it leads to is text.
    """
    leaves = list(_leaves(path, value))
    if not isinstance(value, Mapping) or not all(isinstance(text, str) for _, text in leaves):
        return []
    found = []
    for leaf, text in leaves:
        pattern = ".".join(str(part) for part in leaf[2:])
        what = f"the pattern {pattern} must stand in quotes, because it has a dot in it"
        found.append(Mistake(path=leaf, at="key", what=what, do=f"write {toml_key(pattern)} = {toml_value(text)}"))
    return found


def _leaves(path: Path, value: object) -> Iterator[tuple[Path, object]]:
    if not isinstance(value, Mapping):
        yield path, value
        return
    for key, inner in value.items():
        yield from _leaves((*path, key), inner)


def _constant(value: object) -> str | None:
    if isinstance(value, bool) or value not in (0, 1):
        return None
    return 'write "zeros"' if value == 0 else 'write "ones"'


def _not_among(path: Path, value: object, legal: list[str]) -> Mistake:
    near = nearest(value, legal) if isinstance(value, str) else None
    hint = f"; did you mean {near!r}?" if near else ""
    return Mistake(path=path, what=f"{dotted(path)} cannot be {described(value)}{hint}", legal=", ".join(legal))


def _first_condition(path: Path) -> str | None:
    return "add the table [conditions.default], which may be empty" if path == ("conditions",) else None


def _other_quotes(wanted: str, value: object) -> str | None:
    """Returns what to do where only the quotes are missing, or too many."""
    if wanted == "text" and isinstance(value, int | float) and not isinstance(value, bool):
        return f'write it in quotes: "{value}"'
    if wanted.endswith("number") and isinstance(value, str) and re.fullmatch(r"-?\d+", value):
        return f"write it without quotes: {value}"
    return None


def _is_option(path: Path) -> bool:
    return len(path) > 2 and path[:2] in {("model", "options"), ("train", "optimizer_options")}


def _has_inner(path: Path, found: Collection[Path]) -> bool:
    return any(len(other) > len(path) and other[: len(path)] == path for other in found)


def _shortened(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."


def _path(loc: tuple[int | str, ...], study: Mapping[str, Any], *, missing: bool) -> Path:
    """Returns the part of pydantic's location that is in the study: it also names the branches of a union."""
    path: Path = ()
    value: Any = study
    for index, part in enumerate(loc):
        inside = isinstance(value, Mapping) and part in value
        if inside or (isinstance(value, list) and isinstance(part, int) and part < len(value)):
            path, value = (*path, part), value[part]
        elif missing and index == len(loc) - 1:
            path = (*path, part)
    return path


def _at(study: Mapping[str, Any], path: Path) -> object:
    value: Any = study
    for part in path:
        if isinstance(value, Mapping) and part not in value:
            return None
        value = value[part]
    return value


def _fields_at(path: Path) -> list[str]:
    """Returns the keys that the table at `path` may have, sorted; none where any key may stand there."""
    kind: Any = Study
    for part in path:
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            kind = kind.model_fields[str(part)].annotation
        elif get_origin(kind) in {dict, tuple}:
            kind = get_args(kind)[1 if get_origin(kind) is dict else 0]
    return sorted(kind.model_fields) if isinstance(kind, type) and issubclass(kind, BaseModel) else []
