"""One table of small training problems on which the ensemble and its naive twin are compared."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from initscope.modules.slots import parameter_slots
from initscope.records.run import RunRecord
from initscope.records.study import Study, TrainSpec
from initscope.study.prepare import Preparer
from initscope.train.ensemble import train_ensemble
from initscope.train.task import EnsembleResult, RunIdentity, SeedData, seed_data
from initscope.train.twin import TwinResult, train_alone

SAMPLES, FEATURES, CLASSES = 600, 36, 4
ALL_ONE = ("all-one", "weights-one-biases-zero", "weights-one-biases-default")


def dropout_mlp(*, in_features: int, out_features: int) -> nn.Module:
    """A perceptron with dropout."""
    return nn.Sequential(nn.Linear(in_features, 24), nn.ReLU(), nn.Dropout(0.3), nn.Linear(24, out_features))


def batchnorm_cnn(*, in_features: int, out_features: int) -> nn.Module:
    """A small convolutional network with BatchNorm and channel dropout."""
    side = int(in_features**0.5)
    return nn.Sequential(
        nn.Unflatten(1, (1, side, side)),
        nn.Conv2d(1, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Dropout2d(0.1),
        nn.Flatten(),
        nn.Linear(4 * (side - 2) ** 2, out_features),
    )


class TinyTransformer(nn.Module):
    """One encoder layer with dropout everywhere over rows of the image."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.side = int(in_features**0.5)
        self.embed = nn.Linear(self.side, 16)
        self.block = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.1, batch_first=True)
        self.head = nn.Linear(16, out_features)

    def forward(self, inputs: Tensor) -> Tensor:
        rows = inputs.view(-1, self.side, self.side)
        return self.head(self.block(self.embed(rows)).mean(dim=1))


def transformer(*, in_features: int, out_features: int) -> nn.Module:
    """A tiny transformer."""
    return TinyTransformer(in_features, out_features)


def make_data(*, seed: int = 0, samples: int = SAMPLES) -> tuple[Tensor, Tensor]:
    """Blobs in [0, 1], one a class: learnable in a few epochs."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, samples)
    centres = rng.random((CLASSES, FEATURES))
    inputs = np.clip(0.6 * centres[labels] + 0.4 * rng.random((samples, FEATURES)), 0, 1).astype(np.float32)
    return torch.from_numpy(inputs), torch.from_numpy(labels)


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A study on made-up data."""

    study: Study
    inputs: Tensor
    labels: Tensor

    def identities(self, *, seeds: tuple[int, ...]) -> list[RunIdentity]:
        """All conditions of the given seeds."""
        return [RunIdentity(condition=key, seed=seed, key=f"{key}/{seed}") for seed in seeds for key in self.study.conditions]

    def preparer(self) -> Preparer:
        """The study's preparer on this problem's data."""
        return Preparer(self.study, self.inputs, self.labels, CLASSES, device="cpu")

    def ensemble(self, runs: list[RunIdentity]) -> EnsembleResult:
        """Trains the runs together."""
        return train_ensemble(self.preparer().task(runs))

    def split(self, seed: int) -> SeedData:
        """The split and the shuffles of a seed."""
        return seed_data(
            len(self.labels), seed=seed, root_seed=self.study.root_seed, test_fraction=self.study.data.test_fraction
        )

    def twin(self, run: RunIdentity, *, max_steps: int | None = None, keep_gradients: int = 0) -> TwinResult:
        """Trains one run in the plain loop."""
        task = self.preparer().task([run])
        start = {path: value[0] for path, value in {**task.start, **task.buffers}.items()}
        return train_alone(
            task.model, start, inputs=self.inputs, labels=self.labels, data=self.split(run.seed), train=self.study.train,
            max_steps=max_steps, keep_gradients=keep_gradients,
        )  # fmt: skip


FOUNDING: dict[str, dict[str, str]] = {
    "default": {},
    "hidden1-weight-zero": {"hidden1.weight": "zeros"},
    "all-zero": {"*": "zeros"},
    "all-one": {"*": "ones"},
    "weights-one-biases-zero": {"*.weight": "ones", "*.bias": "zeros"},
    "weights-zero-biases-default": {"*.weight": "zeros"},
    "weights-one-biases-default": {"*.weight": "ones"},
    "biases-zero": {"*.bias": "zeros"},
}


def problem(
    *, factory: str | None = None, conditions: dict[str, dict[str, str]] | None = None, data_seed: int = 0, **train: object
) -> Problem:
    """A problem: the founding network and conditions unless told otherwise."""
    settings = {"epochs": 2, "batch_size": 20} | train
    model = {"hidden": [16, 8, 8]} if factory is None else {"factory": f"tests.support.problems:{factory}"}
    study = Study.model_validate(
        {
            "conditions": conditions or FOUNDING,
            "model": model,
            "train": TrainSpec.model_validate(settings).model_dump(mode="json"),
            "figures": {},
        }
    )
    inputs, labels = make_data(seed=data_seed)
    return Problem(study=study, inputs=inputs, labels=labels)


def paths(made: Problem) -> list[str]:
    """The trainable parameters of a problem's model."""
    task = made.preparer().task(made.identities(seeds=(0,))[:1])
    return [slot.path for slot in parameter_slots(task.model)]


def record(result: EnsembleResult, condition: str, seed: int) -> RunRecord:
    """One run of a result."""
    return next(r for r in result.records if (r.condition, r.seed) == (condition, seed))
