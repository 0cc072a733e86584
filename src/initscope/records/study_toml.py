"""Writing a study as TOML, in the layout of the built-in studies."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from pydantic import BaseModel

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r"}


def to_toml(study: BaseModel) -> str:
    """Returns the text of a study file that reads back as an equal study; `study` is an `initscope.Study`.

    Defaults are written out; what is empty or not given is left out. Conditions, and the patterns in them, keep their
    order.

    Example:
        >>> from initscope.records.study import Study
        >>> text = to_toml(Study(conditions={"default": {}, "zero": {"*": "zeros"}}))
        >>> print(text[text.index("[conditions.zero]"):].rstrip())
        [conditions.zero]
        "*" = "zeros"
    """
    fields = _fields(study)
    plain = {key: value for key, value in fields.items() if not isinstance(value, BaseModel | Mapping)}
    blocks = [_lines(plain)]
    for name, part in fields.items():
        if isinstance(part, BaseModel):
            blocks += _section(name, part)
        elif isinstance(part, Mapping):
            blocks += _open_table(name, part)
    return "\n\n".join("\n".join(block) for block in blocks) + "\n"


def toml_key(key: str) -> str:
    """Returns a key as TOML writes it: bare where it may be, otherwise in quotes.

    Example:
        >>> toml_key("all-zero"), toml_key("*.bias")
        ('all-zero', '"*.bias"')
    """
    return key if _BARE_KEY.fullmatch(key) else _quoted(key)


def toml_value(value: object) -> str:
    """Returns a truth value, number, text, list or table as TOML writes it; anything else raises TypeError.

    Example:
        >>> toml_value([True, 1e-8, "a"])
        '[true, 1e-8, "a"]'
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return re.sub(r"e([+-])0+(?=\d)", r"e\1", repr(value)).replace("e+", "e")
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, Mapping):
        inside = ", ".join(f"{toml_key(key)} = {toml_value(item)}" for key, item in value.items())
        return f"{{ {inside} }}" if inside else "{}"
    if isinstance(value, Iterable):
        return f"[{', '.join(toml_value(item) for item in value)}]"
    raise TypeError(f"TOML has no value for {type(value).__name__}")


def _fields(model: BaseModel) -> dict[str, object]:
    """Returns the fields in the order of the model, without those that are empty by default and still are."""
    found: dict[str, object] = {}
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        if value or isinstance(value, int | float) or value != field.get_default(call_default_factory=True):
            found[name] = value
    return found


def _section(name: str, model: BaseModel) -> list[list[str]]:
    """Returns the block of one table, followed by a block for each table inside it."""
    fields = _fields(model)
    inner = {key: value for key, value in fields.items() if isinstance(value, Mapping)}
    blocks = [[f"[{name}]", *_lines({key: value for key, value in fields.items() if key not in inner})]]
    return blocks + [[f"[{name}.{key}]", *_lines(table)] for key, table in inner.items()]


def _open_table(name: str, table: Mapping[str, object]) -> list[list[str]]:
    """Returns a block for each table in the table, or one block with a line for each entry where they are none."""
    if all(isinstance(value, Mapping) for value in table.values()):
        return [
            [f"[{name}.{toml_key(key)}]", *_lines(value)] for key, value in table.items() if isinstance(value, Mapping)
        ]
    entries = {key: _fields(value) if isinstance(value, BaseModel) else value for key, value in table.items()}
    return [[f"[{name}]", *_lines(entries)]]


def _lines(table: Mapping[str, object]) -> list[str]:
    return [f"{toml_key(key)} = {toml_value(value)}" for key, value in table.items()]


def _quoted(text: str) -> str:
    return '"' + "".join(_ESCAPES.get(letter) or _plain(letter) for letter in text) + '"'


def _plain(letter: str) -> str:
    return f"\\u{ord(letter):04X}" if ord(letter) < 0x20 or ord(letter) == 0x7F else letter
