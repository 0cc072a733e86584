"""Starting values: paired between conditions, untouched by who else is prepared, and by the user's own generators."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from initscope.records.study import Study
from initscope.study.prepare import Preparer
from initscope.train.task import EnsembleTask, RunIdentity

INPUTS, LABELS = torch.linspace(0, 1, 240).reshape(60, 4), torch.arange(60) % 3
CONDITIONS = {"default": {}, "zero": {"input.weight": "zeros"}, "small": {"*.bias": "normal(std=0.01)"}}
FACTORY = """
import torch
from torch import nn


def make(in_features, out_features):
    net = nn.Sequential(nn.Linear(in_features, 3), nn.BatchNorm1d(3), nn.ReLU(), nn.Linear(3, out_features))
    nn.init.constant_(net[0].bias, torch.rand(()).item())
    net[3].bias.requires_grad_(False)
    return net
"""


def preparer(**model: object) -> Preparer:
    study = Study.model_validate(
        {"model": model or {"hidden": [3]}, "conditions": CONDITIONS if not model else {"default": {}}}
    )
    return Preparer(study, INPUTS, LABELS, 3, device="cpu")


def task(*runs: tuple[str, int], made: Preparer | None = None) -> EnsembleTask:
    identities = [RunIdentity(condition=key, seed=seed, key=f"{key}{seed}") for key, seed in runs]
    return (made or preparer()).task(identities)


def test_conditions_of_one_seed_share_what_they_do_not_overwrite() -> None:
    start = task(("default", 4), ("zero", 4), ("small", 4)).start
    assert torch.equal(start["input.bias"][0], start["input.bias"][1])
    assert torch.equal(start["output.weight"][0], start["output.weight"][2])
    assert not start["input.weight"][1].any()
    assert not torch.equal(start["input.bias"][0], start["input.bias"][2])


def test_two_seeds_share_no_draw() -> None:
    start = task(("default", 0), ("default", 1)).start
    assert not any(torch.isclose(values[0], values[1]).any() for values in start.values())


def test_a_runs_start_does_not_depend_on_who_is_prepared_with_it() -> None:
    together = task(("zero", 2), ("default", 7), ("small", 7)).start
    alone = task(("small", 7)).start
    assert all(torch.equal(together[path][2], alone[path][0]) for path in alone)


def test_preparing_leaves_the_generators_as_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "prepared_model.py").write_text(FACTORY)
    monkeypatch.syspath_prepend(tmp_path)
    before = torch.get_rng_state()
    task(("default", 0), made=preparer(factory="prepared_model:make"))
    assert torch.equal(before, torch.get_rng_state())


def test_a_factorys_own_draw_is_kept_seed_by_seed_with_its_buffers_and_what_it_froze(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "prepared_model.py").write_text(FACTORY)
    monkeypatch.syspath_prepend(tmp_path)
    made = task(("default", 0), ("default", 1), made=preparer(factory="prepared_model:make"))
    again = task(("default", 1), made=preparer(factory="prepared_model:make"))
    bias = made.start["0.bias"]
    assert (bias[0] == bias[0][0]).all() and bias[0][0] != bias[1][0]
    assert torch.equal(bias[1], again.start["0.bias"][0])
    assert set(made.start) == {"0.weight", "0.bias", "1.weight", "1.bias", "3.weight"}
    assert {"3.bias", "1.running_mean", "1.running_var", "1.num_batches_tracked"} == set(made.buffers)
    assert torch.equal(made.buffers["3.bias"][1], again.buffers["3.bias"][0])
