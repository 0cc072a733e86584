"""TARGET, batches and losses as they are named on the command line."""

from __future__ import annotations

import inspect
import os
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from initscope.api.hf_target import offline
from initscope.api.targets import load_batch, load_loss, load_source, load_target, parts_of
from initscope.api.user_code import load_object
from initscope.base.errors import EnvironmentFault, UsageError
from initscope.checker.instruments.losses import NAMES

NETS = """\
import torch
from torch import nn
import widths


def make():
    import later
    return nn.Linear(widths.WIDTH, later.OUT)


def fed():
    return make(), torch.randn(8, 4)


def raising():
    return {}["width"]


def needs(width):
    return nn.Linear(width, 2)


def batch():
    return torch.randn(8, 4), torch.arange(8) % 2


def inputs():
    return {"input": torch.randn(8, 4)}


def three():
    return 1, 2, 3


def loss(output, target):
    return (output - target).square().mean()
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder beside the current one, with the file nets.py and two modules that it imports."""
    inside, here = tmp_path / "nets", tmp_path / "here"
    inside.mkdir()
    here.mkdir()
    (inside / "nets.py").write_text(NETS)
    (inside / "widths.py").write_text("WIDTH = 4\n")
    (inside / "later.py").write_text("OUT = 3\n")
    monkeypatch.chdir(here)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    for name in ("widths", "later"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return inside


def refusal(reference: str, load: object = load_target) -> str:
    with pytest.raises(UsageError) as caught:
        load(reference)  # type: ignore[operator]  # one of the loaders
    return str(caught.value)


@pytest.mark.parametrize("absolute", [True, False])
def test_a_file_names_its_factory_and_its_folder_is_importable_while_it_loads_and_builds(
    folder: Path, *, absolute: bool
) -> None:
    path = list(sys.path)
    target = load_target(f"{folder / 'nets.py' if absolute else '../nets/nets.py'}:make")
    assert isinstance(target.model, nn.Linear)
    assert tuple(target.model.weight.shape) == (3, 4)
    assert sys.path == path
    assert "nets" not in sys.modules


def test_the_source_of_a_file_is_there_for_inspection(folder: Path) -> None:
    make = load_object(f"{folder / 'nets.py'}:make")
    assert inspect.getsource(make).startswith("def make():\n    import later")
    assert inspect.getsourcefile(make) == str(folder / "nets.py")


def test_a_factory_builds_afresh_at_each_call(folder: Path) -> None:
    source = load_source(f"{folder / 'nets.py'}:make")
    first, second = source.factory(), source.factory()
    assert first is not second
    assert not torch.equal(first.weight, second.weight)
    assert source.name == f"{folder / 'nets.py'}:make"


def test_the_seed_of_a_target_decides_its_draws_and_global_generators_stay(folder: Path) -> None:
    state = torch.get_rng_state()
    one, same, other = (load_target(f"{folder / 'nets.py'}:fed", seed=seed) for seed in (0, 0, 1))
    assert torch.equal(one.inputs, same.inputs)
    assert not torch.equal(one.inputs, other.inputs)
    assert torch.equal(state, torch.get_rng_state())


def test_a_file_that_is_not_there_or_lacks_the_name_is_refused(folder: Path) -> None:
    legal = "  legal: path/to/file.py:function"
    assert refusal("nots.py:make") == f"cannot import nots.py:make: there is no file nots.py\n{legal}"
    reference = f"{folder / 'nets.py'}:mkae"
    assert refusal(reference) == f"cannot import {reference}: nets.py has no 'mkae'\n{legal}"
    reference = f"{folder / 'widths.py'}:WIDTH"
    assert refusal(reference) == f"{reference} is not callable\n  got:   int"


def test_a_file_that_raises_shows_the_users_own_lines_alone(folder: Path) -> None:
    (folder / "wrong.py").write_text("x = 1\ny = {}['width']\n")
    reference = f"{folder / 'wrong.py'}:make"
    assert refusal(reference) == (
        f"cannot import {reference}: its file raised KeyError\n"
        "  got:   Traceback (most recent call last):\n"
        f'           File "{folder / "wrong.py"}", line 2, in <module>\n'
        "             y = {}['width']\n                 ~~^^^^^^^^^\n         KeyError: 'width'"
    )
    assert not [name for name in sys.modules if name.startswith("_initscope_wrong")]


def test_a_file_that_ends_the_program_is_refused(folder: Path) -> None:
    (folder / "script.py").write_text("raise SystemExit(3)\n")
    reference = f"{folder / 'script.py'}:make"
    assert refusal(reference) == (
        f"cannot import {reference}: it ended the program while it was imported\n  got:   SystemExit(3)\n"
        '  do:    put what should run as a program under if __name__ == "__main__":'
    )


def test_a_factory_that_raises_or_wants_arguments_is_refused(folder: Path) -> None:
    reference = f"{folder / 'nets.py'}:raising"
    line = NETS.splitlines().index('    return {}["width"]') + 1
    assert refusal(reference) == (
        f"the factory {reference} raised KeyError\n"
        "  got:   Traceback (most recent call last):\n"
        f'           File "{folder / "nets.py"}", line {line}, in raising\n'
        "             return {}[\"width\"]\n                    ~~^^^^^^^^^\n         KeyError: 'width'"
    )
    reference = f"{folder / 'nets.py'}:needs"
    assert refusal(reference) == (
        f"the factory {reference} cannot be called without arguments: missing a required argument: 'width'\n"
        "  do:    name a function that takes none, such as one that calls it with yours"
    )


def test_what_a_factory_returns_is_told_apart() -> None:
    model = nn.Linear(2, 2)
    assert parts_of(model, "f").model is model
    whole = parts_of((model, 1, 2, 3), "f")
    assert (whole.inputs, whole.targets, whole.loss) == (1, 2, 3)
    for wrong, kinds in (([model], "list"), ((1, model), "int, Linear"), ((), "")):
        with pytest.raises(UsageError) as caught:
            parts_of(wrong, "f")
        assert str(caught.value) == (
            f"the factory f returned ({kinds})\n"
            "  legal: a torch.nn.Module, or a tuple (module, inputs, targets, loss) of which the later may be left out"
        )


def test_a_batch_is_inputs_or_inputs_and_targets(folder: Path) -> None:
    both, alone = (load_batch(f"{folder / 'nets.py'}:{name}") for name in ("batch", "inputs"))
    assert (both.inputs.shape, both.targets.shape) == ((8, 4), (8,))
    assert (list(alone.inputs), alone.targets) == (["input"], None)
    reference = f"{folder / 'nets.py'}:three"
    assert refusal(reference, load_batch) == (
        f"the batch function {reference} returned a tuple of 3\n"
        "  legal: inputs, or (inputs, targets); several positional inputs as ((first, second), targets)"
    )


def test_a_loss_is_a_name_a_function_or_a_class(folder: Path) -> None:
    assert load_loss("cross-entropy") is NAMES["cross_entropy"]
    assert float(load_loss(f"{folder / 'nets.py'}:loss")(torch.ones(2), torch.zeros(2))) == 1.0
    assert isinstance(load_loss("torch.nn:MSELoss"), nn.MSELoss)


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("timm:", "'timm:' names no model\n  legal: timm:name, or timm:name(key=value, ...)"),
        ("hf:bert(3)", "arguments of a model need names\n  got:   'hf:bert(3)'\n"
                       "  legal: hf:name, or hf:name(key=value, ...)"),
        ("hf:bert(x=y)", "cannot read the arguments of a model\n  got:   'hf:bert(x=y)'\n"
                         "  legal: hf:name, or hf:name(key=value, ...)"),
    ],
)  # fmt: skip
def test_a_call_of_a_librarys_model_is_checked_before_the_library_is_loaded(reference: str, message: str) -> None:
    assert refusal(reference) == message


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(EnvironmentFault) as caught:
        load_target("timm:resnet18")
    assert str(caught.value) == (
        "timm:resnet18 needs timm, which is not installed\n  do:    install it: pip install timm"
    )


