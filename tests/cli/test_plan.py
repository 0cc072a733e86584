"""`initscope plan`, and what `list` and `explain` say of initializers."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from initscope.cli.plan_command import read_scheme
from initscope.initializers.method import METHODS
from tests.cli.conftest import Program
from tests.cli.refusals import assert_refused
from tests.support.small_study import call_outside

NETS = """\
import torch
from torch import nn

print("imported")


def make():
    print("built")
    return nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))


def fed():
    return make(), torch.randn(8, 4), torch.arange(8) % 2, nn.functional.cross_entropy


def raising():
    return {}["width"]


def wrong():
    return [make()]


def long():
    return make(), 1, 2, 3, 4


def needs(width):
    return make()


class Odd(nn.Module):
    def __init__(self):
        super().__init__()
        self.mix = nn.Parameter(torch.zeros(4, 2))
        self.fc = nn.Linear(4, 2)


def frozen():
    return make().requires_grad_(False)


number = 3
"""
TABLE = """\
parameter  shape  layout  fans    method        std  why
0.weight   3 x 4  out in  4 -> 3  he_normal  0.7071  Linear weight
0.bias     3      bias    4 -> 3  zeros           0  a bias starts at zero
2.weight   2 x 3  out in  3 -> 2  he_normal  0.8165  Linear weight
2.bias     2      bias    3 -> 2  zeros           0  a bias starts at zero
"""
LEGAL = "package.module:function, importable from the current folder"


@pytest.fixture
def nets(tmp_path: Path, program: Program) -> Iterator[Program]:
    """The program in a folder with the module `nets`, which is forgotten afterwards."""
    (tmp_path / "nets.py").write_text(NETS)
    sys.modules.pop("nets", None)
    sys.dont_write_bytecode, before = True, sys.dont_write_bytecode
    yield program
    sys.dont_write_bytecode = before
    sys.modules.pop("nets", None)


def refused(nets: Program, arguments: list[str], message: str) -> None:
    """Fails unless the program refuses with this message alone, the user's own prints apart, and writes nothing."""
    before = sorted(Path().iterdir())
    ended = nets("plan", *arguments)
    said = ended.err.replace("imported\n", "").replace("built\n", "")
    assert (said, ended.out, ended.code) == (f"error: {message}\n", "", 2)
    assert sorted(Path().iterdir()) == before


@pytest.mark.slow
def test_a_plan_is_printed_alone_by_the_program_and_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "nets.py").write_text(NETS)
    ended = call_outside("plan", "nets:make", "he_normal", cwd=tmp_path, PYTHONDONTWRITEBYTECODE="1")
    assert (ended.out, ended.err, ended.code) == (TABLE, "imported\nbuilt\n", 0)
    assert [path.name for path in tmp_path.iterdir()] == ["nets.py"]


def test_a_plan_is_a_table(nets: Program) -> None:
    ended = nets("plan", "nets:make", "he_normal")
    assert (ended.out, ended.code) == (TABLE, 0)


def test_a_plan_as_json_has_version_parameters_tuners_and_what_is_kept(nets: Program) -> None:
    ended = nets("plan", "nets:make", "0.*=he_normal", "--format", "json")
    document = json.loads(ended.out)
    assert list(document) == ["version", "parameters", "then", "kept"]
    assert (document["version"], document["then"], document["kept"]) == (1, [], ["2.weight", "2.bias"])
    assert document["parameters"][0] == {
        "parameter": "0.weight", "shape": [3, 4], "role": "weight", "layout": "out in", "fan_in": 4, "fan_out": 3,
        "method": "he_normal", "std": 0.5**0.5, "lr_scale": 1.0, "why": "Linear weight", "tied": [],
    }  # fmt: skip


def test_a_scheme_of_patterns_is_read_with_later_ones_winning(nets: Program) -> None:
    ended = nets("plan", "nets:make", "*.weight=orthogonal(gain=1.5); 2.*=zeros", "--format", "json")
    found = {row["parameter"]: row["method"] for row in json.loads(ended.out)["parameters"]}
    assert found == {"0.weight": "orthogonal(gain=1.5)", "2.weight": "zeros", "2.bias": "zeros"}


