"""The table of healthy designs and architectures: complete, buildable, learnable."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from calibration.case import Case
from calibration.jobs import SEEDS
from calibration.proof import learnt
from calibration.table import all_cases
from calibration.training import call, train
from initscope.modules.generators import seeded_generators

HEALTHY = tuple(case for case in all_cases() if case.kind == "healthy")
ARCHITECTURES = tuple(case for case in all_cases() if case.kind == "architecture")
every_design = pytest.mark.parametrize("case", HEALTHY, ids=lambda case: case.name)
every_architecture = pytest.mark.parametrize("case", ARCHITECTURES, ids=lambda case: case.name)


def assert_starts(case: Case) -> None:
    """Fails where a case does not build, its loss is no finite scalar, or no gradient arrives at all."""
    with seeded_generators(0):
        model, inputs, targets, loss_fn = case.build()
        model.train()
        output = call(model, inputs)
        loss = output.loss if loss_fn is None else loss_fn(output, targets)
        loss.backward()
    assert loss.dim() == 0
    assert math.isfinite(float(loss.detach()))
    assert any(parameter.grad is not None for parameter in model.parameters())


def test_there_are_at_least_seventy_healthy_designs_and_seventy_architectures() -> None:
    assert len(HEALTHY) >= 70
    assert len(ARCHITECTURES) >= 70


def test_every_healthy_design_is_trained_and_says_in_one_sentence_why_it_is_sound() -> None:
    assert [case.name for case in HEALTHY if case.training is None] == []
    assert [case.name for case in HEALTHY if not case.why.endswith(".") or ". " in case.why] == []


@every_design
def test_a_healthy_design_is_small_and_starts_with_a_finite_loss_and_a_gradient(case: Case) -> None:
    assert_starts(case)
    with seeded_generators(0):
        model = case.build()[0]
    assert sum(parameter.numel() for parameter in model.parameters()) <= 1_000_000


@every_design
def test_batches_of_a_healthy_design_depend_on_their_number_alone_and_leave_the_global_generator(case: Case) -> None:
    assert case.training is not None and case.training.batches is not None
    before = torch.get_rng_state()
    first, again, other = (torch.utils._pytree.tree_leaves(case.training.batches(step)) for step in (0, 0, 1))
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(one, two) for one, two in zip(first, again, strict=True))
    assert any(not torch.equal(one, two) for one, two in zip(first, other, strict=True))


@pytest.mark.slow
@every_architecture
def test_an_architecture_starts_with_a_finite_loss_and_a_gradient(case: Case) -> None:
    assert_starts(case)


@pytest.mark.slow
@pytest.mark.parametrize("case", HEALTHY[::24], ids=lambda case: case.name)
def test_a_healthy_design_learns_its_task(case: Case) -> None:
    assert learnt(train(case, seeds=SEEDS))


def test_a_network_that_cannot_learn_is_not_taken_for_healthy() -> None:
    design = HEALTHY[0]

    def blocked() -> tuple[nn.Module, object, object, object]:
        model, *rest = design.build()
        for parameter in model.parameters():
            nn.init.zeros_(parameter)
        return model, *rest

    case = Case(name="blocked", kind="healthy", family="mlp", build=blocked, why="All zeros.", training=design.training)
    assert not learnt(train(case, seeds=1))
