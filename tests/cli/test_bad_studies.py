"""Everything a user can get wrong in a study file or a model of their own, as the command line shows it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Program
from tests.cli.refusals import INITIALIZERS, assert_refused
from tests.support.small_study import STUDY, factory_study, write_small

PATHS = "input.weight, input.bias, output.weight, output.bias"


def test_a_pattern_that_matches_nothing_is_shown_in_the_file_with_a_caret(program: Program) -> None:
    write_small(Path(), STUDY.replace('"*.weight" = "zeros"', '"inptu.weight" = "zeros"\n"*.bas" = "ones"'))
    message = f"""\
2 mistakes in ./small.toml

./small.toml:16:1: the pattern 'inptu.weight' matches no parameter
    "inptu.weight" = "zeros"
    ^^^^^^^^^^^^^^
  legal: parameters are {PATHS}
  do:    did you mean 'input.weight'?

./small.toml:17:1: the pattern '*.bas' matches no parameter
    "*.bas" = "ones"
    ^^^^^^^
  legal: parameters are {PATHS}
  do:    did you mean 'input.bias'?"""
    assert_refused(program, ["run", "./small.toml"], message)


def test_a_method_that_cannot_draw_its_parameter_is_shown_in_the_file(program: Program) -> None:
    write_small(Path(), STUDY.replace('"*" = "normal(std=0.01)"', '"input.bias" = "orthogonal"'))
    ended = program("run", "small.toml")
    assert ended.code == 2
    assert ended.err.splitlines()[2:5] == [
        "small.toml:19:16: orthogonal draws weights, and input.bias is a bias of Linear",
        '    "input.bias" = "orthogonal"',
        "                   ^^^^^^^^^^^^",
    ]


def test_a_later_pattern_may_take_what_an_earlier_method_cannot_draw(program: Program) -> None:
    write_small(Path(), STUDY.replace('"*" = "normal(std=0.01)"', '"*" = "orthogonal"\n"*.bias" = "zeros"'))
    ended = program("run", "small.toml", "--dry-run")
    assert (ended.code, ended.err) == (0, "")


def test_all_mistakes_of_a_file_and_of_the_options_come_at_once(program: Program) -> None:
    text = STUDY.replace("seeds = 2", "sedes = 2").replace("epochs = 2", 'epochs = "two"').replace("zeros", "zeross")
    write_small(Path(), text.replace('"*" = "normal(', '"*.bas" = "normal('))
    message = f"""\
5 mistakes in small.toml

small.toml:1:1: unknown key 'sedes' at the top; did you mean 'seeds'?
    sedes = 2
    ^^^^^
  legal: about, baseline, conditions, data, figures, model, name, question, root_seed, seeds, title,
         train

small.toml:11:10: train.epochs must be a whole number, got text 'two'
    epochs = "two"
             ^^^^^

small.toml:16:14: unknown initializer 'zeross'
    "*.weight" = "zeross"
                 ^^^^^^^^
{INITIALIZERS}  do:    did you mean 'zeros'?

small.toml:19:1: the pattern '*.bas' matches no parameter
    "*.bas" = "normal(std=0.01)"
    ^^^^^^^
  legal: parameters are {PATHS}
  do:    did you mean 'input.bias'?

--set train.dtype=float16: train.dtype cannot be text 'float16'; did you mean 'float64'?
  legal: float32, float64"""
    assert_refused(program, ["run", "small.toml", "--set", "train.dtype=float16"], message)


FACTORIES = {
    "raises": (
        "def make(in_features, out_features):\n    raise RuntimeError('no luck')\n",
        "the factory mine:make raised RuntimeError\n  where: model.factory\n"
        "  got:   Traceback (most recent call last):\n"
        '           File "{here}/mine.py", line 2, in make\n'
        "             raise RuntimeError('no luck')\n"
        "         RuntimeError: no luck",
    ),
    "nonsense": (
        "def make(in_features, out_features):\n    return 7\n",
        "the factory mine:make returned int, not a torch.nn.Module\n  where: model.factory",
    ),
    "arguments": (
        "def make(inputs):\n    return inputs\n",
        "the factory mine:make cannot take its arguments: missing a required argument: 'inputs'\n"
        "  where: model.factory\n  legal: a function that accepts in_features, out_features by name",
    ),
    "module": (
        "raise RuntimeError('no luck')\n",
        "cannot import mine:make: its module raised RuntimeError\n  where: model.factory\n"
        "  got:   Traceback (most recent call last):\n"
        '           File "{here}/mine.py", line 1, in <module>\n'
        "             raise RuntimeError('no luck')\n"
        "         RuntimeError: no luck",
    ),
    "absent": (
        "",
        "cannot import mine:make: module 'mine' has no attribute 'make'\n  where: model.factory\n"
        "  legal: package.module:function, importable from the current folder or the environment",
    ),
    "parameters": (
        "from torch import nn\n\n\ndef make(in_features, out_features):\n    return nn.Flatten()\n",
        "the model has no trainable parameter\n  where: model mine:make",
    ),
}


@pytest.mark.parametrize("kind", FACTORIES)
def test_a_factory_of_the_user_that_fails_is_shown_with_its_own_lines(
    program: Program, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, message = FACTORIES[kind]
    Path("mine.py").write_text(code)
    write_small(Path(), factory_study("mine:make"))
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    assert_refused(program, ["run", "small.toml"], message.format(here=tmp_path))
    sys.modules.pop("mine", None)


REFUSED_MODELS = {
    "branches": ("x if x.sum() > 0 else -x", "vmap: "),
    "reads": ("x * x.sum().item()", "vmap: "),
    "scores": ("x[0]", "the model's output is not a matrix of class scores"),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", REFUSED_MODELS)
def test_a_model_that_cannot_be_trained_as_an_ensemble_is_refused_by_name_and_may_be_mended(
    program: Program, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    expression, reason = REFUSED_MODELS[kind]
    code = (
        "from torch import nn\n\n\nclass Odd(nn.Linear):\n    def forward(self, x):\n        x = super().forward(x)\n"
    )
    make = "\n\n\ndef make(in_features, out_features):\n    return Odd(in_features, out_features)\n"
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    write_small(Path(), factory_study("odd:make"))
    for mended in (False, True):
        sys.modules.pop("odd", None)
        Path("odd.py").write_text(f"{code}        return {'x' if mended else expression}{make}")
        ended = program("run", "small.toml", "--out", "out", "--no-report")
        assert ended.code == (0 if mended else 2), ended.err
        assert mended or reason in ended.err
        assert mended or "where: model Odd" in ended.err or reason.startswith("the model's")
    sys.modules.pop("odd", None)


def test_a_network_that_does_not_fit_into_memory_is_refused_before_anything_is_made(program: Program) -> None:
    message = """\
the network cannot be built on this machine
  where: model
  got:   mlp, hidden [100000000000]: it does not fit into memory
  do:    choose narrower layers"""
    command = ["run", "surprising-demo", "--set", "model.hidden=[100000000000]", "--set", "conditions={default={}}"]
    assert_refused(program, [*command, "--set", "about={}", "--set", "figures={}", "--dry-run"], message)


def test_a_value_torchs_optimiser_refuses_is_refused_before_anything_is_made(program: Program) -> None:
    message = """\
torch.optim refuses these options: Invalid weight_decay value: -1
  where: train.optimizer_options
  got:   weight_decay=-1"""
    command = ["run", "surprising-demo", "--set", "train.optimizer_options={weight_decay=-1}", "--dry-run"]
    assert_refused(program, command, message)
