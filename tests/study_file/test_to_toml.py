"""Writing a study as TOML and reading it back."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from initscope.records.study import Study
from initscope.records.study_toml import toml_value
from initscope.study.file import load_study
from tests.study_file.documents import studies


def reread(study: Study) -> Study:
    """The study after a way through a file."""
    Path("again.toml").write_text(study.to_toml(), encoding="utf-8", newline="")
    return load_study("again.toml")


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(studies())
def test_a_study_written_as_toml_reads_back_equal_and_in_the_same_order(study: Study) -> None:
    again = reread(study)
    assert again == study
    assert list(again.conditions) == list(study.conditions)
    assert [list(table) for table in again.conditions.values()] == [list(table) for table in study.conditions.values()]
    assert repr(again) == repr(study)


def test_the_built_in_study_reads_back_equal() -> None:
    study = load_study("surprising-demo")
    assert reread(study) == study


def test_a_written_study_has_the_layout_of_the_built_in_one() -> None:
    study = Study.model_validate(
        {
            "name": "tiny",
            "title": 'Größe "zwei"',
            "train": {"learning_rate": 1e-8, "optimizer_options": {"betas": [0.9, 0.99], "amsgrad": True}},
            "model": {"factory": "mine.nets:build", "hidden": [], "options": {"depth": 3}},
            "conditions": {"default": {}, "v1.2": {"*.weight": "normal(std=0.01)", "": "zeros"}},
            "about": {"v1.2": "two\nlines"},
            "figures": {"f1": {"kind": "histogram", "parameters": ["input.weight"], "conditions": ["default"]}},
        }
    )
    assert (
        study.to_toml()
        == """\
name = "tiny"
title = "Größe \\"zwei\\""
baseline = "default"
seeds = 10
root_seed = 0

[data]
source = "digits"
test_fraction = 0.1

[model]
factory = "mine.nets:build"
hidden = []
activation = "relu"

[model.options]
depth = 3

[train]
optimizer = "adam"
learning_rate = 1e-8
batch_size = 32
epochs = 10
dtype = "float32"

[train.optimizer_options]
betas = [0.9, 0.99]
amsgrad = true

[conditions.default]

[conditions."v1.2"]
"*.weight" = "normal(std=0.01)"
"" = "zeros"

[about]
"v1.2" = "two\\nlines"

[figures]
f1 = { kind = "histogram", conditions = ["default"], parameters = ["input.weight"] }
"""
    )


def test_what_toml_cannot_say_is_refused_by_its_type() -> None:
    with pytest.raises(TypeError, match=r"^TOML has no value for NoneType$"):
        toml_value([None])
