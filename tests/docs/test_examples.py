"""What the documents show is run: every command, every piece of Python, every example of how to add a variant."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.docs.pages import REPOSITORY, page_blocks, write_files
from tools import docs

PAGES = ("README.md", "docs/studies.md", "docs/initialising.md", "docs/check.md", "docs/reproducibility.md")
USE_OF_THE_EXAMPLES = """
import torch
from initscope.datasets.source import load
from initscope.initializers.building import build_initializer
from initscope.initializers.drawing import draw_slot
from initscope.models.registry import build_model
from initscope.modules.slots import parameter_slots
from initscope.records.study import ModelSpec
from tests.support.synthetic import make_results

model = build_model(ModelSpec(name="normed_mlp", hidden=(8,)), in_features=4, out_features=3)
slot = parameter_slots(model)[0]
drawn = draw_slot(build_initializer("two_point(scale=0.2)"), slot, torch.Generator())
drawing = draw_first_loss(make_results(seeds=3))
data = load("blobs.npz")
print(slot.path, sorted(set(drawn.flatten().tolist())) == sorted({-drawn.abs().max().item(), drawn.abs().max().item()}))
print(drawing.name, len(drawing.columns["loss"]), drawing.title[:28])
print(data.n_samples, data.n_classes)
"""

ONE_AFTER_THE_OTHER = """
from initscope.cli.main import main

for arguments in commands:
    sys.argv = ["initscope", *arguments]
    try:
        main()
    except SystemExit as end:
        assert not end.code, f"exit code {end.code}: initscope {' '.join(arguments)}"
print(len(commands), "commands ended well")
"""


def run_python(code: str, folder: Path) -> str:
    """What `code` prints, run in a process of its own: examples register variants that no other test may see."""
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(REPOSITORY)!r})\n{code}"]
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=600)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def commands_of(page: str) -> list[list[str]]:
    """The arguments of every `initscope` command in the shell blocks of a page, in order."""
    text = "".join(f"```sh\n{block.text}```\n" for block in page_blocks(page, "sh"))
    found = [docs.command_words(line) for line in docs.shell_lines(text)]
    return [words[1:] for words in found if words[:1] == ["initscope"]]


def write_images(path: Path) -> None:
    """Writes a CSV of 90 samples of three classes that differ in one pixel."""
    labels = np.repeat(np.arange(3), 30)
    pixels = np.random.default_rng(0).integers(0, 50, size=(90, 9))
    pixels[np.arange(90), labels] = 200
    np.savetxt(path, np.column_stack([labels, pixels]), fmt="%d", delimiter=",")


def shortened(arguments: list[str]) -> list[str]:
    """A command as it is tested: a study that is run trains one epoch and draws nothing; `report` draws."""
    return [*arguments, "--epochs", "1", "--workers", "1", "--no-report"] if arguments[0] == "run" else arguments


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_a_page_ends_well(page: str, tmp_path: Path) -> None:
    write_files(page, tmp_path)
    write_images(tmp_path / "my-images.csv")
    commands = [shortened(arguments) for arguments in commands_of(page)]
    told = run_python(f"commands = {commands!r}\n{ONE_AFTER_THE_OTHER}", tmp_path)
    assert told.splitlines()[-1] == f"{len(commands)} commands ended well" and commands


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_the_python_of_a_page_runs(page: str, tmp_path: Path) -> None:
    write_files(page, tmp_path)
    pieces = [block.text for block in page_blocks(page, "python") if block.file is None]
    assert pieces
    run_python("\n".join(pieces), tmp_path)


@pytest.mark.slow
def test_the_examples_of_the_contributing_page_can_be_used_where_they_are_added(tmp_path: Path) -> None:
    code = "\n".join(block.text for block in page_blocks("CONTRIBUTING.md", "python"))
    told = run_python(code + USE_OF_THE_EXAMPLES, tmp_path).splitlines()
    assert told == ["hidden1.weight True", "first_loss 24 The first loss is largest in", "300 3"]