def test_the_environment_is_offline_inside_the_block_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    with offline():
        assert os.environ["HF_HUB_OFFLINE"] == "1"
    assert os.environ["HF_HUB_OFFLINE"] == "0"


@pytest.mark.slow
def test_models_of_timm_are_named_with_random_weights_and_arguments() -> None:
    model = load_target("timm:resnet10t(num_classes=7)").model
    assert sum(one.numel() for one in model.get_classifier().parameters()) == 7 * 513  # type: ignore[operator]
    assert refusal("timm:resnt18") == (
        "unknown model 'timm:resnt18'\n  legal: a name that timm.list_models() gives\n"
        "  do:    did you mean 'resnet18' or 'resnet18d' or 'skresnet18'?"
    )
    assert refusal("timm:resnet18(pretrained=True)") == (
        "timm:resnet18 is built with random weights\n  got:   'timm:resnet18(pretrained=True)'\n"
        "  do:    leave pretrained out"
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("reference", "kind"),
    [
        ("hf:gpt2(n_layer=1, n_embd=32, n_head=2, vocab_size=50)", "GPT2LMHeadModel"),
        ("hf:bert(num_hidden_layers=1, hidden_size=32, num_attention_heads=2, vocab_size=50)", "BertForMaskedLM"),
        ("hf:BertModel(num_hidden_layers=1, hidden_size=32, num_attention_heads=2, vocab_size=50)", "BertModel"),
        ("hf:llama(num_hidden_layers=1, hidden_size=32, num_attention_heads=2, vocab_size=50)", "LlamaForCausalLM"),
        ("hf:vit(num_hidden_layers=1, hidden_size=32, num_attention_heads=2)", "ViTForImageClassification"),
    ],
)
def test_models_of_transformers_are_named_by_type_or_class(reference: str, kind: str) -> None:
    assert type(load_target(reference).model).__name__ == kind


@pytest.mark.slow
def test_a_model_of_transformers_that_is_too_large_misspelt_or_unknown_is_refused() -> None:
    assert refusal("hf:llama") == (
        "hf:llama has 6.7 billion parameters with these settings\n  legal: at most 2 billion\n"
        "  do:    shrink it, as in hf:llama(num_hidden_layers=2); it has num_hidden_layers=32, hidden_size=4096, "
        "intermediate_size=11008, vocab_size=32000"
    )
    misspelt = refusal("hf:gpt2(n_layr=1)").splitlines()
    assert (misspelt[0], misspelt[-1]) == ("GPT2Config has no setting 'n_layr'", "  do:    did you mean 'n_layer'?")
    assert refusal("hf:brt") == (
        "unknown model 'hf:brt'\n"
        "  legal: a model type such as bert, gpt2, llama, vit, or a model class such as BertForMaskedLM\n"
        "  do:    did you mean 'bert' or 'bart' or 'mbart'?"
    )
