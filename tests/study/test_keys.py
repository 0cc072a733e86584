"""A run's key names all that determines the run, and nothing else."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from initscope.records.dataset import Dataset
from initscope.records.study import Study
from initscope.study.plan import Plan, factory_hash, make_plan

DATA = Dataset(
    name="made",
    source="made.csv",
    inputs=np.linspace(0, 1, 240, dtype=np.float32).reshape(60, 4),
    labels=np.arange(60) % 3,
    class_values=(0, 1, 2),
    image_shape=None,
    scale=1.0,
    sha256="a" * 64,
)
STUDY = Study.model_validate(
    {
        "name": "keys",
        "seeds": 3,
        "model": {"hidden": [3]},
        "train": {"batch_size": 8, "epochs": 2},
        "conditions": {"default": {}, "zero": {"*.weight": "zeros"}},
    }
)


def changed(part: str, **values: object) -> Study:
    """Returns the study with some values of one table (or, for "", of the study itself) changed."""
    if not part:
        return STUDY.model_copy(update=values)
    return STUDY.model_copy(update={part: getattr(STUDY, part).model_copy(update=values)})


def keys(plan: Plan) -> dict[tuple[str, int], str]:
    return {(run.condition, run.seed): run.key for run in plan.runs}


@pytest.fixture(scope="module")
def before() -> dict[tuple[str, int], str]:
    return keys(make_plan(STUDY, DATA))


def test_every_run_has_a_key_of_its_own(before: dict[tuple[str, int], str]) -> None:
    assert len(set(before.values())) == len(before) == 6
    assert all(len(key) == 32 and int(key, 16) >= 0 for key in before.values())


MATTERS = {
    "split fraction": lambda: changed("data", test_fraction=0.2),
    "width": lambda: changed("model", hidden=(4,)),
    "activation": lambda: changed("model", activation="tanh"),
    "optimiser": lambda: changed("train", optimizer="sgd"),
    "optimiser's options": lambda: changed("train", optimizer_options={"weight_decay": 0.1}),
    "learning rate": lambda: changed("train", learning_rate=0.02),
    "batch size": lambda: changed("train", batch_size=4),
    "epochs": lambda: changed("train", epochs=3),
    "number format": lambda: changed("train", dtype="float64"),
    "root seed": lambda: changed("", root_seed=1),
}


@pytest.mark.parametrize("what", MATTERS)
def test_what_changes_every_run_changes_every_key(before: dict[tuple[str, int], str], what: str) -> None:
    after = keys(make_plan(MATTERS[what](), DATA))
    assert set(after) == set(before)
    assert not set(after.values()) & set(before.values())


def test_other_data_change_every_key_and_another_name_for_the_same_data_changes_none(
    before: dict[tuple[str, int], str],
) -> None:
    assert not set(keys(make_plan(STUDY, replace(DATA, sha256="b" * 64))).values()) & set(before.values())
    assert keys(make_plan(STUDY, replace(DATA, name="n", source="elsewhere.csv.gz"))) == before


def test_another_definition_of_a_condition_changes_its_keys_and_no_other(before: dict[tuple[str, int], str]) -> None:
    after = keys(make_plan(changed("", conditions={"default": {}, "zero": {"*.weight": "ones"}}), DATA))
    assert {run for run in before if before[run] != after[run]} == {("zero", 0), ("zero", 1), ("zero", 2)}


def test_another_way_to_write_the_same_condition_changes_no_key(before: dict[tuple[str, int], str]) -> None:
    written = {"input.weight": " zeros ", "output.weight": "zeros"}
    assert keys(make_plan(changed("", conditions={"default": {}, "zero": written}), DATA)) == before


IRRELEVANT = {
    "title": lambda: changed("", title="Another", question="Why?", about={"zero": "Nothing."}),
    "figures": lambda: Study.model_validate(
        STUDY.model_dump() | {"figures": {"one": {"kind": "accuracies", "conditions": ["zero"]}}}
    ),
    "the model's name, left out or not": lambda: changed("model", name="mlp"),
    "source": lambda: changed("data", source="other"),
}


@pytest.mark.parametrize("what", IRRELEVANT)
def test_what_changes_no_run_changes_no_key(before: dict[tuple[str, int], str], what: str) -> None:
    assert keys(make_plan(IRRELEVANT[what](), DATA)) == before


def test_the_number_of_seeds_and_conditions_changes_no_key(before: dict[tuple[str, int], str]) -> None:
    more: Callable[..., dict[tuple[str, int], str]] = lambda study, **rest: keys(make_plan(study, DATA, **rest))  # noqa: E731
    assert before.items() < more(changed("", seeds=5)).items()
    assert more(STUDY, conditions=["zero"]).items() < before.items()
    assert before.items() < more(changed("", conditions={"a": {"*": "ones"}, **STUDY.conditions})).items()


def test_the_keys_are_the_same_in_another_process(before: dict[tuple[str, int], str]) -> None:
    code = "from tests.study.test_keys import *; print(sorted(keys(make_plan(STUDY, DATA)).items()))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == str(sorted(before.items()))


def test_the_code_of_a_factory_is_hashed(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    for number, code in enumerate(("a = 1", "a = 2")):
        (tmp_path / f"own_{number}.py").write_text(code)
    one, other = factory_hash("own_0:f"), factory_hash("own_1:f")
    assert len(one) == len(other) == 16 and one != other
    assert factory_hash("no_such_module:f") == ""


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_what_is_missing_and_who_is_asked_change_no_border_of_an_ensemble(device: str) -> None:
    plan = make_plan(changed("", seeds=40), DATA)
    whole = plan.ensembles(plan.runs, device=device)
    assert sorted(run.key for ensemble in whole for run in ensemble) == sorted(run.key for run in plan.runs)
    for left_out in (plan.runs[:1], plan.runs[5:40], plan.runs[-3:]):
        rest = plan.ensembles([run for run in plan.runs if run not in left_out], device=device)
        expected = (tuple(run for run in ensemble if run not in left_out) for ensemble in whole)
        assert rest == tuple(ensemble for ensemble in expected if ensemble)


def test_no_ensemble_is_larger_than_what_fits() -> None:
    plan = make_plan(changed("", seeds=40), DATA)
    assert {len(ensemble) for ensemble in plan.ensembles(plan.runs, device="cpu")} == {32, 16}
    wide = make_plan(changed("model", hidden=(20_000,)), DATA)
    assert {len(ensemble) for ensemble in wide.ensembles(wide.runs, device="cpu")} == {4, 2}
