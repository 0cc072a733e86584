"""The founding protocol the way the original runs it: a DataLoader of single samples, one run at a time."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from initscope.records.dataset import Dataset


class Network(nn.Module):
    """784 -> 64 -> 32 -> 32 -> 10 with ReLU between, in plain PyTorch."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.input = nn.Linear(in_features, 64)
        self.hidden1 = nn.Linear(64, 32)
        self.hidden2 = nn.Linear(32, 32)
        self.output = nn.Linear(32, out_features)

    def forward(self, inputs: Tensor) -> Tensor:
        """Returns the logits."""
        values = torch.relu(self.input(inputs))
        values = torch.relu(self.hidden1(values))
        values = torch.relu(self.hidden2(values))
        return self.output(values)


def _weights(value: float) -> Callable[[nn.Module], None]:
    def fill(net: nn.Module) -> None:
        for name, parameter in net.named_parameters():
            if name.endswith("weight"):
                nn.init.constant_(parameter, value)

    return fill


def _biases(value: float) -> Callable[[nn.Module], None]:
    def fill(net: nn.Module) -> None:
        for name, parameter in net.named_parameters():
            if name.endswith("bias"):
                nn.init.constant_(parameter, value)

    return fill


CONDITIONS: dict[str, tuple[Callable[[nn.Module], None], ...]] = {
    "default": (),
    "hidden1-weight-zero": (lambda net: nn.init.zeros_(net.hidden1.weight),),  # type: ignore[arg-type, union-attr, list-item]  # Network's own layer
    "all-zero": (_weights(0.0), _biases(0.0)),
    "all-one": (_weights(1.0), _biases(1.0)),
    "weights-one-biases-zero": (_weights(1.0), _biases(0.0)),
    "weights-zero-biases-default": (_weights(0.0),),
    "weights-one-biases-default": (_weights(1.0),),
    "biases-zero": (_biases(0.0),),
}
"""Condition -> what is overwritten in a fresh network; written a second time on purpose, apart from the package."""


def train_once(data: Dataset, condition: str, *, seed: int, epochs: int = 10) -> tuple[float, float]:
    """Returns (final test accuracy in percent, seconds) of one run trained as the original trains it.

    Torch's own thread count, torch's own global generator seeded with `seed`; the split is drawn from it too.
    """
    torch.manual_seed(seed)
    inputs, labels = torch.from_numpy(data.inputs), torch.from_numpy(data.labels)
    order = torch.randperm(len(labels))
    held_out = len(labels) // 10
    test, rest = order[:held_out], order[held_out:]
    net = Network(data.n_features, data.n_classes)
    for overwrite in CONDITIONS[condition]:
        overwrite(net)
    loader = DataLoader(TensorDataset(inputs[rest], labels[rest]), batch_size=32, shuffle=True, drop_last=True)
    optimiser, loss_function = torch.optim.Adam(net.parameters(), lr=0.01), nn.CrossEntropyLoss()
    started = time.perf_counter()
    accuracy = float("nan")
    for _ in range(epochs):
        _epoch(net, loader, optimiser, loss_function)
        accuracy = _test(net, inputs[test], labels[test])
    return accuracy, time.perf_counter() - started


def _epoch(
    net: nn.Module, loader: DataLoader[tuple[Tensor, ...]], optimiser: torch.optim.Optimizer, loss_function: nn.Module
) -> tuple[float, float]:
    losses, accuracies = [], []
    net.train()
    for inputs, labels in loader:
        logits = net(inputs)
        loss = loss_function(logits, labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
        accuracies.append((logits.argmax(dim=1) == labels).float().mean().item())
    return sum(losses) / len(losses), sum(accuracies) / len(accuracies)


def _test(net: nn.Module, inputs: Tensor, labels: Tensor) -> float:
    net.eval()
    with torch.no_grad():
        return 100.0 * float((net(inputs).argmax(dim=1) == labels).double().mean())
