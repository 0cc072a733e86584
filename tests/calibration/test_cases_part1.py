"""The tables of broken networks for symmetry, gradients, signal, residual streams and recurrences."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from calibration.case import Case
from calibration.cases import (
    broken_backward,
    broken_clones,
    broken_gradient,
    broken_recurrent,
    broken_residual,
    broken_series,
    broken_signal,
    broken_symmetry,
    broken_unused,
)
from calibration.training import call, clearly_worse, train
from initscope.modules.generators import seeded_generators

TABLES = (
    broken_symmetry,
    broken_clones,
    broken_series,
    broken_gradient,
    broken_unused,
    broken_signal,
    broken_backward,
    broken_residual,
    broken_recurrent,
)
CASES = {case.name: case for table in TABLES for case in table.CASES}
BROKEN = [case for case in CASES.values() if case.kind == "broken"]
RULES = {
    "interchangeable-units", "parallel-clones", "one-object-many-outputs", "clones-in-series", "gradient-blocked",
    "never-reached", "never-used", "frozen-random", "signal-fades", "signal-grows", "back-signal-fades",
    "back-signal-grows", "scheme-mismatch", "residual-unscaled", "recurrent-decay", "recurrent-blow-up",
}  # fmt: skip
NEIGHBOURS = {"initial-loss", "input-blind", "layer-dead", "saturated", "seed-inside", "sine-frequency"}
OTHER_PARAMETERS = {
    "template-layer-kept": "the twin does not keep the template",
    "heads-by-list-multiplication": "the twin has four heads",
    "three-ahead-one-head": "the twin has three heads",
    "mean-and-width-one-head": "the twin has two heads",
    "experts-by-list-multiplication": "the twin has eight experts",
}
PROVEN_HERE = (
    "adapters-parallel-copied", "adapter-both-factors-zero", "features-detached-for-a-plot", "second-encoder-lost",
    "hand-written-randn", "gradient-share-in-every-layer", "sine-frequency-not-divided", "widening-fans-swapped",
)  # fmt: skip


def _ids(cases: list[Case]) -> list[str]:
    return [case.name for case in cases]


def _built(case: Case, seed: int = 3) -> tuple[torch.nn.Module, object, object, object]:
    with seeded_generators(seed):
        return case.build()


def test_names_are_unique() -> None:
    assert len(CASES) == sum(len(table.CASES) for table in TABLES)


def test_every_rule_has_at_least_three_broken_networks_that_it_names_best() -> None:
    best = Counter(case.rules[0] for case in BROKEN)
    assert set(best) == RULES
    assert {rule: count for rule, count in best.items() if count < 3} == {}


def test_every_broken_case_says_its_rules_twin_and_fault() -> None:
    for case in BROKEN:
        assert case.rules and set(case.rules) <= RULES | NEIGHBOURS, case.name
        assert CASES[case.twin].kind == "twin" and not CASES[case.twin].rules, case.name
        assert case.why.endswith("."), case.name


def test_a_case_is_trained_or_says_why_not() -> None:
    for case in CASES.values():
        assert (case.training is None) == bool(case.why_no_training), case.name


def test_a_twin_is_trained_exactly_as_the_broken_network() -> None:
    for case in BROKEN:
        assert case.training is CASES[case.twin].training, case.name


@pytest.mark.parametrize("case", BROKEN, ids=_ids(BROKEN))
def test_a_twin_is_the_same_network_on_the_same_batch(case: Case) -> None:
    broken, inputs, targets, _ = _built(case)
    twin, twin_inputs, twin_targets, _ = _built(CASES[case.twin])
    for one, other in zip(tree_leaves((inputs, targets)), tree_leaves((twin_inputs, twin_targets)), strict=True):
        assert torch.equal(one, other)
    shapes = [[(name, tuple(p.shape)) for name, p in model.named_parameters()] for model in (broken, twin)]
    assert (shapes[0] == shapes[1]) == (case.name not in OTHER_PARAMETERS)


@pytest.mark.parametrize("case", list(CASES.values()), ids=_ids(list(CASES.values())))
def test_a_factory_draws_from_the_global_generators_and_runs(case: Case) -> None:
    model, inputs, targets, loss_fn = _built(case)
    again, *_ = _built(case)
    for one, other in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)
    loss = loss_fn(call(model, inputs), targets)  # type: ignore[operator]
    assert isinstance(loss, Tensor) and loss.dim() == 0 and loss.requires_grad
    assert sum(parameter.numel() for parameter in model.parameters()) <= 1_000_000


@pytest.mark.parametrize("case", BROKEN, ids=_ids(BROKEN))
def test_every_parameter_of_a_twin_gets_a_gradient_within_four_tiny_steps(case: Case) -> None:
    model, inputs, targets, loss_fn = _built(CASES[case.twin])
    waiting = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    for _ in range(4):
        model.zero_grad()
        loss_fn(call(model, inputs), targets).backward()  # type: ignore[operator]
        moved = {name: p.grad for name, p in model.named_parameters() if p.grad is not None and bool(p.grad.any())}
        waiting -= set(moved)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if name in moved:
                    parameter -= 0.01 * moved[name] / moved[name].abs().max()
    assert waiting == set()


@pytest.mark.slow
@pytest.mark.parametrize("name", PROVEN_HERE)
def test_a_broken_network_trains_clearly_worse_than_its_twin(name: str) -> None:
    case = CASES[name]
    verdict = clearly_worse(train(case), train(CASES[case.twin]))
    assert verdict.worse, verdict.reason
