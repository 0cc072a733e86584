"""tied-scale, bounded-logits, double-activation, loss-mismatch: what stands between the last layer and the loss."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from initscope.checker.rules.bounded_logits import BoundedLogits
from initscope.checker.rules.double_activation import DoubleActivation, lowest_loss
from initscope.checker.rules.loss_mismatch import LossMismatch
from initscope.checker.rules.tied_scale import TiedScale
from tests.check.rules.judging import alarms, assert_fix_ends, findings

X = torch.randn(32, 16, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(32) % 5
IDS = torch.randint(0, 40, (16, 12), generator=torch.Generator().manual_seed(1))


def _token_loss(output: Any, target: Tensor) -> Tensor:
    logits = output["logits"] if isinstance(output, dict) else output
    return functional.cross_entropy(logits.flatten(0, 1), target.flatten())


class Tied(nn.Module):
    """Reads and answers by one table."""

    def __init__(self, std: float, *, divide: float = 1.0, functional_: bool = False) -> None:
        super().__init__()
        self.table = nn.Embedding(40, 64)
        self.mix = nn.GRU(64, 64, batch_first=True)
        self.norm = nn.LayerNorm(64)
        self.out = nn.Linear(64, 40, bias=False)
        self.divide = divide
        self.functional = functional_
        nn.init.normal_(self.table.weight, std=std)
        self.out.weight = self.table.weight

    def forward(self, ids: Tensor) -> Tensor | dict[str, Tensor]:
        states = self.norm(self.mix(self.table(ids))[0])
        if self.functional:
            return {"logits": states @ self.table.weight.T}
        return self.out(states) / self.divide


@pytest.mark.parametrize("build", [lambda: Tied(1.0), lambda: Tied(1.0, functional_=True), lambda: Tied(0.45)])
def test_a_shared_table_that_is_too_large_for_an_output_is_told_and_the_fix_ends_it(
    build: Callable[[], nn.Module],
) -> None:
    assert_fix_ends(TiedScale, build, IDS, IDS.roll(-1, 1), _token_loss)


@pytest.mark.parametrize("build", [lambda: Tied(0.02), lambda: Tied(64**-0.5), lambda: Tied(1.0, divide=8.0)])
def test_small_tables_and_rescaled_logits_are_silent(build: Callable[[], nn.Module]) -> None:
    assert not findings(TiedScale, build, IDS, IDS.roll(-1, 1), _token_loss)


class Cosine(nn.Module):
    """A classifier by angles, written in one of five ways."""

    def __init__(self, scale: float, way: str = "linear", *, learn: bool = False) -> None:
        super().__init__()
        self.body, self.centres = nn.Linear(16, 32), nn.Parameter(torch.randn(50, 32))
        self.scale: Any = nn.Parameter(torch.tensor(scale)) if learn else scale
        self.way = way

    def forward(self, x: Tensor) -> Tensor:
        h = self.body(x)
        if self.way == "similarity":
            return self.scale * functional.cosine_similarity(h[:, None], self.centres[None], dim=-1)
        if self.way == "before":
            return functional.linear(self.scale * functional.normalize(h), functional.normalize(self.centres))
        if self.way == "both":
            return (self.scale * functional.normalize(h)) @ (2.0 * functional.normalize(self.centres)).T
        if self.way == "hand":
            h = h / h.norm(dim=1, keepdim=True)
            return self.scale * (h @ (self.centres / self.centres.norm(dim=1, keepdim=True)).T)
        return self.scale * functional.linear(functional.normalize(h), functional.normalize(self.centres))


def _squashed() -> nn.Module:
    return nn.Sequential(nn.Linear(16, 5), nn.Tanh())


@pytest.mark.parametrize("way", ["linear", "similarity", "hand"])
def test_cosines_without_a_scale_are_warned_of_however_they_are_written(way: str) -> None:
    (found,) = findings(BoundedLogits, lambda: Cosine(1.0, way), X, LABELS, functional.cross_entropy)
    assert found.severity == "warn"
    assert (
        found.message == "the logits of 50 classes are cosines times 1: the loss cannot fall below 2.93, 75% of chance"
    )


def test_a_tanh_and_a_scale_of_three_are_warned_of_and_the_floor_is_one() -> None:
    (found,) = findings(BoundedLogits, _squashed, X, LABELS, functional.cross_entropy)
    assert found.fix.startswith("remove the tanh in front of the loss")
    assert alarms(BoundedLogits, lambda: Cosine(3.0), X, LABELS, functional.cross_entropy)


def test_a_scale_before_the_product_counts() -> None:
    (found,) = findings(BoundedLogits, lambda: Cosine(3.0, "before"), X, LABELS, functional.cross_entropy)
    assert found.severity == "warn"
    assert found.evidence["scale"] == pytest.approx(3.0)
    (found,) = findings(BoundedLogits, lambda: Cosine(1.5, "both"), X, LABELS, functional.cross_entropy)
    assert found.evidence["scale"] == pytest.approx(3.0)
    assert not findings(BoundedLogits, lambda: Cosine(16.0, "before"), X, LABELS, functional.cross_entropy)
    assert not findings(BoundedLogits, lambda: Cosine(8.0, "both"), X, LABELS, functional.cross_entropy)
    build = partial(Cosine, 3.0, "before", learn=True)
    (found,) = findings(BoundedLogits, build, X, LABELS, functional.cross_entropy)
    assert (found.severity, found.evidence["scale"]) == ("info", pytest.approx(3.0))


def test_a_learnable_scale_is_an_info_and_a_large_one_nothing() -> None:
    (found,) = findings(BoundedLogits, lambda: Cosine(1.0, learn=True), X, LABELS, functional.cross_entropy)
    assert found.severity == "info"
    assert not findings(BoundedLogits, lambda: Cosine(16.0), X, LABELS, functional.cross_entropy)


def _pairs(temperature: float) -> Callable[[Tensor, Tensor], Tensor]:
    def loss(output: Tensor, target: Tensor) -> Tensor:
        unit = functional.normalize(output, dim=1)
        scores = (unit @ unit.T / temperature).masked_fill(torch.eye(len(unit), dtype=torch.bool), -1e9)
        return functional.cross_entropy(scores, torch.arange(len(unit)).roll(16))

    return loss


def test_a_contrastive_loss_needs_some_temperature_and_half_is_one() -> None:
    build = lambda: nn.Linear(16, 8)  # noqa: E731  # a factory of one line
    assert alarms(BoundedLogits, build, X, LABELS, _pairs(1.0))
    assert not findings(BoundedLogits, build, X, LABELS, _pairs(0.5))


class Shares(nn.Module):
    """A softmax written out, over channels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 5, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv(x)
        return h.exp() / h.exp().sum(1, keepdim=True)


