"""Single values changed with --set."""

from __future__ import annotations

import pytest

from initscope.base.errors import UsageError
from initscope.study.file import load_study
from initscope.study.overrides import parse_override
from tests.study_file.conftest import Refusal

SMALL = '[conditions.default]\n"*.bias" = "zeros"\n'
FORM = "\n  legal: key.path=value, such as train.epochs=3 or data.source=mnist"


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ("train.epochs=3", ("train", "epochs"), 3),
        ("data.source=mnist", ("data", "source"), "mnist"),
        ('data.source="3"', ("data", "source"), "3"),
        ("data.source=../a b/mnist.csv.gz", ("data", "source"), "../a b/mnist.csv.gz"),
        ("title=", ("title",), ""),
        ("title=a = b", ("title",), "a = b"),
        ("title=1\nseeds = 2", ("title",), "1\nseeds = 2"),
        ("train.learning_rate = 1e-3", ("train", "learning_rate"), 1e-3),
        ("model.hidden=[8, 8]", ("model", "hidden"), [8, 8]),
        ("conditions.mine={}", ("conditions", "mine"), {}),
        ('conditions.mine."*.bias"=zeros', ("conditions", "mine", "*.bias"), "zeros"),
        ("conditions.mine.'*.bias'=zeros", ("conditions", "mine", "*.bias"), "zeros"),
        ("conditions.mine.*.bias=normal(std=0.01)", ("conditions", "mine", "*.bias"), "normal(std=0.01)"),
        ("conditions.mine.hidden[12].weight=ones", ("conditions", "mine", "hidden[12].weight"), "ones"),
        ('conditions."v1.2"."a=b"=ones', ("conditions", "v1.2", "a=b"), "ones"),
    ],
)
def test_an_override_is_a_dotted_key_and_a_value_or_plain_text(text: str, path: tuple[str, ...], value: object) -> None:
    override = parse_override(text)
    assert (override.path, override.value) == (path, value)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("train.epochs", "there is no equals sign"),
        ("", "there is no equals sign"),
        ("=3", "cannot read the key before the equals sign"),
        ("a..b=3", "cannot read the key before the equals sign"),
        ('a."b=3', "cannot read the key before the equals sign"),
        ("a b=3", "cannot read the key before the equals sign"),
    ],
)
def test_an_override_of_another_form_is_refused(text: str, what: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_override(text)
    assert str(caught.value) == f"{what}\n  where: --set {text}{FORM}"


def test_a_key_with_an_illegal_escape_is_refused() -> None:
    with pytest.raises(UsageError) as caught:
        parse_override('"\\q"=3')
    assert str(caught.value) == f'cannot read the key "\\q"\n  where: --set "\\q"=3{FORM}'


def test_overrides_apply_in_order_and_make_the_tables_they_need() -> None:
    study = load_study(
        "surprising-demo",
        overrides=["seeds=3", "seeds=4", "train.optimizer_options.eps=1e-7", "conditions.mine.*.bias=zeros"],
    )
    assert (study.seeds, study.train.optimizer_options) == (4, {"eps": 1e-7})
    assert list(study.conditions.items())[-1] == ("mine", {"*.bias": "zeros"})


def test_an_overridden_pattern_keeps_its_place_and_a_new_one_comes_last() -> None:
    name = "weights-one-biases-zero"
    study = load_study("surprising-demo", overrides=[f"conditions.{name}.*.weight=zeros", f"conditions.{name}.*=ones"])
    assert list(study.conditions[name].items()) == [("*.weight", "zeros"), ("*.bias", "zeros"), ("*", "ones")]


def test_a_mistake_made_by_an_override_names_the_option(refusal: Refusal) -> None:
    assert (
        refusal(SMALL, "train.epoch=3", "seeds=0", "conditions.default.*.bias=zeros(")
        == """\
3 mistakes in mine.toml

--set train.epoch=3: unknown key 'epoch' in [train]; did you mean 'epochs'?
  legal: batch_size, dtype, epochs, learning_rate, optimizer, optimizer_options

--set seeds=0: seeds must be at least 1, got 0

--set conditions.default.*.bias=zeros(: cannot read the initializer 'zeros('
  legal: a name, or a name with literal arguments in brackets, such as zeros or normal(std=0.01)"""
    )


def test_an_unknown_table_made_by_an_override_names_the_option(refusal: Refusal) -> None:
    assert refusal(SMALL, "trian.epochs=3") == (
        "1 mistake in mine.toml\n\n--set trian.epochs=3: unknown table [trian]; did you mean 'train'?\n"
        "  legal: about, baseline, conditions, data, figures, model, name, question, root_seed, seeds, title,\n"
        "         train"
    )


def test_an_override_through_a_value_is_refused(refusal: Refusal) -> None:
    assert refusal("seeds = 3\n" + SMALL, "seeds.first=3") == (
        "1 mistake in mine.toml\n\n--set seeds.first=3: seeds is not a table, so seeds.first cannot be set\n"
        "  do:    set seeds as a whole"
    )


def test_an_override_can_mend_the_file() -> None:
    study = load_study("surprising-demo", overrides=["baseline=all-zero", "conditions.all-zero={}"])
    assert (study.baseline, study.conditions["all-zero"]) == ("all-zero", {})
