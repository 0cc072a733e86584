"""The tables of faults in units, losses, memory, writes and special networks: complete, true to their words, proven."""

from __future__ import annotations

import math
import random
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from calibration.case import Case
from calibration.cases import (
    faulty_head,
    faulty_identity,
    faulty_loss,
    faulty_memory,
    faulty_mismatch,
    faulty_precision,
    faulty_range,
    faulty_special,
    faulty_units,
    faulty_writes,
)
from calibration.proof import learnt
from calibration.training import call, clearly_worse, train
from initscope.modules.generators import seeded_generators

FILES = (
    *(faulty_units, faulty_range, faulty_loss, faulty_head, faulty_mismatch, faulty_memory, faulty_precision),
    *(faulty_writes, faulty_identity, faulty_special),
)
CASES: tuple[Case, ...] = tuple(case for file in FILES for case in file.CASES)
BY_NAME = {case.name: case for case in CASES}
BROKEN = tuple(case for case in CASES if case.kind == "broken")
TWINS = tuple(case for case in CASES if case.kind == "twin")
RULES = frozenset(
    {
        "layer-dead",
        "dead-units",
        "saturated",
        "input-scale",
        "initial-loss",
        "confident-and-wrong",
        "prior-bias",
        "tied-scale",
        "bounded-logits",
        "double-activation",
        "loss-mismatch",
        "input-blind",
        "uninitialised",
        "non-finite",
        "dtype-headroom",
        "outlier-weights",
        "init-lost",
        "init-skipped",
        "seed-inside",
        "tie-broken",
        "ill-conditioned",
        "sine-frequency",
        "variance-head",
    }
)
OTHER_RULES = frozenset(
    {
        "signal-fades",
        "signal-grows",
        "back-signal-fades",
        "gradient-blocked",
        "residual-unscaled",
        "recurrent-decay",
        "recurrent-blow-up",
        "parallel-clones",
    }
)
PROVEN = tuple(case for case in BROKEN if case.training is not None)
PROOFS = tuple({case.rules[0]: case for case in PROVEN}.values())[::2]
"""One for every second rule; the calibration itself trains them all."""


def named(case: Case) -> str:
    return case.name


@pytest.fixture(autouse=True)
def _generators_of_others() -> Iterator[None]:
    """Some of these networks seed the generators of Python and numpy: that is their fault, and stays in here."""
    own, numpys = random.getstate(), np.random.get_state()  # noqa: NPY002 - put back as it was
    yield
    random.setstate(own)
    np.random.set_state(numpys)  # noqa: NPY002 - put back as it was


def started(case: Case, seed: int = 0) -> tuple[nn.Module, Any]:
    """Returns a case's model after one backward pass, and the loss."""
    with seeded_generators(seed):
        model, inputs, targets, loss_fn = case.build()
        loss = loss_fn(call(model, inputs), targets)
        loss.backward()
    return model, loss.detach()


def poisoned(case: Case) -> list[str]:
    """Returns the parameters and buffers that are NaN where torch fills fresh memory with NaN."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        with seeded_generators(0):
            model = case.build()[0]
    finally:
        torch.use_deterministic_algorithms(before)
    return [name for name, tensor in model.state_dict().items() if bool(tensor.isnan().any())]


def values(case: Case, seed: int) -> list[torch.Tensor]:
    with seeded_generators(seed):
        return [parameter.detach().clone() for parameter in case.build()[0].parameters() if parameter.dim() > 1]


def test_every_rule_has_at_least_three_broken_networks_of_which_it_names_the_best_cause() -> None:
    counts = Counter(case.rules[0] for case in BROKEN)
    assert set(counts) == RULES
    assert {rule: count for rule, count in counts.items() if count < 3} == {}


def test_every_broken_network_has_its_twin_and_every_twin_one_broken_network() -> None:
    assert [(case.twin, case.family) for case in BROKEN] == [(twin.name, twin.family) for twin in TWINS]
    assert len(BY_NAME) == len(CASES) == len(BROKEN) + len(TWINS)


@pytest.mark.parametrize("case", CASES, ids=named)
def test_a_case_is_described_in_full(case: Case) -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", case.name)
    assert case.why.endswith(".") and len(case.why) > 15
    assert (case.training is None) == bool(case.why_no_training)
    assert set(case.rules) <= RULES | OTHER_RULES and bool(case.rules) == (case.kind == "broken")


@pytest.mark.parametrize("case", CASES, ids=named)
def test_a_case_runs_backwards_from_a_scalar_loss_and_is_small(case: Case) -> None:
    model, loss = started(case)
    assert loss.shape == () and loss.is_floating_point()
    assert sum(parameter.numel() for parameter in model.parameters()) < 1_000_000


@pytest.mark.parametrize("case", TWINS, ids=named)
def test_a_twin_starts_finite_in_weights_loss_and_gradients(case: Case) -> None:
    model, loss = started(case)
    assert math.isfinite(float(loss))
    for parameter in model.parameters():
        assert parameter.isfinite().all()
        assert parameter.grad is not None and parameter.grad.isfinite().all()


@pytest.mark.parametrize("case", [case for case in CASES if case.name != "non-finite-constant-column"], ids=named)
def test_only_uninitialised_networks_keep_what_was_in_memory(case: Case) -> None:
    assert bool(poisoned(case)) == ("uninitialised" in case.rules)


@pytest.mark.parametrize("case", [case for case in CASES if "uninitialised" not in case.rules], ids=named)
def test_only_networks_that_seed_inside_are_equal_under_two_seeds(case: Case) -> None:
    equal = all(torch.equal(one, two) for one, two in zip(values(case, 0), values(case, 1), strict=True))
    assert equal == ("seed-inside" in case.rules)


@pytest.mark.parametrize("case", [case for case in BROKEN if case.rules[0] == "non-finite"], ids=named)
def test_a_network_that_is_called_non_finite_is(case: Case) -> None:
    model, loss = started(case)
    assert not (math.isfinite(float(loss)) and all(bool(p.isfinite().all()) for p in model.parameters()))


@pytest.mark.slow
@pytest.mark.parametrize("case", PROOFS, ids=named)
def test_a_broken_network_trains_clearly_worse_than_its_twin(case: Case) -> None:
    twins = train(BY_NAME[case.twin])
    verdict = clearly_worse(train(case), twins)
    assert verdict, verdict.reason
    assert learnt(twins)


def test_most_labels_are_proven_by_training() -> None:
    assert len(PROVEN) >= 0.6 * len(BROKEN)
