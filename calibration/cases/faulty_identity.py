"""Networks that seed a global generator while they are built, or lose a tie; and their repaired twins."""

from __future__ import annotations

import copy
import random
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from calibration.cases.faulty_pair import Faults
from calibration.cases.faulty_tasks import clusters, curves, images, tokens

FAULTS = Faults()

SAME_DRAW = "one draw is as good as another: what is lost is that several seeds say something about the method"
UNTIED = "two separate matrices learn this task as well as one: what is lost is the sharing that was wanted"


@FAULTS.pair(
    "seed-inside-constructor",
    "mlp",
    "seed-inside",
    why="torch.manual_seed(42) in the constructor: every seed of a study builds the same network.",
    sound="The seed is set by the caller.",
    no_training=SAME_DRAW,
)
def _constructor(*, mended: bool) -> tuple[Any, ...]:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            if not mended:
                torch.manual_seed(42)
            self.hidden = nn.Linear(20, 48)
            self.out = nn.Linear(48, 8)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(torch.relu(self.hidden(x)))

    return Net(), *clusters(0), nn.CrossEntropyLoss()


def _seed_everything(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - this is what users write
    torch.manual_seed(seed)


class _Member(nn.Module):
    def __init__(self, seed: int | None) -> None:
        super().__init__()
        if seed is not None:
            _seed_everything(seed)
        self.conv = nn.Conv2d(3, 12, 3, stride=2)
        self.out = nn.Linear(12 * 25, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(functional.silu(self.conv(x)).flatten(1))


class _Mean(nn.Module):
    def __init__(self, members: list[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, x: Tensor) -> Tensor:
        return sum(member(x) for member in self.members) / len(self.members)


@FAULTS.pair(
    "seed-inside-every-member",
    "cnn",
    "seed-inside parallel-clones",
    why="seed_everything(0) at the start of each member of an ensemble: all members are one network (report 4).",
    sound="No member sets a seed.",
    no_training="an ensemble of equal members learns as one of them does: what is lost is the gain of averaging",
)
def _every_member(*, mended: bool) -> tuple[Any, ...]:
    return _Mean([_Member(None if mended else 0) for _ in range(4)]), *images(0), functional.cross_entropy


@FAULTS.pair(
    "seed-inside-numpy",
    "mlp",
    "seed-inside",
    why="Weights from np.random.RandomState(0) that the layer makes for itself.",
    sound="Weights from torch's generator, which the caller seeds.",
    no_training=SAME_DRAW,
)
def _numpy(*, mended: bool) -> tuple[Any, ...]:
    class Dense(nn.Module):
        def __init__(self, fan_in: int, fan_out: int) -> None:
            super().__init__()
            if mended:
                draw = torch.randn(fan_out, fan_in)
            else:
                state = np.random.RandomState(fan_in)
                draw = torch.from_numpy(state.randn(fan_out, fan_in)).float()
            self.weight = nn.Parameter(0.5 * draw / fan_in**0.5)
            self.bias = nn.Parameter(torch.zeros(fan_out))

        def forward(self, x: Tensor) -> Tensor:
            return functional.linear(x, self.weight, self.bias)

    return nn.Sequential(Dense(8, 40), nn.Tanh(), Dense(40, 1)), *curves(0), nn.MSELoss()


@FAULTS.pair(
    "seed-inside-own-generator",
    "transformer",
    "seed-inside",
    why="The init function makes a torch.Generator with seed 1234 whenever it is called.",
    sound="The init function draws from the global generator.",
    no_training=SAME_DRAW,
)
def _own_generator(*, mended: bool) -> tuple[Any, ...]:
    net = nn.Sequential(nn.Embedding(48, 32), nn.Linear(32, 64), nn.GELU(), nn.LayerNorm(64), nn.Linear(64, 48))
    stream = None if mended else torch.Generator().manual_seed(1234)
    for p in net.parameters():
        if p.dim() > 1:
            nn.init.normal_(p, std=0.05, generator=stream)
        elif p is not net[3].weight:
            nn.init.zeros_(p)
    inputs, targets = tokens(0)
    return net, inputs, targets, lambda output, target: functional.cross_entropy(output.flatten(0, 1), target.flatten())


class _Tied(nn.Module):
    """A small language model whose output is tied to its embedding by assignment."""

    def __init__(self) -> None:
        super().__init__()
        self.wte = nn.Embedding(48, 48)
        self.block = nn.Sequential(nn.LayerNorm(48), nn.Linear(48, 96), nn.GELU(), nn.Linear(96, 48))
        self.norm = nn.LayerNorm(48)
        self.lm_head = nn.Linear(48, 48, bias=False)
        self.lm_head.weight = self.wte.weight
        nn.init.normal_(self.wte.weight, std=0.05)

    def forward(self, ids: Tensor) -> Tensor:
        h = self.wte(ids)
        return self.lm_head(self.norm(h + self.block(h))).mT


@FAULTS.pair(
    "tie-broken-reassigned",
    "transformer",
    "tie-broken",
    why="The embedding is tied, then replaced by a fresh nn.Parameter in the init function: the tie is gone.",
    sound="The init function draws into the shared matrix.",
    no_training=UNTIED,
)
def _reassigned(*, mended: bool) -> tuple[Any, ...]:
    net = _Tied()
    if mended:
        nn.init.normal_(net.wte.weight, std=0.08)
    else:
        net.wte.weight = nn.Parameter(torch.randn(48, 48) * 0.08)
    return net, *tokens(0), functional.cross_entropy


class _DataTied(nn.Module):
    def __init__(self, *, mended: bool) -> None:
        super().__init__()
        self.embed = nn.Embedding(48, 40)
        self.rnn = nn.GRU(40, 40, batch_first=True)
        self.norm = nn.LayerNorm(40)
        self.decode = nn.Linear(40, 48)
        nn.init.normal_(self.embed.weight, std=0.1)
        if mended:
            self.decode.weight = self.embed.weight
        else:
            self.decode.weight.data = self.embed.weight.data

    def forward(self, ids: Tensor) -> dict[str, Tensor]:
        return {"scores": self.decode(self.norm(self.rnn(self.embed(ids))[0]))}


@FAULTS.pair(
    "tie-broken-data-then-to",
    "rnn",
    "tie-broken",
    why="decode.weight.data = embed.weight.data shares memory until .to(dtype) gives each its own copy.",
    sound="The parameter itself is shared, which .to respects.",
    no_training=UNTIED,
)
def _data_then_to(*, mended: bool) -> tuple[Any, ...]:
    net = _DataTied(mended=mended).to(torch.float64)
    inputs, targets = tokens(0)
    return net, inputs, targets, lambda output, target: functional.cross_entropy(output["scores"].mT, target)


@FAULTS.pair(
    "tie-broken-resized",
    "transformer",
    "tie-broken",
    why="The vocabulary is enlarged by giving the embedding a new table; the tied output keeps the old one, padded.",
    sound="The output is tied again after the enlargement.",
    no_training=UNTIED,
)
def _resized(*, mended: bool) -> tuple[Any, ...]:
    net = _Tied()
    with torch.no_grad():
        table = nn.Parameter(torch.cat([net.wte.weight, 0.05 * torch.randn(4, 48)]))
        padded = nn.Parameter(torch.cat([net.lm_head.weight, 0.05 * torch.randn(4, 48)]))
    net.wte.weight = table
    net.lm_head.weight = table if mended else padded
    return net, *tokens(0), functional.cross_entropy


@FAULTS.pair(
    "tie-broken-autoencoder-copy",
    "mlp",
    "tie-broken",
    why="The decoder of a tied autoencoder is nn.Parameter(encoder.weight.t().clone()): equal at the start only.",
    sound="The decoder uses the encoder's matrix in forward.",
    no_training=UNTIED,
)
def _autoencoder(*, mended: bool) -> tuple[Any, ...]:
    class Auto(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.enc = nn.Linear(24, 12)
            if not mended:
                self.back = nn.Parameter(self.enc.weight.detach().t().clone())
            self.bias = nn.Parameter(torch.zeros(24))

        def forward(self, x: Tensor) -> Tensor:
            code = torch.tanh(self.enc(x))
            return functional.linear(code, self.enc.weight.t() if mended else self.back, self.bias)

    points, _ = clusters(0, features=24, classes=4)
    return Auto(), points, points, functional.mse_loss


@FAULTS.pair(
    "tie-broken-deepcopied-part",
    "transformer",
    "tie-broken",
    why="Only the trunk of a tied model is deep-copied into the wrapper: its embedding is a copy, the head is not.",
    sound="The whole model is deep-copied, which keeps the tie.",
    no_training=UNTIED,
)
def _deepcopied(*, mended: bool) -> tuple[Any, ...]:
    class Wrapper(nn.Module):
        def __init__(self, base: _Tied) -> None:
            super().__init__()
            if mended:
                base = copy.deepcopy(base)
                self.table, self.body = base.wte, nn.Sequential(base.block, base.norm)
            else:
                self.table = copy.deepcopy(base.wte)
                self.body = copy.deepcopy(nn.Sequential(base.block, base.norm))
            self.head = base.lm_head

        def forward(self, ids: Tensor) -> Tensor:
            return self.head(self.body(self.table(ids))).mT

    return Wrapper(_Tied()), *tokens(0), functional.cross_entropy


CASES = FAULTS.cases
"""Broken networks, each followed by its twin."""
