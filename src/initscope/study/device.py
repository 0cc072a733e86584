"""Where runs are trained: the device that was asked for, or what there is."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import torch

from initscope.base.errors import EnvironmentFault, UsageError, unknown_name

DEVICES = ("auto", "cpu", "cuda")


def choose_device(wanted: str) -> str:
    """Returns "cpu" or "cuda" for "auto", "cpu" or "cuda".

    Raises: UsageError for another word; EnvironmentFault where CUDA is asked for and there is none.
    """
    if wanted not in DEVICES:
        raise unknown_name("device", wanted, DEVICES, listed=False)
    if wanted == "cuda" and not torch.cuda.is_available():
        build = "a CPU build" if torch.version.cuda is None else f"built for CUDA {torch.version.cuda}"
        raise EnvironmentFault(
            "CUDA was asked for, and torch finds no CUDA device",
            where="--device cuda",
            value=f"torch {torch.__version__}, {build}",
            do="leave --device out, or take --device cpu",
        )
    return "cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu"


def check_workers(wanted: int | None) -> None:
    """Raises UsageError for a number of workers below one."""
    if wanted is not None and wanted < 1:
        raise UsageError("too few workers", where="--workers", value=wanted, legal="a whole number of at least 1")


def choose_workers(wanted: int | None, *, device: str, ensembles: int) -> int:
    """Returns how many worker processes: one a usable core, one alone on a GPU, never more than ensembles.

    Raises: UsageError below one.
    """
    check_workers(wanted)
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    most = 1 if device == "cuda" else usable
    return max(1, min(wanted or most, ensembles))


def processor_name(device: str) -> str:
    """Returns the name of the processor runs are trained on."""
    if device == "cuda":
        return torch.cuda.get_device_name()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