BINARY = functional.binary_cross_entropy_with_logits


@pytest.mark.parametrize(
    ("build", "inputs", "targets", "loss"),
    [
        (lambda: nn.Sequential(nn.Linear(16, 5), nn.Softmax(1)), X, LABELS, functional.cross_entropy),
        (lambda: nn.Linear(16, 5), X, LABELS, lambda out, aim: functional.cross_entropy(out.softmax(-1), aim)),
        (lambda: nn.Sequential(nn.Linear(16, 5), nn.Sigmoid()), X, LABELS, functional.cross_entropy),
        (lambda: nn.Sequential(nn.Linear(16, 1), nn.Sigmoid()), X, X[:, :1].gt(0).float(), BINARY),
        (Shares, torch.randn(4, 2, 6, 6), torch.randint(0, 5, (4, 6, 6)), functional.cross_entropy),
    ],
)
def test_a_second_activation_is_an_error(
    build: Callable[[], nn.Module], inputs: Tensor, targets: Tensor, loss: Callable[[Any, Any], Tensor]
) -> None:
    (found,) = findings(DoubleActivation, build, inputs, targets, loss)
    assert found.severity == "error"


def test_the_message_of_a_second_softmax_gives_the_floor() -> None:
    build = lambda: nn.Sequential(nn.Linear(16, 5), nn.Softmax(1))  # noqa: E731  # a factory of one line
    (found,) = findings(DoubleActivation, build, X, LABELS, functional.cross_entropy)
    assert found.message == (
        "cross_entropy is given the result of a softmax: it applies its own, so the loss of 1.61 at chance "
        "cannot fall below 0.905"
    )
    assert found.where == ("1",)


