"""How far a signal may fade or grow before training is hurt: plain networks by activation, depth and gain.

Run as `python -m calibration.depth_table`; it takes some ten minutes on one core. Every network has 64 units a layer
and is trained for 300 steps on Gaussian blobs of eight classes (chance 2.08), by momentum descent at the best of three
rates and by Adam at 1e-3. `decades` is the logarithm of the signal between samples at the last hidden layer over that
at the first.

    activation  layers  gain      decades   momentum   Adam
    relu             3  default     -0.92      0.005  0.005
    relu             5  default     -1.76      0.013  0.008
    relu             8  default     -2.93      2.080  0.025
    relu            12  default     -4.46      2.080  0.028
    relu            16  default     -6.02      2.080  0.799
    relu            20  default     -7.70      2.080  1.118
    relu            30  default     -8.41      2.080  2.080
    tanh             5  default     -1.13      0.020  0.024
    tanh             8  default     -1.89      0.059  0.048
    tanh            12  default     -2.83      1.484  0.260
    tanh            16  default     -3.77      2.081  0.650
    tanh            20  default     -4.71      2.081  1.712
    sigmoid          3  default     -1.74      0.289  0.682
    sigmoid          4  default     -2.60      2.081  1.126
    sigmoid          5  default     -3.46      2.081  1.158
    sigmoid          8  default     -6.04      2.093  2.014
    gelu             5  default     -2.12      1.372  0.010
    gelu             8  default     -3.75      2.080  0.007
    gelu            12  default     -5.86      2.080  0.120
    gelu            16  default     -7.91      2.080  2.080
    relu             8  0.8         -2.11      0.009  0.009
    relu            12  0.8         -3.22      1.292  0.015
    relu            16  0.8         -4.24      2.080  0.253
    relu             3  0.4         -1.27      0.004  0.005
    relu             5  0.4         -2.53      1.103  0.009
    relu             8  0.4         -4.22      2.080  0.208
    relu            12  0.4         -6.53      2.080  1.082
    relu             3  0.1         -2.47      2.066  0.009
    relu             5  0.1         -4.93      2.080  0.047
    relu             8  0.1         -8.43      2.080  0.941
    tanh             6  0.3         -2.63      1.419  0.110
    tanh             8  0.3         -3.71      2.080  0.442
    tanh            10  0.3         -4.73      2.079  1.012
    tanh            14  0.3         -6.76      2.080  1.508
    relu             3  2.5         +0.32      0.008  0.014
    relu             5  2.5         +0.66      0.007  0.042
    relu             8  2.5         +1.35      0.074  0.198
    relu            12  2.5         +2.22   diverged  1.607
    relu             5  4           +1.47      0.150  0.558
    relu             8  4           +2.78   diverged  13.20
    relu            12  4           +4.47   diverged  827.4
    relu             3  8           +1.33      0.341  0.640
    relu             5  8           +2.68   diverged  34.51

What follows: momentum descent stands still from 2.8 decades lost on, everywhere from 3.3 on; Adam is hurt from 3.5 on
for squashing functions and from 6 on for all; two thirds of a decade a layer hurt earlier (sigmoids). Of a gain, 1.3
decades hurt both, and nothing trains from 3 on. `initscope.checker.instruments.chain_limits` holds these numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from calibration.tasks import blobs
from initscope.modules.generators import seeded_generators

TASK = blobs(1, batch=64, features=32, classes=8, centres=2, noise=0.6)
ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "gelu": nn.GELU}
RATES = {"momentum": (0.003, 0.03, 0.3), "adam": (1e-3,)}
STEPS, LAST = 300, 30


def network(activation: str, layers: int, gain: float | None, *, width: int = 64) -> nn.Sequential:
    """Returns a plain network; weights of std gain / sqrt(fan_in), zero biases; torch's default without gain."""
    parts: list[nn.Module] = []
    with seeded_generators(0):
        for index in range(layers):
            layer = nn.Linear(32 if index == 0 else width, width)
            if gain is not None:
                nn.init.normal_(layer.weight, std=gain / layer.in_features**0.5)
                nn.init.zeros_(layer.bias)
            parts += [layer, ACTIVATIONS[activation]()]
        return nn.Sequential(*parts, nn.Linear(width, 8))


@torch.no_grad()
def decades(model: nn.Sequential) -> float:
    """Returns the logarithm of the signal between samples at the last hidden layer over that at the first."""
    values, signals = TASK(0)[0], []
    for part in model[:-1]:
        values = part(values)
        if isinstance(part, nn.Linear):
            signals.append(float(values.var(0).mean().sqrt()))
    return math.log10(max(signals[-1], 1e-45) / signals[0])


def final_loss(model: nn.Module, optimizer: str, rate: float) -> float:
    """Returns the mean loss over the last steps; infinite where it diverged."""
    if optimizer == "adam":
        updates: torch.optim.Optimizer = torch.optim.Adam(model.parameters(), rate)
    else:
        updates = torch.optim.SGD(model.parameters(), rate, momentum=0.9)
    losses: list[float] = []
    for step in range(STEPS):
        inputs, labels = TASK(step)
        loss: Tensor = nn.functional.cross_entropy(model(inputs), labels)
        updates.zero_grad()
        loss.backward()
        updates.step()
        losses.append(loss.item())
        if not math.isfinite(losses[-1]):
            return math.inf
    return sum(losses[-LAST:]) / LAST


def rows() -> Iterator[tuple[str, int, float | None]]:
    """Yields activation, layers, gain."""
    for activation in ACTIVATIONS:
        yield from ((activation, layers, None) for layers in (3, 5, 8, 12, 16, 20, 30))
    for gain in (0.1, 0.4, 0.8, 2.5, 4.0, 8.0):
        yield from (("relu", layers, gain) for layers in (3, 5, 8, 12, 16))
    yield from (("tanh", layers, 0.3) for layers in (4, 6, 8, 10, 14))


def main() -> None:
    """Prints the table."""
    print("activation  layers  gain      decades   momentum   Adam")  # noqa: T201  # the table is the output
    for activation, layers, gain in rows():
        best = {
            name: min(final_loss(network(activation, layers, gain), name, rate) for rate in rates)
            for name, rates in RATES.items()
        }
        lost = decades(network(activation, layers, gain))
        shown = "default" if gain is None else f"{gain:g}"
        losses = f"{best['momentum']:9.4g}  {best['adam']:5.4g}"
        print(f"{activation:10}  {layers:6}  {shown:8}  {lost:+7.2f}  {losses}", flush=True)  # noqa: T201  # as above


if __name__ == "__main__":
    main()
