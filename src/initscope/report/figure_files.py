"""The figures of a study as files: figures/NAME.png and figures/NAME.svg."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from initscope.figures.drawing import Drawing
from initscope.figures.render import to_png, to_svg
from initscope.report.atomic import write_atomically


def write_figures(drawings: Iterable[Drawing], folder: Path) -> tuple[Path, ...]:
    """Writes every drawing as .png (200 dots an inch) and .svg into `folder`/figures; returns the paths.

    Each file is whole or absent. Raises: EnvironmentFault where the folder cannot be written.
    """
    place = folder / "figures"
    written = []
    for drawing in drawings:
        written.append(write_atomically(place / f"{drawing.name}.png", to_png(drawing)))
        written.append(write_atomically(place / f"{drawing.name}.svg", to_svg(drawing).encode()))
    return tuple(written)
