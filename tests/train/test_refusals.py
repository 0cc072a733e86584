"""What an ensemble cannot train is refused before training, by name."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from initscope.base.errors import UsageError
from initscope.records.study import TrainSpec
from initscope.train.optimisers import ELEMENTWISE, build_optimiser, check_optimiser
from tests.support.problems import problem

LEGAL = "adadelta, adagrad, adam, adamax, adamw, asgd, nadam, radam, rmsprop, rprop, sgd"
SURVIVES = (
    "  legal: a module that survives torch.func.vmap: no .item(), no branching on tensor values, "
    "no in-place change of plain tensors\n"
    "  do:    mend the forward pass, or train it run by run outside initscope"
)


class Awkward(nn.Module):
    """A linear layer with an awkward forward pass."""

    def __init__(self, in_features: int, out_features: int, kind: str) -> None:
        super().__init__()
        self.layer, self.kind = nn.Linear(in_features, out_features), kind
        self.memory = nn.LSTM(in_features, in_features, num_layers=2, dropout=0.5)

    def forward(self, inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        if self.kind == "lstm dropout":
            return self.layer(self.memory(inputs)[0])
        scores = self.layer(inputs)
        if self.kind == "item":
            return scores / self.layer.weight.norm().item()
        if self.kind == "branch":
            return scores if scores.mean() > 0 else -scores
        if self.kind == "vector":
            return scores[:, 0]
        if self.kind == "three axes":
            return scores[:, None]
        if self.kind == "tuple":
            return (scores,)
        if self.kind == "rows":
            return scores[1:]
        if self.kind == "too few classes":
            return scores[:, 1:]
        if self.kind == "raises":
            raise RuntimeError("no such thing\nand more of it")
        return torch.cat([scores, scores], dim=1)


def awkward(*, in_features: int, out_features: int, kind: str) -> nn.Module:
    """A factory."""
    return Awkward(in_features, out_features, kind)


def train_awkward(kind: str) -> None:
    """Trains the awkward model of a kind."""
    model = {"factory": "tests.train.test_refusals:awkward", "options": {"kind": kind}}
    made = problem(model=model, conditions={"default": {}}, epochs=1)
    made.ensemble(made.identities(seeds=(0,)))


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("item", "its forward pass reads a tensor's value, by .item() or by a branch that depends on it"),
        ("branch", "its forward pass reads a tensor's value, by .item() or by a branch that depends on it"),
        ("lstm dropout", "its forward pass draws random numbers by other means than dropout's functions"),
        ("raises", "no such thing"),
    ],
)
def test_a_model_that_does_not_survive_vmap_is_refused_with_its_name_and_the_reason(kind: str, reason: str) -> None:
    with pytest.raises(UsageError) as caught:
        train_awkward(kind)
    first = f"this model cannot be trained as an ensemble: {reason}"
    assert str(caught.value) == f"{first}\n  where: model Awkward\n{SURVIVES}"


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        ("vector", "(20,)"),
        ("three axes", "(20, 1, 4)"),
        ("tuple", "tuple"),
        ("rows", "(19, 4)"),
        ("too few classes", "(20, 3)"),
    ],
)
def test_an_output_that_is_no_matrix_of_class_scores_is_refused(kind: str, found: str) -> None:
    with pytest.raises(UsageError) as caught:
        train_awkward(kind)
    assert str(caught.value) == (
        "the model's output is not a matrix of class scores\n"
        f"  got:   {found}\n"
        "  legal: a tensor of shape (samples, classes), here (20, 4)"
    )


def test_more_scores_than_classes_are_allowed() -> None:
    train_awkward("twice the classes")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("lbfgs", "its step depends on all parameters at once (line search and curvature over the whole vector)"),
        ("LBFGS", "its step depends on all parameters at once (line search and curvature over the whole vector)"),
        ("adafactor", "its second moments are row and column means of a matrix, so runs would mix"),
        ("muon", "it orthogonalises whole matrices, so stacked runs would be read as one tensor"),
        ("sparseadam", "it needs sparse gradients, and an ensemble's are dense"),
    ],
)
def test_an_optimiser_whose_step_mixes_entries_is_refused_with_the_reason(name: str, reason: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_optimiser(TrainSpec(optimizer=name))
    assert str(caught.value) == (
        f"the optimiser {name!r} cannot train an ensemble: {reason}\n  where: train.optimizer\n  legal: {LEGAL}"
    )


@pytest.mark.parametrize(("name", "do"), [("adm", "\n  do:    did you mean 'adam'?"), ("qqq", "")])
def test_an_unknown_optimiser_is_refused_with_the_nearest_name(name: str, do: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_optimiser(TrainSpec(optimizer=name))
    assert str(caught.value) == f"unknown optimiser {name!r}\n  where: train.optimizer\n  legal: {LEGAL}{do}"


def test_an_option_an_optimiser_lacks_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(UsageError) as caught:
        check_optimiser(TrainSpec(optimizer="rprop", optimizer_options={"eta": [0.5, 1.2]}))
    assert str(caught.value) == (
        "the optimiser rprop has no option 'eta'\n"
        "  where: train.optimizer_options\n"
        "  legal: etas, step_sizes\n"
        "  do:    did you mean 'etas'?"
    )


def test_a_value_that_torch_refuses_is_refused_in_its_words() -> None:
    spec = TrainSpec(optimizer="sgd", optimizer_options={"momentum": -1.0})
    with pytest.raises(UsageError) as caught:
        build_optimiser(spec, [torch.zeros(64)])
    assert str(caught.value) == (
        "torch.optim refuses these options: Invalid momentum value: -1.0\n"
        "  where: train.optimizer_options\n  got:   momentum=-1.0"
    )


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_every_allowed_optimiser_updates_an_entry_from_that_entry_alone(name: str) -> None:
    generator = torch.Generator().manual_seed(0)
    start, slopes = torch.randn(3, 64, generator=generator), torch.randn(5, 3, 64, generator=generator)

    def after(rows: slice) -> Tensor:
        values = start[rows].clone().requires_grad_()
        optimiser = build_optimiser(TrainSpec(optimizer=name), [values])
        for slope in slopes:
            values.grad = slope[rows].clone()
            optimiser.step()
        return values.detach()

    whole = after(slice(0, 3))
    assert not torch.equal(whole, start)
    for row in range(3):
        assert torch.equal(after(slice(row, row + 1))[0], whole[row])
