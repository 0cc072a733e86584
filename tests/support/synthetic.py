"""Made-up results of the founding study: quick material for the tests of figures, statistics and reports."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np

import initscope
from initscope.records.dataset import DatasetSummary
from initscope.records.results import Environment, Results
from initscope.records.run import History, Probes, RunRecord
from initscope.records.study import Study

PARAMETERS = tuple(
    f"{layer}.{part}" for layer in ("input", "hidden1", "hidden2", "output") for part in ("weight", "bias")
)
LAYERS, UNITS = ("input", "hidden1", "hidden2"), (64, 32, 32)
SHAPES = {"hidden1.weight": (32, 64), "hidden1.bias": (32,), "hidden2.weight": (32, 32)}
STEPS_PER_EPOCH = 50


def founding_study(**changes: object) -> Study:
    """The built-in study, read plainly, with fields changed."""
    path = Path(initscope.__file__).parent / "study" / "builtin" / "surprising-demo.toml"
    return Study.model_validate(tomllib.loads(path.read_text()) | changes)


def final_accuracy(condition: str, rng: np.random.Generator) -> float:
    """A plausible end of one run."""
    if condition.startswith("all-zero"):
        return 11.7
    if condition == "weights-zero-biases-default":
        return float(rng.uniform(85, 93)) if rng.random() < 0.4 else 11.7
    if "one" in condition:
        return float(rng.uniform(20, 31))
    return float(rng.normal(94.7, 0.5))


def make_history(end: float, epochs: int, rng: np.random.Generator) -> History:
    """A curve that rises to `end`."""
    shape = 1.0 - np.exp(-np.arange(1, epochs + 1) / 1.5)
    test = 10.0 + (end - 10.0) * shape + rng.normal(0, 0.3, epochs)
    test[-1] = end
    return History(
        train_loss=2.3 - 2.2 * shape * (end - 10) / 90, train_accuracy_percent=test + 1.0, test_accuracy_percent=test
    )


def make_probes(end: float, epochs: int, *, zero: bool) -> Probes:
    """Probes at steps 0, 1, 2, 4, ... 32 and at each epoch's end; a run that fails has its hidden1 dead from step
    32."""
    steps = np.unique([0, 1, 2, 3, 4, 8, 16, 32, *(STEPS_PER_EPOCH * np.arange(1, epochs + 1))])
    probe, parameter, layer = len(steps), len(PARAMETERS), len(LAYERS)
    norms = np.full((probe, parameter), 0.1)
    if zero:
        norms[:, :-1] = 0.0
    dead = np.zeros((probe, layer))
    if end < 15:
        dead[steps >= 32, 1] = UNITS[1]
    full = np.tile(np.array(UNITS, float), (probe, 1))
    return Probes(
        steps=steps,
        parameters=PARAMETERS,
        layers=LAYERS,
        units=UNITS,
        tolerance=1e-3,
        gradient_norm=norms,
        gradient_zero=(norms == 0).astype(float),
        distinct_units=np.ones_like(full) if zero else full,
        similar_groups=np.ones_like(full) if zero else full,
        dead_units=dead,
        signal_rms=np.full((probe, layer), 0.6),
        input_share=np.full((probe, layer), 0.5),
        unmoved_share=np.where(norms == 0, 1.0, 0.02),
    )


def make_run(condition: str, seed: int, *, epochs: int = 10, end: float | None = None) -> RunRecord:
    """One made-up run."""
    rng = np.random.default_rng([seed, sum(map(ord, condition))])
    end = final_accuracy(condition, rng) if end is None else end
    return RunRecord(
        condition=condition,
        seed=seed,
        key=f"{condition}-{seed}".encode().hex()[:16],
        status="finished",
        epochs=epochs,
        steps=epochs * STEPS_PER_EPOCH,
        n_test=180,
        class_shares=(0.117, *[0.883 / 9] * 9),
        first_step_loss=2.31,
        wall_s=0.1,
        history=make_history(end, epochs, rng),
        probes=make_probes(end, epochs, zero=condition.startswith("all-zero")),
    )


def make_weights(condition: str, seed: int, parameter: str, moment: str) -> np.ndarray | None:
    """Made-up values of a kept parameter."""
    if parameter not in SHAPES:
        return None
    spread = 0.125 if moment == "initial" else 0.4
    start = {"all-zero": 0.0, "all-one": 1.0}.get(condition)
    if moment == "initial" and start is not None:
        return np.full(SHAPES[parameter], start, np.float32)
    return np.random.default_rng([seed, 7]).uniform(-spread, spread, SHAPES[parameter]).astype(np.float32)


def make_results(
    *, seeds: int = 10, epochs: int = 10, conditions: tuple[str, ...] | None = None, **changes: object
) -> Results:
    """Results of the founding study (or some of its conditions) with made-up numbers."""
    study = founding_study(seeds=seeds, **changes)
    keys = tuple(study.conditions) if conditions is None else conditions
    data = DatasetSummary(
        name="digits",
        source="digits",
        n_samples=1797,
        n_features=64,
        class_values=tuple(range(10)),
        class_shares=(0.1,) * 10,
        image_shape=(8, 8),
        scale=16.0,
        sha256="0" * 64,
        licence="CC BY 4.0",
    )
    environment = Environment(
        started="2026-11-23T12:00:00+00:00",
        command="initscope run surprising-demo",
        initscope="0.1.0",
        engine=1,
        python="3.11.7",
        torch="2.13.0+cpu",
        numpy="2.4.6",
        platform="Linux x86_64",
        processor="made up",
        device="cpu",
        workers=2,
    )
    runs = tuple(make_run(key, seed, epochs=epochs) for key in keys for seed in range(seeds))
    return Results(study=study, data=data, runs=runs, weights=make_weights, environments=(environment,))