@pytest.mark.parametrize(
    ("text", "scheme"),
    [
        ("he_normal", "he_normal"),
        (" orthogonal(gain='tanh') ", "orthogonal(gain='tanh')"),
        ("*=normal(std=0.1)", {"*": "normal(std=0.1)"}),
        ("a.*=zeros;", {"a.*": "zeros"}),
        ("layers.[01].w=he_normal(gain='leaky_relu(0.2)') ; b = ones",
         {"layers.[01].w": "he_normal(gain='leaky_relu(0.2)')", "b": "ones"}),
    ],
)  # fmt: skip
def test_a_scheme_is_split_outside_brackets_and_quotes(text: str, scheme: str | dict[str, str]) -> None:
    assert read_scheme(text) == scheme


def test_a_factory_may_give_what_a_method_of_data_needs(nets: Program) -> None:
    ended = nets("plan", "nets:fed", "lsuv")
    assert (ended.code, ended.out.splitlines()[-1]) == (0, "then lsuv")


def test_a_method_of_data_says_how_the_factory_gives_them(nets: Program) -> None:
    do = "  do:    let the factory return (module, inputs, targets, loss)"
    refused(nets, ["nets:make", "lsuv"], f"lsuv needs a batch of inputs\n  where: scheme\n{do}")
    needs = "a batch of inputs, their targets, a loss(output, targets)"
    refused(nets, ["nets:make", "metainit"], f"metainit needs {needs}\n  where: scheme\n{do}")


def test_parameters_of_unknown_layout_are_refused_with_the_option_that_declares_them(nets: Program) -> None:
    refused(
        nets,
        ["nets:Odd", "he_normal"],
        "he_normal does not know what this parameter is\n  where: scheme\n  got:   mix (4, 2) of Odd\n"
        "  legal: parameters of torch's own layers, or declared ones\n"
        '  do:    declare the axes, --layout "mix=in out" (or "table", "vector", "gain", "keep"), '
        'or leave it out by a pattern, "*=...; mix=keep"',
    )
    ended = nets("plan", "nets:Odd", "he_normal", "--layout", "mix=in out")
    assert " ".join(ended.out.splitlines()[1].split()) == "mix 4 x 2 in out 4 -> 2 he_normal 0.7071 Odd weight"


def test_frozen_parameters_are_planned_when_asked(nets: Program) -> None:
    refused(
        nets,
        ["nets:frozen", "2.*=zeros"],
        "the pattern '2.*' matches frozen parameters alone\n  where: scheme\n"
        "  do:    pass --frozen, or requires_grad_(True) on them",
    )
    assert nets("plan", "nets:frozen", "2.*=zeros", "--frozen").code == 0


