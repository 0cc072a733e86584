"""Every kind of mistake in a study file, with its whole message."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from initscope.records.study import FigureSpec, ModelSpec, Study
from tests.study_file.conftest import Refusal

TOP = "about, baseline, conditions, data, figures, model, name, question, root_seed, seeds, title,\n         train"
TRAIN = "batch_size, dtype, epochs, learning_rate, optimizer, optimizer_options"
CALL = "a name, or a name with literal arguments in brackets, such as zeros or normal(std=0.01)"
KEY_RULE = "letters, digits, '.', '_' and '-', with a letter or a digit first"

SINGLE = {
    "a text for a number": (
        "seeds = 'ten'",
        "1:9: seeds must be a whole number, got text 'ten'\n    seeds = 'ten'\n            ^^^^^",
    ),
    "a number in quotes": (
        'seeds = "10"',
        "1:9: seeds must be a whole number, got text '10'\n    seeds = \"10\"\n            ^^^^\n"
        "  do:    write it without quotes: 10",
    ),
    "a number for a text": (
        "title = 3",
        "1:9: title must be text, got the whole number 3\n"
        '    title = 3\n            ^\n  do:    write it in quotes: "3"',
    ),
    "a truth value for a number": (
        "[train]\nepochs = true",
        "2:10: train.epochs must be a whole number, got true\n    epochs = true\n             ^^^^",
    ),
    "a fraction for a whole number": (
        "[train]\nepochs = 1.5",
        "2:10: train.epochs must be a whole number, got the number 1.5\n    epochs = 1.5\n             ^^^",
    ),
    "a date": (
        "title = 2026-01-01",
        "1:9: title must be text, got the date or time 2026-01-01\n    title = 2026-01-01\n            ^^^^^^^^^^",
    ),
    "a number too small": ("seeds = 0", "1:9: seeds must be at least 1, got 0\n    seeds = 0\n            ^"),
    "a learning rate of zero": (
        "[train]\nlearning_rate = 0",
        "2:17: train.learning_rate must be above 0, got 0\n    learning_rate = 0\n                    ^",
    ),
    "a number that is none": (
        "[train]\nlearning_rate = nan",
        "2:17: train.learning_rate must be a finite number, got the number nan\n"
        "    learning_rate = nan\n                    ^^^",
    ),
    "a fraction of one": (
        "[data]\ntest_fraction = 1.0",
        "2:17: data.test_fraction must be below 1, got 1.0\n    test_fraction = 1.0\n                    ^^^",
    ),
    "an empty text": (
        "[data]\nsource = ''",
        "2:10: data.source must not be empty\n    source = ''\n             ^^",
    ),
    "a number for a table": (
        "data = 1",
        "1:8: data must be a table, got the whole number 1\n    data = 1\n           ^",
    ),
    "a number for a list": (
        "[model]\nhidden = 64",
        "2:10: model.hidden must be a list, got the whole number 64\n    hidden = 64\n             ^^",
    ),
    "an item of a list over several lines": (
        "[model]\nhidden = [\n  64, # one\n  'b',\n]",
        "4:3: model.hidden[1] must be a whole number, got text 'b'\n      'b',\n      ^^^",
    ),
    "an unknown choice": (
        "[model]\nactivation = 'relo'",
        "2:14: model.activation cannot be text 'relo'; did you mean 'relu'?\n    activation = 'relo'\n"
        "                 ^^^^^^\n  legal: relu, leaky_relu, tanh, gelu, silu, elu, selu, sigmoid, softplus, identity",
    ),
    "a number for a choice": (
        "[train]\ndtype = 32",
        "2:9: train.dtype cannot be the whole number 32\n    dtype = 32\n            ^^\n  legal: float32, float64",
    ),
    "an illegal study name": (
        "name = 'a b'",
        f"1:8: name cannot be 'a b'\n    name = 'a b'\n           ^^^^^\n  legal: {KEY_RULE}",
    ),
    "an illegal factory": (
        "[model]\nfactory = 'nets.py'",
        "2:11: model.factory cannot be 'nets.py'\n    factory = 'nets.py'\n              ^^^^^^^^^\n"
        "  legal: package.module:function",
    ),
    "an unknown key": (
        "[train]\nepoch = 10",
        "2:1: unknown key 'epoch' in [train]; did you mean 'epochs'?\n    epoch = 10\n    ^^^^^\n  legal: " + TRAIN,
    ),
    "an unknown key at the top": (
        "zebra = 1",
        f"1:1: unknown key 'zebra' at the top\n    zebra = 1\n    ^^^^^\n  legal: {TOP}",
    ),
    "an unknown table": (
        "[trian]\nepochs = 1",
        f"1:2: unknown table [trian]; did you mean 'train'?\n    [trian]\n     ^^^^^\n  legal: {TOP}",
    ),
    "a key of another table": (
        "epochs = 3",
        f"1:1: unknown key 'epochs' at the top; it belongs in [train]\n    epochs = 3\n    ^^^^^^\n  legal: {TOP}",
    ),
    "a key of the top in a table": (
        "[train]\nseeds = 3",
        "2:1: unknown key 'seeds' in [train]; it belongs at the top, before the first [table]\n"
        "    seeds = 3\n    ^^^^^\n  legal: " + TRAIN,
    ),
    "an option that is a table": (
        "[train]\noptimizer_options = { betas = { a = 1 } }",
        "2:31: train.optimizer_options.betas must be true, false, a number, text or a list of these, got a table\n"
        "    optimizer_options = { betas = { a = 1 } }\n                                  ^^^^^^^^^",
    ),
    "an item of an option": (
        "[model]\nfactory = 'a:b'\noptions = { x = [1, [2026-01-01]] }",
        "3:22: model.options.x[1][0] must be true, false, a number, text or a list of these, "
        "got the date or time 2026-01-01\n"
        "    options = { x = [1, [2026-01-01]] }\n                         ^^^^^^^^^^",
    ),
    "a name beside a factory": (
        "[model]\nname = 'mlp'\nfactory = 'a:b'",
        "3:1: a model has a name or a factory, not both\n"
        "    factory = 'a:b'\n    ^^^^^^^\n  do:    remove one of the two",
    ),
    "options without a factory": (
        "[model.options]\ndepth = 3",
        "1:8: model options are the arguments of a factory, and there is no factory\n    [model.options]\n"
        "           ^^^^^^^\n  do:    add factory, or remove the options",
    ),
    "an initializer that is a number": (
        '[conditions.mine]\n"hidden1.weight" = 0',
        '2:20: conditions.mine."hidden1.weight" must be an initializer in quotes, such as "zeros", '
        'got the whole number 0\n    "hidden1.weight" = 0\n                       ^\n  do:    write "zeros"',
    ),
    "an initializer that cannot be read": (
        '[conditions.mine]\n"*.bias" = "normal(std="',
        "2:12: cannot read the initializer 'normal(std='\n"
        '    "*.bias" = "normal(std="\n               ^^^^^^^^^^^^^\n  legal: ' + CALL,
    ),
    "an initializer that is a table": (
        '[conditions.mine]\n"*" = { std = 1 }',
        '2:7: conditions.mine."*" must be an initializer in quotes, such as "zeros", got a table\n'
        '    "*" = { std = 1 }\n          ^^^^^^^^^^^',
    ),
    "a pattern without quotes": (
        '[conditions.mine]\nhidden1.weight = "zeros"',
        "2:9: the pattern hidden1.weight must stand in quotes, because it has a dot in it\n"
        '    hidden1.weight = "zeros"\n            ^^^^^^\n  do:    write "hidden1.weight" = "zeros"',
    ),
    "a condition that is no table": (
        "[conditions]\nmine = 'zeros'\ndefault = {}",
        "2:8: conditions.mine must be a table of patterns and initializers, got text 'zeros'\n    mine = 'zeros'\n"
        '           ^^^^^^^\n  do:    write [conditions.mine] and below it, for example, "*.bias" = "zeros"',
    ),
    "an illegal condition key": (
        "[conditions.'a b']",
        f"1:13: the condition key 'a b' is not legal\n"
        f"    [conditions.'a b']\n                ^^^^^\n  legal: {KEY_RULE}",
    ),
    "an unknown baseline": (
        "baseline = 'defalt'",
        "1:12: baseline names the condition 'defalt', which is not in [conditions]; did you mean 'default'?\n"
        "    baseline = 'defalt'\n               ^^^^^^^^\n  legal: default",
    ),
    "an unknown condition in about": (
        "[about]\nzebra = 'x'",
        "2:1: about names the condition 'zebra', which is not in [conditions]\n"
        "    zebra = 'x'\n    ^^^^^\n  legal: default",
    ),
    "an unknown condition in a figure": (
        "[figures]\nf = { kind = 'accuracies', conditions = ['default', 'dflt'] }",
        "2:53: the figure f names the condition 'dflt', which is not in [conditions]; did you mean 'default'?\n"
        "    f = { kind = 'accuracies', conditions = ['default', 'dflt'] }\n"
        "                                                        ^^^^^^\n  legal: default",
    ),
    "a figure without conditions": (
        "[figures.f]\nkind = 'accuracies'",
        "1:10: figures.f has no 'conditions', which is needed\n    [figures.f]\n             ^",
    ),
    "a figure of no condition": (
        "[figures.f]\nkind = 'accuracies'\nconditions = []",
        "3:14: figures.f.conditions must not be empty\n    conditions = []\n                 ^^",
    ),
    "a histogram of two parameters": (
        "[figures.f]\nkind = 'histogram'\nconditions = ['default']\nparameters = ['a', 'b']",
        "4:14: a figure of kind 'histogram' shows one parameter, got 2\n    parameters = ['a', 'b']\n"
        '                 ^^^^^^^^^^\n  do:    name them by their paths: parameters = ["hidden1.weight"]',
    ),
    "starting values of nothing": (
        "[figures.f]\nkind = 'starting-values'\nconditions = ['default']",
        "1:10: a figure of kind 'starting-values' needs parameters\n    [figures.f]\n             ^\n"
        '  do:    name them by their paths: parameters = ["hidden1.weight"]',
    ),
    "more shifts than parameters": (
        "[figures.f]\nkind = 'starting-values'\nconditions = ['default']\nparameters = ['a']\nshifts = [1, 2]",
        "5:10: a figure needs as many shifts as parameters, got 2 and 1\n    shifts = [1, 2]\n             ^^^^^^",
    ),
    "a figure that is no file name": (
        "[figures.'../f']\nkind = 'accuracies'\nconditions = ['default']",
        f"1:10: the figure '../f' cannot be the name of a file\n"
        f"    [figures.'../f']\n             ^^^^^^\n  legal: {KEY_RULE}",
    ),
}


@pytest.mark.parametrize("name", SINGLE)
def test_a_mistake_is_shown_with_place_line_caret_and_what_is_legal(name: str, refusal: Refusal) -> None:
    text, expected = SINGLE[name]
    if "[conditions]" not in text:
        text += "\n[conditions.default]"
    assert refusal(text) == f"1 mistake in mine.toml\n\nmine.toml:{expected}"


@pytest.mark.parametrize("text", ["", "\n# nothing\n", "seeds = 3"])
def test_a_study_without_conditions_is_told_so_at_its_beginning(text: str, refusal: Refusal) -> None:
    assert refusal(text) == (
        "1 mistake in mine.toml\n\nmine.toml:1:1: a study needs at least one condition\n"
        "  do:    add the table [conditions.default], which may be empty"
    )


def test_an_empty_table_of_conditions_is_refused(refusal: Refusal) -> None:
    assert refusal("[conditions]") == (
        "1 mistake in mine.toml\n\nmine.toml:1:2: conditions must not be empty\n    [conditions]\n     ^^^^^^^^^^\n"
        "  do:    add the table [conditions.default], which may be empty"
    )


def test_a_baseline_that_nobody_named_is_asked_for_at_the_conditions(refusal: Refusal) -> None:
    assert refusal("[conditions.mine]") == (
        "1 mistake in mine.toml\n\nmine.toml:1:2: the baseline 'default' is not in [conditions]\n"
        "    [conditions.mine]\n     ^^^^^^^^^^\n"
        '  do:    add [conditions.default], or name another at the top: baseline = "mine"'
    )


def test_all_mistakes_of_a_file_are_reported_at_once_in_the_order_of_the_file(refusal: Refusal) -> None:
    text = """\
