"""A study that trains in a moment, and the program called in this process or in one of its own."""

from __future__ import annotations

import contextlib
import csv
import io
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

PROGRAM = [sys.executable, "-m", "initscope"]
STUDY = """\
seeds = 2

[data]
source = "small.csv"

[model]
hidden = [3]

[train]
batch_size = 8
epochs = 2

[conditions.default]

[conditions.zero]
"*.weight" = "zeros"

[conditions.small]
"*" = "normal(std=0.01)"
"""
FACTORY = """\
import sys
from torch import nn


def make(in_features, out_features, width=3):
    print("built", file=sys.stdout)
    return nn.Sequential(nn.Linear(in_features, width), nn.ReLU(), nn.Linear(width, out_features))
"""


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a call of the program ended."""

    code: int
    out: str
    err: str


def small_rows(rows: int = 60) -> str:
    """Returns a CSV of three classes that a small network can tell apart, equal in every call."""
    return "".join(f"{i % 3},{(i * 7) % 11},{9 * (i % 3)},{(i * 5) % 13},{20 - 9 * (i % 3)}\n" for i in range(rows))


def write_small(folder: Path, text: str = STUDY, *, name: str = "small.toml") -> Path:
    """Writes small.csv and a study file into `folder`; returns the study's path."""
    (folder / "small.csv").write_text(small_rows())
    path = folder / name
    path.write_text(text)
    return path


def factory_study(factory: str) -> str:
    """Returns the small study with a factory as its model and one condition."""
    head = STUDY.replace("hidden = [3]", f'factory = "{factory}"')
    return head[: head.index("[conditions.zero]")]


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Ended:
    """Calls the program in this process."""
    from initscope.cli.main import main

    out, err, code = io.StringIO(), io.StringIO(), 0
    monkeypatch.setattr(sys, "argv", ["initscope", *arguments])
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main.main(list(arguments), prog_name="initscope")
        except SystemExit as end:
            code = int(end.code or 0)
    return Ended(code=code, out=out.getvalue(), err=err.getvalue())


def start(*arguments: str, cwd: Path, **environment: str) -> subprocess.Popen[str]:
    """Starts the program in a process group of its own."""
    return subprocess.Popen(
        [*PROGRAM, *arguments],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
        start_new_session=True,
        preexec_fn=_listen if os.name == "posix" else None,
    )


def _listen() -> None:
    """What runs in the background of a shell ignores Ctrl-C, and so would all that it starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def call_outside(*arguments: str, cwd: Path, **environment: str) -> Ended:
    """Calls the program in a process of its own and waits for it."""
    process = start(*arguments, cwd=cwd, **environment)
    out, err = process.communicate(timeout=300)
    return Ended(code=process.returncode, out=out, err=err)


def rows_of(folder: Path) -> list[dict[str, str]]:
    """Returns the rows of runs.csv without wall_s."""
    with (folder / "runs.csv").open(newline="") as file:
        return [{name: cell for name, cell in row.items() if name != "wall_s"} for row in csv.DictReader(file)]


def weights_of(folder: Path) -> dict[str, bytes]:
    """Returns every weight file's bytes by its place."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.safetensors"))}


def assert_same_study(one: Path, other: Path) -> None:
    """Fails unless two folders hold the same runs, histories and weights, bit for bit apart from wall_s."""
    assert rows_of(one) == rows_of(other)
    assert (one / "history.csv").read_bytes() == (other / "history.csv").read_bytes()
    assert weights_of(one) == weights_of(other)


def workers_in(folder: Path) -> list[int]:
    """Returns the numbers of the living worker processes whose current folder is `folder` (Linux)."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command, here = (place / "cmdline").read_bytes(), (place / "cwd").readlink()
            if b"initscope.study.worker" in command and here == folder:
                found.append(int(place.name))
    return found
