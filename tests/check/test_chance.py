"""The loss of the best constant output against brute force, and what comes with it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from initscope.checker.evidence import Absent, Chance, LossKind
from initscope.checker.instruments.chance import measure_chance

GENERATOR = torch.Generator().manual_seed(0)
N, C = 48, 5
CLASSES = torch.randint(0, C, (N,), generator=GENERATOR).clamp_max(3)  # the last class never occurs
PIXELS = torch.randint(0, C, (4, 8, 8), generator=GENERATOR)
WORDS = torch.randint(0, 20, (4, 16), generator=GENERATOR)
BITS = (torch.rand(N, 3, generator=GENERATOR) > 0.8).float()
REAL = torch.randn(N, 3, generator=GENERATOR) * 50 + 7
WEIGHTS = torch.tensor([1.0, 2.0, 0.5, 3.0, 1.0])
IGNORED = CLASSES.masked_fill(torch.arange(N) < 20, -100)


def noise(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


SHARES = noise(N, C).softmax(1)


def brute(
    output: Tensor, loss: Callable[[Tensor], Tensor], axis: int | None, link: Callable[[Tensor], Tensor]
) -> float:
    """The minimum over constants, by a long fit in float64."""
    vector = torch.zeros(1 if axis is None else output.shape[axis], dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS(
        [vector], max_iter=300, line_search_fn="strong_wolfe", tolerance_grad=1e-12, tolerance_change=1e-15
    )

    def closure() -> Tensor:
        optimiser.zero_grad()
        shape = [1] * output.ndim
        if axis is not None:
            shape[axis] = -1
        value = loss(link(vector).reshape(shape).expand(output.shape))
        value.backward()
        return value

    optimiser.step(closure)
    return float(closure().detach())


def assert_chance(
    output: Tensor, loss: Callable[[Tensor], Tensor], kind: LossKind, targets: Tensor, *,
    axis: int | None = 1, link: Callable[[Tensor], Tensor] = lambda vector: vector, calls: int = 32,
) -> Chance:  # fmt: skip
    """Fails unless the chance is that of brute force, found within so many calls of the loss."""
    asked: list[Tensor] = []
    found = measure_chance(output, lambda one: asked.append(one) or loss(one), kind, targets)  # type: ignore[func-returns-value]
    assert isinstance(found, Chance)
    assert found.best == pytest.approx(brute(output, loss, axis, link), rel=2e-5, abs=1e-6)
    assert len(asked) <= calls
    return found


def ce(output: Tensor, target: Tensor = CLASSES, **options: Any) -> Tensor:
    options = {key: value.to(output.dtype) if isinstance(value, Tensor) else value for key, value in options.items()}
    return functional.cross_entropy(output, target, **options)


def test_the_chance_of_cross_entropy_is_the_entropy_of_the_labels() -> None:
    found = assert_chance(noise(N, C), ce, "cross_entropy", CLASSES)
    counts = np.bincount(CLASSES.numpy(), minlength=C).astype(float)
    shares = counts[counts > 0] / N
    assert found.best == pytest.approx(-(shares * np.log(shares)).sum(), rel=1e-5)
    assert found.label_entropy == pytest.approx(-(shares * np.log(shares)).sum())
    assert found.zero == pytest.approx(math.log(C))
    assert (found.n_targets, found.classes) == (N, C)
    assert found.label_counts is not None
    np.testing.assert_array_equal(found.label_counts, counts)
    predicted = noise(N, C).softmax(1)
    assert found.accuracy == pytest.approx(float((predicted.argmax(1) == CLASSES).double().mean()))
    assert found.confidence == pytest.approx(float(predicted.max(1).values.mean()), rel=1e-5)


@pytest.mark.parametrize(
    "loss",
    [
        lambda o: ce(o, weight=WEIGHTS),
        lambda o: ce(o, label_smoothing=0.1),
        lambda o: ce(o, weight=WEIGHTS, label_smoothing=0.1),
        lambda o: ce(o, reduction="sum"),
        lambda o: ce(o, IGNORED),
        lambda o: ce(o, SHARES.to(o.dtype)),
        lambda o: 3 * ce(o) + 1,
    ],
    ids=["weights", "smoothing", "both", "sum", "ignored", "soft", "shifted"],
)
def test_the_chance_of_any_cross_entropy_is_that_of_brute_force(loss: Callable[[Tensor], Tensor]) -> None:
    assert_chance(noise(N, C), loss, "cross_entropy", CLASSES, calls=80)


def test_ignored_labels_are_not_counted_and_soft_ones_have_no_accuracy() -> None:
    ignoring = measure_chance(noise(N, C), lambda o: ce(o, IGNORED), "cross_entropy", IGNORED)
    soft = measure_chance(noise(N, C), lambda o: ce(o, SHARES), "cross_entropy", SHARES)
    assert isinstance(ignoring, Chance)
    assert isinstance(soft, Chance)
    assert ignoring.n_targets == N - 20
    assert (soft.label_counts, math.isnan(soft.accuracy), math.isnan(soft.label_entropy)) == (None, True, True)


def test_a_segmenter_and_a_language_model_that_shifts_have_one_vector_over_classes() -> None:
    assert_chance(noise(4, C, 8, 8), lambda o: ce(o, PIXELS), "cross_entropy", PIXELS)
    found = assert_chance(
        noise(4, 16, 20),
        lambda o: ce(o[:, :-1].reshape(-1, 20), WORDS[:, 1:].reshape(-1)),
        "cross_entropy",
        WORDS,
        axis=2,
    )
    assert (found.n_targets, found.classes, len(found.vector)) == (60, 20, 20)
    right = noise(4, 16, 20)[:, :-1].argmax(-1) == WORDS[:, 1:]
    assert found.accuracy == pytest.approx(float(right.double().mean()))


def test_constants_of_log_probabilities_stay_log_probabilities() -> None:
    found = assert_chance(
        noise(N, C).log_softmax(1),
        lambda o: functional.nll_loss(o, CLASSES),
        "nll",
        CLASSES,
        link=lambda v: v.log_softmax(0),
    )
    assert found.zero == pytest.approx(math.log(C))
    assert_chance(
        noise(N, C).softmax(1), lambda o: -o.log()[torch.arange(N), CLASSES].mean(), "other", CLASSES,
        link=lambda v: v.softmax(0),
    )  # fmt: skip


def test_binary_cross_entropy_is_fitted_unit_by_unit_with_and_without_logits() -> None:
    positive = torch.tensor([1.0, 5.0, 0.2])

    def weighted(output: Tensor) -> Tensor:
        return functional.binary_cross_entropy_with_logits(output, BITS.to(output), pos_weight=positive.to(output))

    assert_chance(noise(N, 3), weighted, "bce_logits", BITS)
    single = BITS[:, 0]
    found = assert_chance(
        noise(N),
        lambda o: functional.binary_cross_entropy_with_logits(o, single.to(o)),
        "bce_logits",
        single,
        axis=None,
    )
    assert found.label_counts is not None
    assert found.label_counts.tolist() == [float((single == 0).sum()), float((single == 1).sum())]
    assert found.classes == 2
    inside = assert_chance(
        noise(N, 1).sigmoid(), lambda o: functional.binary_cross_entropy(o[:, 0], single.to(o)), "bce", single,
        link=torch.sigmoid,
    )  # fmt: skip
    assert inside.best == pytest.approx(found.best, rel=1e-5)
    assert inside.zero == pytest.approx(math.log(2))


@pytest.mark.parametrize("name", ["mse_loss", "l1_loss", "huber_loss", "smooth_l1_loss"])
def test_the_chance_of_regression_is_that_of_brute_force(name: str) -> None:
    loss = getattr(functional, name)
    kind: LossKind = "mse" if name == "mse_loss" else "l1"
    found = assert_chance(noise(N, 3), lambda o: loss(o, REAL.to(o)), kind, REAL, calls=80)
    assert math.isnan(found.accuracy)
    if kind == "mse":
        assert found.vector == pytest.approx(REAL.mean(0).numpy(), rel=1e-4)


def test_complex_outputs_have_a_complex_constant() -> None:
    target = torch.complex(noise(8, 3), noise(8, 3).flip(0))
    found = measure_chance(target * 2, lambda o: (o - target).abs().square().mean(), "mse", target)
    assert isinstance(found, Chance)
    assert found.best == pytest.approx(float((target - target.mean(0)).abs().square().mean()), rel=1e-5)


def test_half_precision_outputs_are_measured_in_float32() -> None:
    wide = measure_chance(noise(N, C), ce, "cross_entropy", CLASSES)
    half = measure_chance(noise(N, C).half(), ce, "cross_entropy", CLASSES)
    assert isinstance(wide, Chance)
    assert isinstance(half, Chance)
    assert half.best == wide.best


def test_two_heads_get_a_constant_each_and_other_mixtures_are_left_out() -> None:
    heads = (noise(N, C), noise(N, C).flip(0))
    found = measure_chance(heads, lambda o: ce(o[0]) + 0.3 * ce(o[1]), "cross_entropy", CLASSES)
    single = measure_chance(heads[0], ce, "cross_entropy", CLASSES)
    assert isinstance(found, Chance)
    assert isinstance(single, Chance)
    assert found.best == pytest.approx(1.3 * single.best, rel=1e-4)
    mixed = measure_chance(heads, lambda o: (o[0] * o[1]).mean(), "other", None)
    assert isinstance(mixed, Absent)
    assert mixed.reason == "the loss puts several outputs together in a way that was not recognised"


@pytest.mark.parametrize(
    ("output", "loss", "kind", "reason"),
    [
        (REAL, lambda o: -o[:, 0].mean(), "other", "the loss has no least constant output: it falls without end"),
        (noise(N, C), ce, "stand-in", "the stand-in loss has no chance level: its targets are made up"),
        ("text", ce, "other", "the model returned no floating-point tensor that a constant could replace"),
        ({"loss": torch.ones(()), "logits": REAL}, lambda o: o["loss"], "other", "the model computes its loss itself"),
        (noise(N, C), lambda o: ce(o, CLASSES[:3]), "cross_entropy", None),
    ],
    ids=["unbounded", "stand-in", "text", "own", "raises"],
)  # fmt: skip
def test_where_there_is_no_chance_the_reason_is_said(
    output: Any, loss: Any, kind: LossKind, reason: str | None
) -> None:
    found = measure_chance(output, loss, kind, None)
    assert isinstance(found, Absent)
    assert found.reason == reason or (
        reason is None and found.reason.startswith("the loss of a constant output could not be taken: ValueError")
    )


def test_the_standard_error_is_that_of_the_difference_over_samples() -> None:
    """With as many groups as samples the estimate is exact."""
    output, labels = noise(16, C), CLASSES[:16]
    found = measure_chance(output, lambda o: ce(o, labels), "cross_entropy", labels)
    assert isinstance(found, Chance)
    constant = torch.tensor(found.vector, dtype=torch.float32).expand(16, C)
    each = ce(output, labels, reduction="none") - ce(constant, labels, reduction="none")
    assert found.standard_error == pytest.approx(float(each.std() / 4), rel=1e-3)


def test_the_standard_error_of_a_loss_that_is_no_sum_over_samples_is_not_given() -> None:
    found = measure_chance(noise(N, C), lambda o: ce(o) + o.std(dim=0).sum(), "other", CLASSES)
    assert isinstance(found, Chance)
    assert math.isnan(found.standard_error)