seeds = 0
baseline = "deflt"

[train]
epoch = 10
dtype = "float16"

[conditions.default]
"*.bias" = "normal(std="
hidden1.weight = "zeros"
hidden1.bias = "ones"

[figures]
f1 = { kind = "histogram" }
"""
    message = refusal(text, "train.epochs=ten", "data.sauce=mnist", "nonsense")
    assert [line for line in message.splitlines() if line[:1] not in {" ", ""}] == [
        "12 mistakes in mine.toml",
        "mine.toml:1:9: seeds must be at least 1, got 0",
        "mine.toml:2:12: baseline names the condition 'deflt', which is not in [conditions]; did you mean 'default'?",
        "mine.toml:5:1: unknown key 'epoch' in [train]; did you mean 'epochs'?",
        "mine.toml:6:9: train.dtype cannot be text 'float16'; did you mean 'float64'?",
        "mine.toml:9:12: cannot read the initializer 'normal(std='",
        "mine.toml:10:9: the pattern hidden1.weight must stand in quotes, because it has a dot in it",
        "mine.toml:11:9: the pattern hidden1.bias must stand in quotes, because it has a dot in it",
        "mine.toml:14:1: figures.f1 has no 'conditions', which is needed",
        "mine.toml:14:1: a figure of kind 'histogram' shows one parameter, got 0",
        "--set train.epochs=ten: train.epochs must be a whole number, got text 'ten'",
        "--set data.sauce=mnist: unknown key 'sauce' in [data]; did you mean 'source'?",
        "--set nonsense: there is no equals sign",
    ]


def test_a_study_made_in_python_is_refused_with_all_its_disagreements() -> None:
    with pytest.raises(ValidationError) as caught:
        Study(baseline="b", conditions={"a": {"*": "zeros("}}, about={"c": "x"})
    message = str(caught.value)
    assert "cannot read the initializer 'zeros('; legal: " + CALL + "\n" in message
    assert "\n  baseline names the condition 'b', which is not in [conditions]; legal: a\n" in message
    assert "\n  about names the condition 'c', which is not in [conditions]; legal: a " in message


def test_parts_of_a_study_made_in_python_are_refused_with_a_sentence() -> None:
    with pytest.raises(ValidationError, match="a model has a name or a factory, not both; do: remove one of the two"):
        ModelSpec(name="mlp", factory="a:b")
    with pytest.raises(ValidationError, match="a figure of kind 'histogram' shows one parameter, got 0; do: name them"):
        FigureSpec(kind="histogram", conditions=("a",))
