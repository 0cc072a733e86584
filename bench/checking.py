"""`python -m bench.checking`: what a check costs, beside training steps of the same model on the same batch.

The budget is two seconds and ten training steps (forward, backward, Adam's update), 60 seconds for a GPT-2 shape of 124
million parameters, and four times the model's memory. Each shape is measured in a process of its own, so that peak
memory is its own: what the process held at its peak beyond what it held before the model was built, in multiples of
the model's parameters in bytes.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

import initscope
from bench.initialisation import peak_resident_bytes
from bench.language_model import LanguageModel
from initscope.modules.vision_operators import declare_vision_operators
from initscope.study.device import processor_name

STEPS = 10
Built = tuple[nn.Module, Tensor, Tensor, Callable[[Any, Tensor], Tensor]]


def _next_token(output: Any, target: Tensor) -> Tensor:
    return functional.cross_entropy(output.flatten(0, 1), target.flatten())


def mlp() -> Built:
    """Returns a small network of dense layers with a batch of 128."""
    layers = [nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10)]
    return nn.Sequential(*layers), torch.randn(128, 784), torch.randint(0, 10, (128,)), functional.cross_entropy


def resnet() -> Built:
    """Returns timm's ResNet-50 with a batch of 8 images of 96 pixels."""
    declare_vision_operators()
    import timm

    model: nn.Module = timm.create_model("resnet50")
    return model, torch.randn(8, 3, 96, 96), torch.randint(0, 1000, (8,)), functional.cross_entropy


def gpt2() -> Built:
    """Returns a GPT-2 shape of 124 million parameters with a batch of 4 sequences of 128 tokens."""
    tokens = torch.randint(0, 50257, (4, 129))
    return LanguageModel(), tokens[:, :-1], tokens[:, 1:], _next_token


SHAPES: dict[str, Callable[[], Built]] = {"mlp": mlp, "resnet50": resnet, "gpt2": gpt2}


def report(shape: str) -> None:
    """Prints, as JSON, what one check of a shape costs beside training steps, measured in this process."""
    initscope.check(mlp)  # everything is imported and warm
    base = peak_resident_bytes()
    model, inputs, targets, loss = SHAPES[shape]()
    size = sum(one.numel() * one.element_size() for one in model.parameters())
    del model
    began = time.perf_counter()
    checked = initscope.check(SHAPES[shape])
    seconds, peak = time.perf_counter() - began, peak_resident_bytes() - base
    model, inputs, targets, loss = SHAPES[shape]()
    print(
        json.dumps(
            {
                "check_s": seconds,
                "step_s": _step_seconds(model, inputs, targets, loss),
                "memory": peak / size,
                "errors": sum(one.severity == "error" for one in checked.findings),
                "crashed": len(checked.failed),
            }
        )
    )


def _step_seconds(model: nn.Module, inputs: Tensor, targets: Tensor, loss: Callable[[Any, Tensor], Tensor]) -> float:
    optimizer = torch.optim.Adam(model.parameters())
    taken = []
    for _ in range(STEPS):
        began = time.perf_counter()
        optimizer.zero_grad()
        loss(model(inputs), targets).backward()
        optimizer.step()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def measured(shape: str) -> dict[str, float]:
    """Returns the figures of one check of a shape, from a fresh process."""
    code = f"import bench.checking as b; b.report({shape!r})"
    ended = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(ended.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Measures and prints; writes JSON where asked."""
    parser = argparse.ArgumentParser(prog="python -m bench.checking", description=__doc__)
    parser.add_argument("--repeats", type=int, default=3, help="repetitions, the shapes in turn (default 3)")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    python = platform.python_version()
    print(f"{processor_name('cpu')}, {os.cpu_count()} cores, torch {torch.__version__}, Python {python}")
    print(f"median of {options.repeats}; budget: 2 s + 10 steps, memory 4 x the model\n")
    found: dict[str, list[dict[str, float]]] = {shape: [] for shape in SHAPES}
    for _ in range(options.repeats):
        for shape in SHAPES:
            found[shape].append(measured(shape))
    for shape, runs in found.items():
        check, step, memory = (statistics.median(one[name] for one in runs) for name in ("check_s", "step_s", "memory"))
        print(
            f"{shape:<9} check {check:6.2f} s   step {step:6.3f} s   check / budget {check / (2 + 10 * step):5.2f}   "
            f"memory {memory:5.2f} x the model"
        )
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
