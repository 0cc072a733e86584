"""`python -m bench`: the original's way and the ensemble in turn, in one call; medians, ranges, the ratio.

make bench                                    made-up images of the founding study's size
make bench ARGS="--data FILE.csv.gz"          your own; its reading is timed too
make bench ARGS="--repeats 1 --epochs 2"      a quick look (start-up weighs more)
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
from pathlib import Path

import torch

from bench.ensemble import train_study
from bench.material import read_or_make
from bench.original import CONDITIONS, train_once
from bench.startup import start_times
from initscope.study.device import processor_name


def main() -> None:
    """Measures and prints; writes JSON where asked."""
    options = _options()
    data, reading_s = read_or_make(options.data)
    print(
        f"{processor_name('cpu')}, {os.cpu_count()} cores, "
        f"torch {torch.__version__}, Python {platform.python_version()}"
    )
    print(
        f"data: {data.name}, {data.n_samples:,} x {data.n_features}"
        + (f", read in {reading_s:.2f} s" if reading_s else "")
    )
    report: dict[str, object] = {"reading_s": reading_s, "start_s": _start()}
    original, ensemble = [], []
    keys = list(CONDITIONS)
    for repeat in range(options.repeats):
        condition = keys[repeat % len(keys)]
        accuracy, seconds = train_once(data, condition, seed=repeat, epochs=options.epochs)
        original.append(seconds)
        print(
            f"original's loop   {seconds:7.3f} s a run      ({condition}, test accuracy {accuracy:.1f} %)", flush=True
        )
        seconds, runs, workers = train_study(data, seeds=options.seeds, epochs=options.epochs, workers=options.workers)
        ensemble.append(seconds / runs)
        print(
            f"initscope         {seconds / runs:7.3f} s a run      ({runs} runs in {seconds:.1f} s, {workers} workers)",
            flush=True,
        )
    ratio = statistics.median(original) / statistics.median(ensemble)
    ratios = [one / other for one, other in zip(original, ensemble, strict=True)]
    print(f"\nseconds per run of {options.epochs} epochs, median [range] of {options.repeats} interleaved repetitions")
    print(f"  original's loop   {_spread(original)}")
    print(f"  initscope         {_spread(ensemble)}")
    print(f"  ratio             {ratio:.1f} times faster (pair by pair {min(ratios):.1f} to {max(ratios):.1f})")
    report.update(original_s=original, ensemble_s=ensemble, ratio=ratio, seeds=options.seeds, epochs=options.epochs)
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="The original's loop against the ensemble.")
    parser.add_argument("--data", help="a data source of initscope; made-up images by default")
    parser.add_argument("--seeds", type=int, default=8, help="seeds of each of the 8 conditions (default 8)")
    parser.add_argument("--epochs", type=int, default=10, help="epochs of every run (default 10)")
    parser.add_argument("--repeats", type=int, default=3, help="interleaved repetitions (default 3)")
    parser.add_argument("--workers", type=int, default=None, help="worker processes (default one a core)")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    return parser.parse_args()


def _start() -> dict[str, list[float]]:
    times = start_times()
    for name, seconds in times.items():
        print(f"{name:<18}{1000 * statistics.median(seconds):7.0f} ms")
    print()
    return times


def _spread(values: list[float]) -> str:
    return f"{statistics.median(values):.3f} [{min(values):.3f}, {max(values):.3f}]"


if __name__ == "__main__":
    main()
