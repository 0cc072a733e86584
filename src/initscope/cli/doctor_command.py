"""`initscope doctor`: what is here, what is missing, and what to do about it."""

from __future__ import annotations

import os
import platform
import sys
from importlib import metadata

import click

LIBRARIES = ("torch", "numpy", "scipy", "matplotlib", "pydantic", "safetensors", "rich", "click", "jinja2", "pooch")


@click.command("doctor")
def doctor_command() -> None:
    """Show versions, processors, devices and datasets, and name what is missing. Exit code 4 where something is."""
    faults: list[str] = []
    _line("python", f"{platform.python_version()}  {sys.executable}")
    _line("system", f"{platform.system()} {platform.machine()}")
    for name in ("initscope", *LIBRARIES):
        _library(name, faults)
    if not faults:
        _devices()
    _datasets()
    for fault in faults:
        click.echo(f"missing: {fault}", err=True)
    if faults:
        sys.exit(4)
    click.echo("all is well; try: initscope run surprising-demo")


def _line(label: str, text: str) -> None:
    click.echo(f"{label:<14}{text}")


def _library(name: str, faults: list[str]) -> None:
    try:
        _line(name, metadata.version(name))
    except metadata.PackageNotFoundError:
        _line(name, "not installed")
        faults.append(f"{name}: pip install {name}")


def _devices() -> None:
    import torch

    from initscope.study.device import processor_name

    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    _line("processor", f"{processor_name('cpu')}, {usable} usable cores")
    there = torch.cuda.is_available()
    _line("cuda", torch.cuda.get_device_name() if there else "no device; runs are trained on the CPU")


def _datasets() -> None:
    from initscope.base.errors import InitscopeError
    from initscope.datasets import catalogue
    from initscope.datasets.downloads import path, verify

    for name in catalogue.names():
        if not catalogue.find(name).needs_download:
            _line(name, "embedded")
            continue
        try:
            verify(name)
            _line(name, f"verified in {path(name)}")
        except InitscopeError:
            _line(name, f"not in {path(name)}; initscope data fetch {name}")
