"""The JSON Schema of study files."""

from __future__ import annotations

import tomllib

import jsonschema
import pytest
from hypothesis import given, settings

from initscope.records.study import Study
from initscope.study.builtin_studies import builtin_names, builtin_text
from initscope.study.schema import study_schema
from tests.study_file.documents import studies


def accepts(text: str) -> bool:
    """Whether the schema accepts a TOML text."""
    return bool(jsonschema.Draft202012Validator(study_schema()).is_valid(tomllib.loads(text)))


def test_the_schema_is_a_valid_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(study_schema())


@pytest.mark.parametrize("name", builtin_names())
def test_the_schema_accepts_the_built_in_studies(name: str) -> None:
    assert accepts(builtin_text(name))


@settings(max_examples=30, deadline=None)
@given(studies())
def test_the_schema_accepts_every_written_study(study: Study) -> None:
    assert accepts(study.to_toml())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "conditions = {}",
        "[conditions]\n'bad key' = {}",
        "[conditions.a]\nx = 0",
        "seeds = 0\n[conditions.a]",
        "sedes = 1\n[conditions.a]",
        "[conditions.a]\n[train]\nlearning_rate = 0",
        "[conditions.a]\n[train]\ndtype = 'float16'",
        "[conditions.a]\n[model]\nname = 'mlp'\nfactory = 'a:b'",
        "[conditions.a]\n[model]\noptions = {a = {}}",
        "[conditions.a]\n[figures]\nf = {kind = 'accuracies'}",
    ],
)
def test_the_schema_refuses_what_the_loader_refuses(text: str) -> None:
    assert not accepts(text)


def test_the_schema_speaks_of_no_null_and_describes_every_table() -> None:
    schema = study_schema()
    assert "null" not in str(schema)
    assert all(table.get("description") for name, table in schema["$defs"].items() if name != "Option")
    assert (schema["$id"], schema["title"]) == ("urn:initscope:study", "initscope study")
