"""Networks whose start was written over or passed by, and their repaired twins."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from calibration.cases.faulty_pair import Faults, adam, sgd
from calibration.cases.faulty_tasks import clusters, curves, images, memories, spots, tokens

FAULTS = Faults()

LONG_MEMORIES = partial(memories, length=40)
SLIGHT = "the start that was lost pays off over thousands of steps; a task of seconds is learnt from either"


def _generic(m: nn.Module) -> None:
    if isinstance(m, nn.Linear | nn.Conv2d):
        nn.init.xavier_uniform_(m.weight)
        if m.bias is not None:
            nn.init.zeros_(m.bias)


class _Forgetful(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gates = nn.Linear(8 + 32, 4 * 32)
        self.out = nn.Linear(32, 4)
        with torch.no_grad():
            self.gates.bias[32:64] = 3.0

    def forward(self, series: Tensor) -> Tensor:
        h = c = series.new_zeros(len(series), 32)
        for x in series.unbind(1):
            i, f, g, o = self.gates(torch.cat([x, h], 1)).chunk(4, 1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
        return self.out(h)


@FAULTS.pair(
    "init-lost-forget-bias",
    "rnn",
    "init-lost recurrent-decay",
    why="The constructor opens the forget gates, then model.apply zeroes every bias of a Linear (reports 26, 44).",
    sound="The generic pass runs over the output layer alone.",
    training=adam(LONG_MEMORIES, rate=3e-3, steps=100),
)
def _forget_bias(*, mended: bool) -> tuple[Any, ...]:
    net = _Forgetful()
    (net.out if mended else net).apply(_generic)
    return net, *LONG_MEMORIES(0), functional.cross_entropy


class _Branch(nn.Module):
    """A residual block that starts as the identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 2 * width)
        self.fc2 = nn.Linear(2 * width, width)
        self.reset()

    def reset(self) -> None:
        nn.init.zeros_(self.fc2.weight)
        nn.init.zeros_(self.fc2.bias)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.fc2(functional.relu(self.fc1(x)))


@FAULTS.pair(
    "init-lost-zero-branches",
    "residual",
    "init-lost residual-unscaled signal-grows",
    why="The zeros of the last layers of thirty residual branches are drawn anew by the generic pass (reports 10, 14).",
    sound="The blocks are reset once more after the generic pass.",
    training=sgd(clusters, rate=0.005, steps=200),
)
def _zero_branches(*, mended: bool) -> tuple[Any, ...]:
    net = nn.Sequential(nn.Linear(20, 40), *[_Branch(40) for _ in range(30)], nn.Linear(40, 8))
    net.apply(_generic)
    nn.init.normal_(net[-1].weight, std=0.05)
    if mended:
        for block in net:
            if isinstance(block, _Branch):
                block.reset()
    return net, *clusters(0), nn.CrossEntropyLoss()


