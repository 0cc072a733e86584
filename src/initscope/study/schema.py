"""The JSON Schema of study files, for editors that complete and check as one types."""

from __future__ import annotations

from typing import Any

from initscope.records.study import Study
from initscope.records.study_mistakes import KEY_RULE

_KEY_PATTERN = "^[A-Za-z0-9][A-Za-z0-9._-]*$"
_INITIALIZER = "an initializer: a name, or a name with literal arguments in brackets, such as zeros or normal(std=0.01)"


def study_schema() -> dict[str, Any]:
    """Returns the JSON Schema (draft 2020-12) of a study file.

    It says what stands where and of which type and range. That names agree, and that initializers can be read, is
    checked when a study is loaded.

    Example:
        >>> study_schema()["required"]
        ['conditions']
    """
    schema = _without_null(Study.model_json_schema())
    properties = schema["properties"]
    for table in ("conditions", "figures"):
        properties[table]["propertyNames"] = {"pattern": _KEY_PATTERN, "description": KEY_RULE}
    properties["conditions"]["description"] = "what each condition overwrites; the rest keeps its default draw"
    pattern_table = properties["conditions"]["additionalProperties"]
    pattern_table["description"] = "parameter-name pattern -> initializer, in order; a later pattern wins"
    pattern_table["additionalProperties"]["description"] = _INITIALIZER
    del properties["name"]["default"]
    properties["name"]["description"] = "short name; the output folder is runs/NAME; by default the name of the file"
    schema["$defs"]["ModelSpec"]["not"] = {"required": ["name", "factory"]}
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "urn:initscope:study"}
    return {**head, **schema, "title": "initscope study"}


def _without_null(node: Any) -> Any:
    """Returns the schema without the null that absent values have in Python: TOML has none."""
    if isinstance(node, list):
        return [_without_null(item) for item in node]
    if not isinstance(node, dict):
        return node
    kept = {key: _without_null(value) for key, value in node.items() if not (key == "default" and value is None)}
    options = kept.get("anyOf")
    if isinstance(options, list) and {"type": "null"} in options:
        rest = [option for option in options if option != {"type": "null"}]
        del kept["anyOf"]
        kept.update(rest[0] if len(rest) == 1 else {"anyOf": rest})
    return kept
