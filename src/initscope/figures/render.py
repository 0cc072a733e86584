"""A drawing as SVG text or PNG bytes: pure functions of the figure, the same bytes at every call."""

from __future__ import annotations

import io
import re

import matplotlib

from initscope.figures.drawing import Drawing
from initscope.figures.style import house

DOTS_PER_INCH = 200
# Path coordinates are points; a hundredth of one cannot be seen, and the digits behind it are a third of the file.
_COORDINATES = re.compile(r' (?:d|x|y)="[^"]*"')
_LONG_NUMBER = re.compile(r"(\.\d\d)\d+")


def to_svg(drawing: Drawing) -> str:
    """Returns the figure as an SVG document with real text, without dates or random names in it."""
    stream = io.BytesIO()
    with house(), matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": drawing.name}):
        drawing.figure.savefig(
            stream, format="svg", dpi=DOTS_PER_INCH, metadata={"Date": None, "Creator": None, "Title": drawing.title}
        )
    return _COORDINATES.sub(_rounded, stream.getvalue().decode("utf-8"))


def _rounded(match: re.Match[str]) -> str:
    return _LONG_NUMBER.sub(r"\1", match.group())


def to_png(drawing: Drawing) -> bytes:
    """Returns the figure as a PNG file at 200 dots an inch, without dates or versions in it."""
    stream = io.BytesIO()
    with house():
        drawing.figure.savefig(
            stream, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None, "Title": drawing.title}
        )
    return stream.getvalue()
