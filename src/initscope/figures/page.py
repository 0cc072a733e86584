"""A page of golden ratio: title and subtitle wrapped at their measured width, and the box left for axes."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

from initscope.figures.style import HEIGHT_IN, INK, SMALL_PT, SOFT_INK, TEXT_PT, TITLE_PT, WIDTH_IN, plain_axes

MARGIN_IN = 0.35
_POINTS = 72.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Page:
    """A figure with its title set. `left`, `bottom`, `right`, `top` bound the box for axes, in inches."""

    figure: Figure
    left: float
    bottom: float
    right: float
    top: float

    def axes(self, left: float, bottom: float, right: float, top: float, *, grid: str = "y") -> Axes:
        """Returns new axes whose frame has these edges, in inches."""
        width, height = max(right - left, 0.1) / WIDTH_IN, max(top - bottom, 0.1) / HEIGHT_IN
        axes = self.figure.add_axes((left / WIDTH_IN, bottom / HEIGHT_IN, width, height))
        plain_axes(axes, grid=grid)
        return axes

    def key(self, handles: Sequence[Artist], *, above: float) -> None:
        """Draws a key of one row, `above` inches over the box."""
        self.figure.legend(
            handles=list(handles), loc="lower left", ncols=max(1, len(handles)), frameon=False, fontsize=SMALL_PT,
            bbox_to_anchor=((self.left - 0.06) / WIDTH_IN, (self.top + above) / HEIGHT_IN), labelcolor=INK,
            handlelength=2.0, columnspacing=1.6, borderaxespad=0.2, borderpad=0.0,
        )  # fmt: skip

    def whole(self, *, grid: str = "y") -> Axes:
        """Returns new axes that fill the box."""
        return self.axes(self.left, self.bottom, self.right, self.top, grid=grid)


def open_page(
    title: str, subtitle: str, *, left: float = 0.85, right: float = MARGIN_IN, bottom: float = 0.7, key: float = 0.0
) -> Page:
    """Returns a page with its words at the top.

    Arguments: `left`, `right`, `bottom` margins of the box in inches (they hold tick labels, axis names and labels
    beside the curves); `key` the height in inches kept free above the box for a key.
    """
    figure = Figure(figsize=(WIDTH_IN, HEIGHT_IN), facecolor="white")
    width = WIDTH_IN - 2 * MARGIN_IN
    size = TITLE_PT
    lines = balanced(title, width, size, bold=True)
    if len(lines) > 2:
        size = TITLE_PT - 2.0
        lines = balanced(title, width, size, bold=True)
    y = HEIGHT_IN - 0.28
    x = MARGIN_IN / WIDTH_IN
    _write(figure, x, y, lines, size, INK, weight="bold")
    y -= len(lines) * size * 1.25 / _POINTS + 0.07
    below = balanced(subtitle, width, TEXT_PT)
    _write(figure, x, y, below, TEXT_PT, SOFT_INK, weight="normal")
    y -= len(below) * TEXT_PT * 1.3 / _POINTS + 0.14
    return Page(figure=figure, left=left, bottom=bottom, right=WIDTH_IN - right, top=y - key)


def _write(figure: Figure, x: float, y: float, lines: tuple[str, ...], size: float, ink: str, *, weight: str) -> None:
    spacing = 1.25 if weight == "bold" else 1.3
    for number, line in enumerate(lines):
        height = (y - number * size * spacing / _POINTS) / HEIGHT_IN
        figure.text(x, height, line, fontsize=size, color=ink, fontweight=weight, ha="left", va="top")


@lru_cache(maxsize=4096)
def width_in(text: str, size: float, *, bold: bool = False) -> float:
    """Returns the printed width of one line in inches at `size` points."""
    font = FontProperties(family=["DejaVu Sans"], size=size, weight="bold" if bold else "normal")
    width, _, _ = text_to_path.get_text_width_height_descent(text, font, False)
    return float(width) / _POINTS


def wrapped(text: str, width: float, size: float, *, bold: bool = False) -> tuple[str, ...]:
    """Returns `text` broken at spaces into lines no wider than `width` inches; a number stays with its noun."""
    return _filled(re.split(r"(?<![0-9]) ", text), " ", width, size, bold=bold)


def balanced(text: str, width: float, size: float, *, bold: bool = False) -> tuple[str, ...]:
    """Returns `text` in as few lines as `wrapped`, of about equal length, so that no word is left alone on the last."""
    return _evened(partial(wrapped, text, size=size, bold=bold), width)


def _evened(fill: Callable[[float], tuple[str, ...]], width: float) -> tuple[str, ...]:
    best = fill(width)
    if len(best) < 2:
        return best
    narrower = width
    while narrower > width / 2:
        narrower -= 0.05
        lines = fill(narrower)
        if len(lines) > len(best):
            break
        best = lines
    return best


def wrapped_name(name: str, width: float, size: float) -> tuple[str, ...]:
    """Returns a key or parameter path broken after hyphens, dots and underscores into lines of `width` inches.

    Example:
        >>> wrapped_name("weights-zero-biases-default", 1.2, 10.5)
        ('weights-zero-', 'biases-default')
    """
    words = re.findall(r"[^-._]*[-._]+|[^-._]+", name)
    return _evened(lambda room: _filled(words, "", room, size, bold=False), width)


def _filled(words: list[str], glue: str, width: float, size: float, *, bold: bool) -> tuple[str, ...]:
    lines: list[str] = []
    line = ""
    for word in words:
        longer = f"{line}{glue}{word}" if line else word
        if line and width_in(longer, size, bold=bold) > width:
            lines.append(line)
            line = word
        else:
            line = longer
    return (*lines, line) if line else tuple(lines)