class _TimeStep(nn.Module):
    """The part of a selective state-space layer that gives the step sizes."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Linear(4, width)
        dt = torch.exp(torch.rand(width) * (math.log(0.1) - math.log(0.001)) + math.log(0.001))
        with torch.no_grad():
            self.proj.bias.copy_(dt + torch.log(-torch.expm1(-dt)))
        self.proj.bias._no_reinit = True
        nn.init.uniform_(self.proj.weight, -0.5, 0.5)

    def forward(self, x: Tensor) -> Tensor:
        return functional.softplus(self.proj(x[..., :4]))


class _Selective(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inp = nn.Linear(8, 32)
        self.step = _TimeStep(32)
        self.out = nn.Linear(32, 4)

    def forward(self, series: Tensor) -> Tensor:
        u = self.inp(series)
        dt = 0.2 * self.step(u)
        h = torch.zeros_like(u[:, 0])
        for t in range(u.shape[1]):
            h = torch.exp(-4.0 * dt[:, t]) * h + 4.0 * dt[:, t] * u[:, t]
        return self.out(h)


@FAULTS.pair(
    "init-lost-step-sizes",
    "ssm",
    "init-lost recurrent-decay",
    why="The bias that spreads the step sizes over two decades is set to zero by the model's generic pass (report 26).",
    sound="The generic pass respects the mark that the layer sets on its bias.",
    no_training=SLIGHT,
)
def _step_sizes(*, mended: bool) -> tuple[Any, ...]:
    net = _Selective()
    for m in net.modules():
        if isinstance(m, nn.Linear) and not (mended and getattr(m.bias, "_no_reinit", False)):
            nn.init.normal_(m.weight, std=0.3)
            nn.init.zeros_(m.bias)
    return net, *memories(0), functional.cross_entropy


@FAULTS.pair(
    "init-lost-tied-decoder",
    "transformer",
    "init-lost tied-scale initial-loss",
    why="The generic pass sees the tied decoder as a Linear and redraws the embedding's careful 0.02 (report 28).",
    sound="The generic pass leaves the decoder out.",
    training=adam(tokens, rate=1e-3, steps=60),
)
def _tied_decoder(*, mended: bool) -> tuple[Any, ...]:
    class Small(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(48, 64)
            self.hidden = nn.Linear(64, 64)
            self.norm = nn.LayerNorm(64)
            self.decode = nn.Linear(64, 48, bias=False)
            nn.init.normal_(self.embed.weight, std=0.02)
            self.decode.weight = self.embed.weight
            for module in self.modules():
                if isinstance(module, nn.Linear) and not (mended and module is self.decode):
                    nn.init.normal_(module.weight, std=0.6)

        def forward(self, ids: Tensor) -> Tensor:
            return self.decode(self.norm(self.hidden(self.embed(ids)))).mT

    return Small(), *tokens(0), functional.cross_entropy


@FAULTS.pair(
    "init-lost-prior-bias",
    "detection",
    "init-lost prior-bias",
    why="The head sets its prior bias in its constructor; the detector's own loop zeroes all biases afterwards.",
    sound="The detector's loop runs before the head is made.",
    training=adam(spots, rate=3e-3, steps=60),
)
def _lost_prior(*, mended: bool) -> tuple[Any, ...]:
    class Head(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.predict = nn.Conv2d(16, 1, 1)
            nn.init.normal_(self.predict.weight, std=0.01)
            nn.init.constant_(self.predict.bias, -math.log(127.0))

        def forward(self, x: Tensor) -> Tensor:
            return self.predict(x)

    class Detector(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU())
            if mended:
                self.apply(_generic)
            self.head = Head()
            if not mended:
                self.apply(_generic)

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"map": self.head(self.body(x))}

    def loss(output: dict[str, Tensor], target: Tensor) -> Tensor:
        return functional.binary_cross_entropy_with_logits(output["map"], target, reduction="sum") / target.sum()

    return Detector(), *spots(0), loss


@FAULTS.pair(
    "init-lost-own-draw",
    "transformer",
    "init-lost",
    why="The user's orthogonal projections are redrawn with std 0.02 by the base class's post_init (report 25).",
    sound="post_init runs first, the user's draw after it.",
    no_training=SLIGHT,
)
def _own_draw(*, mended: bool) -> tuple[Any, ...]:
    class Pretrained(nn.Module):
        def post_init(self) -> None:
            for m in self.modules():
                if isinstance(m, nn.Linear):
                    m.weight.data.normal_(mean=0.0, std=0.02)
                    m.bias.data.zero_()

    class Tagger(Pretrained):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Linear(20, 64), nn.Linear(64, 64), nn.Linear(64, 8)
            if mended:
                self.post_init()
            for layer in (self.a, self.b):
                nn.init.orthogonal_(layer.weight, 2**0.5)
            if not mended:
                self.post_init()

        def forward(self, x: Tensor) -> Tensor:
            return self.c(functional.relu(self.b(functional.relu(self.a(x)))))

    return Tagger(), *clusters(0), functional.cross_entropy


@FAULTS.pair(
    "init-skipped-encoder-only",
    "mlp",
    "init-skipped signal-fades",
    why="encoder.apply(init) and no decoder.apply(init): half of a deep autoencoder keeps the default weights.",
    sound="init runs over the whole model.",
    training=adam(None, rate=1e-3, steps=40),
)
def _encoder_only(*, mended: bool) -> tuple[Any, ...]:
    def init(m: nn.Module) -> None:
        if isinstance(m, nn.Linear):
            nn.init.kaiming_normal_(m.weight, nonlinearity="relu")
            m.bias.data.fill_(0.0)

    class Auto(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            enc, dec = [nn.Linear(24, 64), nn.ReLU()], []
            for _ in range(5):
                enc += [nn.Linear(64, 64), nn.ReLU()]
                dec += [nn.Linear(64, 64), nn.ReLU()]
            self.encoder = nn.Sequential(*enc)
            self.decoder = nn.Sequential(*dec, nn.Linear(64, 24))
            self.encoder.apply(init)
            if mended:
                self.decoder.apply(init)
                nn.init.normal_(self.decoder[-1].weight, std=0.05)

        def forward(self, x: Tensor) -> Tensor:
            return self.decoder(self.encoder(x))

    points, _ = clusters(0, n=96, features=24, classes=6, apart=1.5)
    return Auto(), points, points, nn.MSELoss()


class _Dense(nn.Linear):
    """A Linear with a name."""


@FAULTS.pair(
    "init-skipped-type-equality",
    "mlp",
    "init-skipped signal-fades",
    why="type(m) == nn.Linear misses the subclass that ten of the twelve layers are made of.",
    sound="isinstance(m, nn.Linear).",
    training=adam(clusters, rate=5e-4, steps=80),
)
def _type_equality(*, mended: bool) -> tuple[Any, ...]:
    net = nn.Sequential(nn.Linear(20, 64), nn.ReLU())
    for _ in range(10):
        net.extend([_Dense(64, 64), nn.ReLU()])
    net.append(nn.Linear(64, 8))
    for m in net:
        if isinstance(m, nn.Linear) if mended else type(m) is nn.Linear:
            nn.init.kaiming_normal_(m.weight, nonlinearity="linear" if m is net[-1] else "relu")
            nn.init.zeros_(m.bias)
    return net, *clusters(0), functional.cross_entropy


@FAULTS.pair(
    "init-skipped-transposed",
    "gan",
    "init-skipped",
    why="The generator's init asks for nn.Conv2d and one name; its other transposed convolutions keep the default.",
    sound="The init asks for both kinds of convolution.",
    no_training="batch norm behind every layer makes the scale of the weights matter little within a short training",
)
def _transposed(*, mended: bool) -> tuple[Any, ...]:
    class Generator(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.project = nn.ConvTranspose2d(16, 32, 3, bias=False)
            self.up1 = nn.ConvTranspose2d(32, 24, 4, stride=2, bias=False)
            self.up2 = nn.ConvTranspose2d(24, 16, 3, bias=False)
            self.smooth = nn.Conv2d(16, 16, 3, padding=1, bias=False)
            self.rgb = nn.Conv2d(16, 3, 3)
            self.norms = nn.ModuleList([nn.BatchNorm2d(c) for c in (32, 24, 16, 16)])
            for name, m in self.named_modules():
                kinds = nn.Conv2d | nn.ConvTranspose2d
                if isinstance(m, kinds) and (mended or isinstance(m, nn.Conv2d) or "project" in name):
                    nn.init.normal_(m.weight, 0.0, 0.02)

        def forward(self, z: Tensor) -> Tensor:
            x = z[:, :, None, None]
            for layer, norm in zip((self.project, self.up1, self.up2, self.smooth), self.norms, strict=True):
                x = functional.relu(norm(layer(x)))
            return torch.tanh(self.rgb(x))

    z, _ = clusters(0, n=16, features=16)
    pictures, _ = images(0, n=16, size=8)
    return Generator(), z, torch.tanh(pictures), functional.mse_loss


@FAULTS.pair(
    "init-skipped-by-name",
    "mlp",
    "init-skipped",
    why="The loop goes by names that contain 'fc'; the layers that were renamed since keep the default.",
    sound="The loop goes by what the layers are.",
    no_training=SLIGHT,
)
def _by_name(*, mended: bool) -> tuple[Any, ...]:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc1 = nn.Linear(8, 64)
            self.fc2 = nn.Linear(64, 64)
            self.mid = nn.ModuleList([nn.Linear(64, 64) for _ in range(2)])
            self.fc_out = nn.Linear(64, 1)
            for name, m in self.named_modules():
                if isinstance(m, nn.Linear) and (mended or "fc" in name):
                    nn.init.orthogonal_(m.weight, 1.0)
                    nn.init.zeros_(m.bias)

        def forward(self, x: Tensor) -> Tensor:
            x = torch.tanh(self.fc2(torch.tanh(self.fc1(x))))
            for layer in self.mid:
                x = torch.tanh(layer(x))
            return self.fc_out(x)

    return Net(), *curves(0), nn.SmoothL1Loss()


CASES = FAULTS.cases
"""Broken networks, each followed by its twin."""
