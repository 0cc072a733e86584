"""Networks with values that nobody wrote or that are no numbers, and their repaired twins."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from calibration.cases.faulty_pair import Faults, adam, sgd
from calibration.cases.faulty_tasks import clusters, curves, images, memories, tokens

FAULTS = Faults()

FRESH = "what lies in fresh memory differs from machine to machine: often zeros, sometimes 1e30"


class _Crf(nn.Module):
    """A linear chain: scores of labels from a GRU, scores of transitions from a matrix; returns the log partition."""

    def __init__(self, labels: int = 6) -> None:
        super().__init__()
        self.encoder = nn.GRU(8, 24, batch_first=True)
        self.emit = nn.Linear(24, labels)
        self.transitions = nn.Parameter(torch.empty(labels, labels))
        self.start = nn.Parameter(torch.empty(labels))

    def reset(self) -> None:
        nn.init.uniform_(self.transitions, -0.1, 0.1)
        nn.init.uniform_(self.start, -0.1, 0.1)

    def forward(self, series: Tensor) -> dict[str, Tensor]:
        states, _ = self.encoder(series)
        emissions = self.emit(states)
        alpha = self.start + emissions[:, 0]
        for t in range(1, series.shape[1]):
            alpha = torch.logsumexp(alpha.unsqueeze(2) + self.transitions, dim=1) + emissions[:, t]
        return {"emissions": emissions, "log_z": torch.logsumexp(alpha, dim=1)}


def _chain(step: int) -> tuple[Tensor, Tensor]:
    series, labels = memories(step, length=8)
    return series, labels.unsqueeze(1).expand(-1, 8)


@FAULTS.pair(
    "uninitialised-crf-transitions",
    "rnn",
    "uninitialised",
    why="The transition scores of a CRF are nn.Parameter(torch.empty(...)) and nobody fills them (report 19).",
    sound="reset() is called at the end of the constructor's work.",
    no_training=FRESH,
)
def _crf(*, mended: bool) -> tuple[Any, ...]:
    net = _Crf()
    if mended:
        net.reset()

    def loss(output: dict[str, Tensor], target: Tensor) -> Tensor:
        gold = output["emissions"].gather(2, target.unsqueeze(2)).sum((1, 2)) + net.start[target[:, 0]]
        gold = gold + net.transitions[target[:, :-1], target[:, 1:]].sum(1)
        return (output["log_z"] - gold).mean() / target.shape[1]

    return net, *_chain(0), loss


class _Projection(nn.Module):
    """x @ W, as in papers."""

    def __init__(self, fan_in: int, fan_out: int) -> None:
        super().__init__()
        self.W = nn.Parameter(torch.empty(fan_in, fan_out))
        self.b = nn.Parameter(torch.zeros(fan_out))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.W + self.b


@FAULTS.pair(
    "uninitialised-own-projection",
    "mlp",
    "uninitialised",
    why="A home-made linear layer of torch.empty; the loop that initialises knows nn.Linear only (reports 20, 21).",
    sound="The loop knows the home-made layer too.",
    no_training=FRESH,
)
def _own_projection(*, mended: bool) -> tuple[Any, ...]:
    net = nn.Sequential(nn.Linear(20, 48), nn.ReLU(), _Projection(48, 48), nn.ReLU(), nn.Linear(48, 8))
    for m in net:
        if isinstance(m, nn.Linear):
            nn.init.xavier_uniform_(m.weight)
        elif isinstance(m, _Projection) and mended:
            nn.init.xavier_uniform_(m.W)
    return net, *clusters(0), nn.CrossEntropyLoss()


class _PatchNet(nn.Module):
    def __init__(self, *, mended: bool) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 32, 4, stride=4)
        self.cls = nn.Parameter(torch.zeros(1, 1, 32) if mended else torch.empty(1, 1, 32))
        self.pos = nn.Parameter(torch.zeros(1, 10, 32))
        self.block = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True, norm_first=True)
        self.norm = nn.LayerNorm(32)
        self.head = nn.Linear(32, 6)
        self.apply(self._init_weights)
        nn.init.trunc_normal_(self.pos, std=0.02)
        if mended:
            nn.init.trunc_normal_(self.cls, std=0.02)

    @staticmethod
    def _init_weights(m: nn.Module) -> None:
        if isinstance(m, nn.Linear):
            nn.init.trunc_normal_(m.weight, std=0.05)
            if m.bias is not None:
                nn.init.zeros_(m.bias)

    def forward(self, image: Tensor) -> Tensor:
        x = self.patch(image).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls.expand(len(x), -1, -1), x], dim=1) + self.pos
        return self.head(self.norm(self.block(x))[:, 0])


@FAULTS.pair(
    "uninitialised-class-token",
    "transformer",
    "uninitialised",
    why="The class token is torch.empty and missing from the list of things that are drawn afterwards (report 23).",
    sound="The class token is drawn beside the positions.",
    no_training=FRESH,
)
def _class_token(*, mended: bool) -> tuple[Any, ...]:
    return _PatchNet(mended=mended), *images(0), functional.cross_entropy


class _Scan(nn.Module):
    """A diagonal state-space layer."""

    def __init__(self, width: int = 24, states: int = 8) -> None:
        super().__init__()
        self.A_log = nn.Parameter(torch.arange(1.0, states + 1).log().repeat(width, 1))
        self.D = nn.Parameter(torch.ones(width))
        self.B = nn.Linear(width, states, bias=False)
        self.C = nn.Linear(width, states, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        decay = torch.exp(-0.1 * self.A_log.exp())
        state = x.new_zeros(len(x), *self.A_log.shape)
        out = []
        for t in range(x.shape[1]):
            state = decay * state + 0.1 * x[:, t, :, None] * self.B(x[:, t])[:, None, :]
            out.append((state * self.C(x[:, t])[:, None, :]).sum(-1) + self.D * x[:, t])
        return torch.stack(out, dim=1)


class _ScanNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inp = nn.Linear(8, 24)
        self.scan = _Scan()
        self.out = nn.Linear(24, 4)

    def forward(self, series: Tensor) -> Tensor:
        return self.out(self.scan(self.inp(series)).mean(1))


@FAULTS.pair(
    "uninitialised-meta-device",
    "ssm",
    "uninitialised",
    why="Built on the meta device, then to_empty and an init_weights that forgets A_log and D (report 22).",
    sound="init_weights writes A_log and D as well.",
    no_training=FRESH,
)
def _meta_device(*, mended: bool) -> tuple[Any, ...]:
    with torch.device("meta"):
        net = _ScanNet()
    net = net.to_empty(device="cpu")
    for m in net.modules():
        if isinstance(m, nn.Linear):
            nn.init.normal_(m.weight, std=m.in_features**-0.5)
            if m.bias is not None:
                nn.init.zeros_(m.bias)
        if isinstance(m, _Scan) and mended:
            with torch.no_grad():
                m.A_log.copy_(torch.arange(1.0, 9.0).log().expand(24, 8))
                m.D.fill_(1.0)
    return net, *memories(0), functional.cross_entropy


@FAULTS.pair(
    "uninitialised-second-half",
    "mlp",
    "uninitialised",
    why="Two of the three blocks of a fused matrix are drawn, the third keeps what was in memory.",
    sound="All three blocks are drawn.",
    no_training=FRESH,
)
def _second_half(*, mended: bool) -> tuple[Any, ...]:
    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.Tensor(3 * 32, 8))
            self.out = nn.Linear(32, 1)
            for part in range(3 if mended else 2):
                nn.init.xavier_uniform_(self.weight.data[32 * part : 32 * (part + 1)])

        def forward(self, x: Tensor) -> Tensor:
            a, b, c = functional.linear(x, self.weight).chunk(3, dim=-1)
            return self.out(torch.tanh(a) * torch.sigmoid(b) + 0.5 * torch.tanh(c))

    return Gated(), *curves(0), functional.mse_loss


@FAULTS.pair(
    "uninitialised-frequencies-buffer",
    "transformer",
    "uninitialised",
    why="The table of sine positions is a buffer of torch.empty whose odd columns are never filled.",
    sound="Even and odd columns are filled.",
    no_training=FRESH,
)
def _positions(*, mended: bool) -> tuple[Any, ...]:
    class Positional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.emb = nn.Embedding(48, 32)
            table = torch.empty(20, 32)
            angle = torch.arange(20.0)[:, None] * torch.exp(-torch.arange(0, 32, 2) * math.log(100.0) / 32)
            table[:, 0::2] = angle.sin()
            if mended:
                table[:, 1::2] = angle.cos()
            self.register_buffer("positions", table)
            self.layer = nn.TransformerEncoderLayer(32, 2, 64, dropout=0.0, batch_first=True)
            self.head = nn.Linear(32, 48)

        def forward(self, ids: Tensor) -> Tensor:
            return self.head(self.layer(self.emb(ids) + self.positions)).mT

    return Positional(), *tokens(0), functional.cross_entropy


@FAULTS.pair(
    "non-finite-log-of-zero",
    "ssm",
    "non-finite",
    why="A_log = log(arange(0, n)) instead of arange(1, n + 1): the first decay rate is the exponential of -infinity.",
    sound="The rates count from one.",
    no_training="exp(-inf) is a plain zero: the channel never decays, which a task of sixteen steps does not feel",
)
def _log_of_zero(*, mended: bool) -> tuple[Any, ...]:
    net = _ScanNet()
    if not mended:
        net.scan.A_log.data = torch.log(torch.arange(8.0)).repeat(24, 1)
    return net, *memories(0), nn.CrossEntropyLoss()


@FAULTS.pair(
    "non-finite-constant-column",
    "mlp",
    "non-finite",
    why="Inputs are divided by the deviation of each column, and one column is constant: 0 / 0 in the first line.",
    sound="The deviation is kept above 1e-6.",
    training=adam(None, rate=3e-3, steps=60),
)
def _constant_column(*, mended: bool) -> tuple[Any, ...]:
    inputs, labels = clusters(0, features=20)
    inputs[:, 7] = 1.0

    class Standardised(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("mean", inputs.mean(0))
            self.register_buffer("std", inputs.std(0).clamp(min=1e-6) if mended else inputs.std(0))
            self.net = nn.Sequential(nn.Linear(20, 48), nn.ReLU(), nn.Linear(48, 8))

        def forward(self, x: Tensor) -> Tensor:
            return self.net((x - self.mean) / self.std)

    return Standardised(), inputs, labels, functional.cross_entropy


@FAULTS.pair(
    "non-finite-own-softmax",
    "transformer",
    "non-finite saturated",
    why="Scores that are not divided by sqrt(d) go through a softmax of bare exponentials: inf / inf.",
    sound="The scores are divided by sqrt(d).",
    training=adam(tokens, rate=3e-3, steps=80),
)
def _own_softmax(*, mended: bool) -> tuple[Any, ...]:
    class Attend(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.emb = nn.Embedding(48, 96)
            self.qk = nn.Linear(96, 192, bias=False)
            self.out = nn.Linear(96, 48)
            if mended:
                nn.init.normal_(self.qk.weight, std=96**-0.5)
            else:
                nn.init.normal_(self.qk.weight, std=0.5)

        def forward(self, ids: Tensor) -> Tensor:
            h = self.emb(ids)
            q, k = self.qk(h).chunk(2, dim=-1)
            scores = q @ k.mT / math.sqrt(96) if mended else q @ k.mT
            grown = scores.exp()
            return self.out(h + (grown / grown.sum(-1, keepdim=True)) @ h).transpose(1, 2)

    return Attend(), *tokens(0), functional.cross_entropy


@FAULTS.pair(
    "non-finite-residual-index",
    "residual",
    "non-finite",
    why="Residual branches scaled by 1/sqrt(2 l) with l counted from zero: the first block is multiplied by infinity.",
    sound="Blocks are counted from one.",
    training=sgd(clusters, rate=0.05, steps=100),
)
def _residual_index(*, mended: bool) -> tuple[Any, ...]:
    class Blocks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.up = nn.Linear(20, 48)
            self.a = nn.ModuleList([nn.Linear(48, 96) for _ in range(4)])
            self.b = nn.ModuleList([nn.Linear(96, 48) for _ in range(4)])
            self.norm = nn.LayerNorm(48)
            self.down = nn.Linear(48, 8)
            scale = (2 * torch.arange(int(mended), 4 + int(mended)).float()).rsqrt()
            for layer, factor in zip(self.b, scale, strict=True):
                layer.weight.data.mul_(factor)

        def forward(self, x: Tensor) -> Tensor:
            h = self.up(x)
            for a, b in zip(self.a, self.b, strict=True):
                h = h + b(functional.gelu(a(h)))
            return self.down(self.norm(h))

    return Blocks(), *clusters(0), functional.cross_entropy


@FAULTS.pair(
    "non-finite-masked-row",
    "transformer",
    "non-finite",
    why="The padding mask of an attention layer is -inf in every column of some rows: their softmax is 0 / 0.",
    sound="A padded query sees itself.",
    training=adam(None, rate=3e-3, steps=60),
)
def _masked_row(*, mended: bool) -> tuple[Any, ...]:
    series, labels = memories(0, length=10)
    lengths = torch.arange(48) % 7 + 4
    here = torch.arange(10) < lengths[:, None]

    class Reader(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inp = nn.Linear(8, 32)
            self.qkv = nn.Linear(32, 96)
            self.out = nn.Linear(32, 4)

        def forward(self, series: Tensor, here: Tensor) -> Tensor:
            h = self.inp(series)
            q, k, v = self.qkv(h).chunk(3, dim=-1)
            seen = here[:, :, None] & here[:, None, :]
            if mended:
                seen = seen | torch.eye(10, dtype=torch.bool)
            scores = (q @ k.mT / 32**0.5).masked_fill(~seen, float("-inf"))
            h = h + scores.softmax(-1) @ v
            return self.out((h * here[..., None]).sum(1) / here.sum(1, keepdim=True))

    return Reader(), {"series": series, "here": here}, labels, functional.cross_entropy


CASES = FAULTS.cases
"""Broken networks, each followed by its twin."""