def test_a_factory_that_raises_shows_the_users_own_lines(nets: Program, tmp_path: Path) -> None:
    line = NETS.splitlines().index('    return {}["width"]') + 1
    ended = nets("plan", "nets:raising", "he_normal")
    first, *rest = ended.err.replace("imported\n", "").splitlines()
    assert (first, ended.code, ended.out) == ("error: the factory nets:raising raised KeyError", 2, "")
    assert rest[0] == "  got:   Traceback (most recent call last):"
    assert rest[1].strip() == f'File "{tmp_path}/nets.py", line {line}, in raising'
    assert rest[-1].strip() == "KeyError: 'width'"


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("nets", f"'nets' names no factory\n  legal: {LEGAL}"),
        (":make", f"':make' names no factory\n  legal: {LEGAL}"),
        ("nets:", f"'nets:' names no factory\n  legal: {LEGAL}"),
        ("nots:make", f"cannot import nots:make: No module named 'nots'\n  legal: {LEGAL} or the environment"),
        ("nets:mkae", "cannot import nets:mkae: module 'nets' has no attribute 'mkae'\n"
                      f"  legal: {LEGAL} or the environment"),
        ("nets:number", "nets:number is not callable\n  got:   int"),
        ("nets:needs", "the factory nets:needs cannot be called without arguments: "
                       "missing a required argument: 'width'\n"
                       "  do:    name a function that takes none, such as one that calls it with yours"),
        ("nets:wrong", "the factory nets:wrong returned (list)\n"
                       "  legal: a torch.nn.Module, or a tuple (module, inputs, targets, loss) of which the "
                       "later may be left out"),
        ("nets:long", "the factory nets:long returned (Sequential, int, int, int, int)\n"
                      "  legal: a torch.nn.Module, or a tuple (module, inputs, targets, loss) of which the later may be"
                      " left out"),
    ],
)  # fmt: skip
def test_a_target_that_is_no_factory_is_refused(nets: Program, target: str, message: str) -> None:
    refused(nets, [target, "he_normal"], message)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["he_norml"], f"unknown initializer 'he_norml'\n  where: scheme\n  legal: {', '.join(METHODS)}\n"
                       "  do:    did you mean 'he_normal'?"),
        (["x.*=zeros"], "the pattern 'x.*' matches no parameter\n  where: scheme\n"
                        "  legal: parameters are 0.weight, 0.bias, 2.weight, 2.bias"),
        (["=zeros"], "SCHEME is not legal\n  got:   '=zeros'\n  legal: PATTERN=VALUE, as in *.weight=he_normal"),
        (["0.*=zeros; ones"], "SCHEME is not legal\n  got:   'ones'\n  legal: PATTERN=VALUE, as in *.weight=he_normal"),
        ([" ; "], "SCHEME is empty\n  got:   ' ; '\n"
                  "  legal: a method, or PATTERN=METHOD pairs separated by semicolons"),
        (["zeros", "--layout", "x"], "--layout is not legal\n  got:   'x'\n"
                                     "  legal: PATTERN=VALUE, as in *.weight=he_normal"),
    ],
)  # fmt: skip
def test_a_scheme_or_option_that_is_not_legal_is_refused(nets: Program, arguments: list[str], message: str) -> None:
    refused(nets, ["nets:make", *arguments], message)


def test_every_initializer_is_listed_with_paper_kind_and_status(program: Program) -> None:
    ended = program("list", "initializers")
    text = " ".join(ended.out.split())
    for name, method in METHODS.items():
        assert any(line.startswith(f"{name} ") for line in ended.out.splitlines()), name
        assert f"[{method.paper}; {method.kind}, {method.status()}]" in text, name
    assert max(map(len, ended.out.splitlines())) <= 100
    assert (ended.err, ended.code) == ("", 0)


def test_an_initializer_is_explained_with_its_call_source_kind_and_status(program: Program) -> None:
    lines = program("explain", "lsuv").out.splitlines()
    method = METHODS.get("lsuv")
    assert lines[0].startswith("lsuv(")
    assert lines[0].endswith(": initializer")
    assert lines[2] == (method.__doc__ or "").splitlines()[0]
    assert f"source: {method.paper}; kind: data; status: verified" in lines


def test_an_alias_is_explained_under_its_own_name(program: Program) -> None:
    lines = program("explain", "kaiming_normal").out.splitlines()
    assert lines[0] == "kaiming_normal(gain='relu', mode='fan_in'): initializer"
    assert lines[-1] == "also called: he_normal"


def test_an_unknown_name_and_list_are_refused(program: Program) -> None:
    ended = program("explain", "lsvu")
    assert (ended.err.splitlines()[0], ended.err.splitlines()[-1]) == (
        "error: unknown name 'lsvu'", "  do:    did you mean 'lsuv'?"
    )  # fmt: skip
    assert ended.code == 2
    assert_refused(
        program,
        ["list", "initialisers"],
        "unknown list 'initialisers'\n  legal: datasets, initializers, models, rules, studies\n"
        "  do:    did you mean 'initializers'?",
    )