def test_the_floor_of_a_second_softmax_is_what_the_best_output_gets() -> None:
    for classes in (2, 5, 50):
        best = functional.one_hot(torch.tensor([0]), classes).float()
        assert lowest_loss(classes, 1.0) == pytest.approx(
            float(functional.cross_entropy(best, torch.tensor([0]))), rel=1e-6
        )


@pytest.mark.parametrize(
    ("build", "loss"),
    [
        (lambda: nn.Linear(16, 5), functional.cross_entropy),
        (lambda: nn.Sequential(nn.Linear(16, 5), nn.LogSoftmax(1)), functional.nll_loss),
        (lambda: nn.Sequential(nn.Linear(16, 5), nn.Softmax(1)), lambda out, aim: functional.nll_loss(out.log(), aim)),
        (lambda: nn.Linear(16, 5), lambda out, aim: functional.cross_entropy(out / 0.1, aim)),
    ],
)
def test_logits_and_log_probabilities_are_silent(
    build: Callable[[], nn.Module], loss: Callable[[Any, Any], Tensor]
) -> None:
    assert not findings(DoubleActivation, build, X, LABELS, loss)


def test_a_log_softmax_before_a_cross_entropy_is_an_info() -> None:
    build = lambda: nn.Sequential(nn.Linear(16, 5), nn.LogSoftmax(1))  # noqa: E731  # a factory of one line
    (found,) = findings(DoubleActivation, build, X, LABELS, functional.cross_entropy)
    assert found.severity == "info"


def _ending(last: Callable[[Tensor], Tensor]) -> Callable[[], nn.Module]:
    class Ended(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = nn.Linear(16, 32), nn.Linear(32, 5)

        def forward(self, x: Tensor) -> Tensor:
            return last(self.head(torch.relu(self.body(x))))

    return Ended


def _softmax(x: Tensor) -> Tensor:
    return x.softmax(1)


def test_nll_of_logits_and_of_probabilities_are_errors() -> None:
    (raw,) = findings(LossMismatch, _ending(torch.neg), X, LABELS, nn.NLLLoss())
    assert (raw.severity, raw.where) == ("error", ("head.weight", "head.bias"))
    assert raw.message == (
        f"nll_loss is given numbers up to {raw.evidence['highest']:.3g}, which no log-probability reaches: it falls "
        "without end as all logits grow, and never compares the classes"
    )
    (shares,) = findings(LossMismatch, _ending(_softmax), X, LABELS, functional.nll_loss)
    assert shares.message.startswith("nll_loss is given probabilities, not their logarithms: ")
    assert shares.fix.startswith("use log_softmax in place of softmax")


@pytest.mark.parametrize(
    "last",
    [partial(torch.log_softmax, dim=1), lambda x: x.softmax(1).log(), functional.logsigmoid],
    ids=["log_softmax", "log of softmax", "log of sigmoid"],
)
def test_nll_of_logarithms_is_silent(last: Callable[[Tensor], Tensor]) -> None:
    assert not findings(LossMismatch, _ending(last), X, LABELS, nn.NLLLoss())


def test_cross_entropy_of_logits_mends_a_loss_that_does_not_fit() -> None:
    assert not findings(LossMismatch, _ending(torch.neg), X, LABELS, nn.CrossEntropyLoss())
