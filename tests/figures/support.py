"""What the figure tests read off artists."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text

from initscope.records.results import Results
from initscope.records.run import History, RunRecord


def texts_of(figure: Figure) -> str:
    """Every text on the page, joined by spaces, line breaks too."""
    found = [text.get_text() for text in figure.findobj(Text)]
    return " ".join(" ".join(found).split())


def lines_of(axes: Axes, label: str) -> list[Line2D]:
    """The lines that the drawing code named `label`."""
    return [line for line in axes.lines if line.get_label() == label]


def seed_curves(axes: Axes) -> int:
    """Number of faint curves."""
    return sum(len(artist.get_segments()) for artist in axes.collections if isinstance(artist, LineCollection))


def heights(lines: list[Line2D]) -> np.ndarray:
    """All finite heights of the lines."""
    values = np.concatenate([np.asarray(line.get_ydata(), float) for line in lines])
    return values[np.isfinite(values)]


def with_runs(results: Results, change: object) -> Results:
    """The results with every run replaced by change(run)."""
    return replace(results, runs=tuple(change(run) for run in results.runs))  # type: ignore[operator]


def diverged(run: RunRecord) -> RunRecord:
    """The run as one that diverged before anything was measured."""
    nothing = np.full(run.epochs, np.nan)
    history = History(train_loss=nothing, train_accuracy_percent=nothing, test_accuracy_percent=nothing)
    return replace(run, status="diverged", diverged_step=3, history=history)


def failed(run: RunRecord) -> RunRecord:
    """The run as one the engine raised in."""
    nothing = np.array([])
    history = History(train_loss=nothing, train_accuracy_percent=nothing, test_accuracy_percent=nothing)
    return replace(run, status="failed", history=history, probes=None, class_shares=(), n_test=0, error="boom")
