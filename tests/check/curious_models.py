"""Twenty-odd networks of all kinds, for tests that a check leaves no trace and never dies."""

from __future__ import annotations

import random
from collections import namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint


@dataclass
class Output:
    """What a model may return."""

    logits: Tensor
    hidden: Tensor


Pair = namedtuple("Pair", "first second")


class Counting(nn.Module):
    """Changes its own attributes, a plain tensor, a list and a buffer at every call; draws from three generators."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 4)
        self.calls = 0
        self.seen: list[float] = []
        self.running = torch.zeros(4)
        self.register_buffer("total", torch.zeros(4))

    def forward(self, inputs: Tensor) -> Tensor:
        self.calls += 1
        self.seen.append(float(inputs.detach().sum()))
        output = self.layer(inputs) + torch.randn(4) * 0.01 + random.random() * 0.01 + float(np.random.rand()) * 0.01
        with torch.no_grad():
            self.running += output.mean(0)
            self.total += output.mean(0)
        return output


class Raising(nn.Module):
    """Changes itself, then raises in the middle."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 5), nn.Linear(4, 2)
        self.norm = nn.BatchNorm1d(5)
        self.calls = 0

    def forward(self, inputs: Tensor) -> Tensor:
        self.calls += 1
        return self.second(self.norm(self.first(inputs)))


class _NoBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor) -> Tensor:
        return inputs.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        raise RuntimeError("this operator has no backward pass")


class BackwardRaising(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 5), nn.Linear(5, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.second(_NoBackward.apply(self.first(inputs)))


class Named(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.trunk, self.head = nn.Linear(6, 8), nn.Linear(8, 3)

    def forward(self, inputs: Tensor) -> Any:
        hidden = functional.gelu(self.trunk(inputs))
        logits = self.head(hidden)
        found = {"logits": logits, "hidden": hidden}
        return {"dict": found, "tuple": (logits, hidden), "named": Pair(logits, hidden), "dataclass": Output(**found)}[
            self.kind
        ]


class Complex(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(6, 4, dtype=torch.complex64) / 6**0.5)

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs.to(torch.complex64) @ self.weight


class Checkpointed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner, self.outer = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Dropout(0.3)), nn.Linear(8, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.outer(checkpoint(self.inner, inputs, use_reentrant=False))


class Embedding(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(20, 8, sparse=True)
        self.head = nn.Linear(8, 20, bias=False)

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.table(ids).mean(1))


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(20, 8)
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2)
        self.head = nn.Linear(8, 20, bias=False)
        self.head.weight = self.table.weight

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.encoder(self.table(ids)))


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head = nn.LSTM(6, 5, 2, batch_first=True, dropout=0.2, bidirectional=True), nn.Linear(10, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.cell(inputs)[0][:, -1])


def _frozen() -> nn.Module:
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
    model[0].requires_grad_(False)
    model[1].requires_grad_(False)
    model[1].eval()
    return model


def _hooked() -> nn.Module:
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(inplace=True), nn.Linear(8, 3))
    model[0].register_forward_hook(lambda module, args, output: output * 1.0)
    model[2].register_full_backward_hook(lambda module, given, taken: None)
    model[2].weight.register_hook(lambda gradient: gradient)
    return model


def _eval() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.LazyLinear(4)).eval()


def _with_grads() -> nn.Module:
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))
    model(torch.randn(2, 6)).sum().backward()
    return model


def _quantised() -> nn.Module:
    return torch.ao.quantization.quantize_dynamic(
        nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)), {nn.Linear}
    )


ROWS, IMAGES, IDS, STEPS = (8, 6), (8, 3, 8, 8), (8, 5), (8, 7, 6)


def _rows(*shape: int) -> Callable[[], Tensor]:
    return lambda: torch.randn(*shape)


def _ids() -> Tensor:
    return torch.randint(0, 20, IDS)


MODELS: dict[str, tuple[Callable[[], nn.Module], Callable[[], Any]]] = {
    "counting": (Counting, _rows(*ROWS)),
    "raising": (Raising, _rows(*ROWS)),
    "backward raising": (BackwardRaising, _rows(*ROWS)),
    "dict": (lambda: Named("dict"), _rows(*ROWS)),
    "tuple": (lambda: Named("tuple"), _rows(*ROWS)),
    "named tuple": (lambda: Named("named"), _rows(*ROWS)),
    "dataclass": (lambda: Named("dataclass"), _rows(*ROWS)),
    "complex": (Complex, _rows(*ROWS)),
    "checkpointed": (Checkpointed, _rows(*ROWS)),
    "sparse gradient": (Embedding, _ids),
    "tied transformer": (Tied, _ids),
    "recurrent": (Recurrent, _rows(*STEPS)),
    "frozen parts": (_frozen, _rows(*ROWS)),
    "hooks": (_hooked, _rows(*ROWS)),
    "lazy in eval mode": (_eval, _rows(*IMAGES)),
    "gradients there": (_with_grads, _rows(*ROWS)),
    "quantised": (_quantised, _rows(*ROWS)),
    "weight norm": (
        lambda: nn.Sequential(parametrizations.weight_norm(nn.Linear(6, 8)), nn.ReLU(), nn.Linear(8, 3)),
        _rows(*ROWS),
    ),
    "spectral norm": (
        lambda: nn.Sequential(parametrizations.spectral_norm(nn.Linear(6, 8)), nn.ReLU(), nn.Linear(8, 3)),
        _rows(*ROWS),
    ),
    "batch norm": (
        lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(288, 3)),
        _rows(*IMAGES),
    ),
    "float64": (
        lambda: nn.Sequential(nn.Linear(6, 8), nn.Sigmoid(), nn.Linear(8, 3)).double(),
        lambda: torch.randn(*ROWS).double(),
    ),
    "bfloat16": (
        lambda: nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)).bfloat16(),
        lambda: torch.randn(*ROWS).bfloat16(),
    ),
    "float16": (
        lambda: nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)).half(),
        lambda: torch.randn(*ROWS).half(),
    ),
    "scripted": (lambda: torch.jit.script(nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))), _rows(*ROWS)),
    "nothing trainable": (lambda: nn.Linear(6, 3).requires_grad_(False), _rows(*ROWS)),
    "multihead attention": (lambda: nn.TransformerEncoderLayer(6, 2, 12, batch_first=True), _rows(*STEPS)),
    "compiled": (lambda: torch.compile(nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))), _rows(*ROWS)),
}
"""name -> (builds the model, builds its inputs)."""
