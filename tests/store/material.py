"""Folders, runs and comparisons for the tests of the store."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from initscope.records.run import RunRecord
from initscope.store.folder import StudyFolder, open_folder
from tests.support.synthetic import make_run

IDENTITY = {"data.sha256": "ab12", "model.hidden": [64, 32], "train.epochs": 2, "root_seed": 0}


def new_folder(path: Path, *conditions: str) -> StudyFolder:
    """A folder opened for writing, its identity and conditions claimed."""
    folder = open_folder(path, create=True)
    folder.claim(IDENTITY)
    for key in conditions:
        folder.claim_condition(key, {"*.weight": "zeros"})
    return folder


def weights_of(condition: str, seed: int) -> dict[str, np.ndarray]:
    """Weights that tell which run they belong to."""
    value = np.float32(seed + len(condition) / 64)
    return {"initial/hidden1.weight": np.full((4, 3), value), "final/hidden1.weight": np.full((4, 3), -value)}


Weights = dict[tuple[str, int], Mapping[str, np.ndarray]]


def ensemble(conditions: tuple[str, ...], seeds: range) -> tuple[list[RunRecord], Weights]:
    """The runs of some conditions and seeds, with their weights."""
    runs = [make_run(key, seed, epochs=2) for key in conditions for seed in seeds]
    return runs, {(run.condition, run.seed): weights_of(run.condition, run.seed) for run in runs}


def assert_same_bits(ours: object, theirs: object, where: str = "") -> None:
    """Fails unless two records agree in type, shape and every bit (all NaNs are one)."""
    assert type(ours) is type(theirs), where
    if dataclasses.is_dataclass(ours):
        for field in dataclasses.fields(ours):
            assert_same_bits(getattr(ours, field.name), getattr(theirs, field.name), f"{where}.{field.name}")
    elif isinstance(ours, np.ndarray):
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape), where
        assert np.array_equal(np.isnan(ours), np.isnan(theirs)), where
        assert np.where(np.isnan(ours), 0, ours).tobytes() == np.where(np.isnan(theirs), 0, theirs).tobytes(), where
    elif isinstance(ours, float):
        assert_same_bits(np.array(ours), np.array(theirs), where)
    elif isinstance(ours, tuple):
        assert len(ours) == len(theirs), where
        for index, pair in enumerate(zip(ours, theirs, strict=True)):
            assert_same_bits(*pair, f"{where}[{index}]")
    else:
        assert ours == theirs, where
