"""Figures inside a page: SVG text that can stand beside others, or a PNG where the page would grow too heavy."""

from __future__ import annotations

import base64
import re

from markupsafe import Markup, escape

from initscope.figures.drawing import Drawing
from initscope.figures.render import to_png, to_svg

PROLOG = re.compile(r"^.*?(?=<svg\b)", re.DOTALL)
METADATA = re.compile(r"<(metadata|title)\b.*?</\1>", re.DOTALL)
SIZE = re.compile(r'\s(?:width|height|id|xmlns:\w+|version)="[^"]*"')
IDENTITY = re.compile(r'(\sid=")([^"]+)(")')
REFERENCE = re.compile(r'(url\(#|\s(?:xlink:)?href="#)([^)"]+)')
EVERYTHING = re.compile(r"(<style\b[^>]*>)\s*\*\s*\{")


def inline_svg(drawing: Drawing) -> Markup:
    """Returns the figure as an <svg> element: a role and a label for readers of text, no fixed size, ids of its own."""
    return Markup(embeddable(to_svg(drawing), name=drawing.name, label=drawing.alt))  # our own SVG


def embeddable(svg: str, *, name: str, label: str) -> str:
    """Returns an SVG document as an element of an HTML page.

    Every id and every reference to one is prefixed with `name`, since figures of one page would otherwise take each
    other's markers and clips; a style for everything is narrowed to this figure; prolog, metadata and title go.

    Arguments: `svg` a document as matplotlib writes it; `name` unlike that of any other figure of the page; `label` the
    text alternative, escaped here.
    """
    prefix = re.sub(r"[^A-Za-z0-9_-]", "-", name)
    body = METADATA.sub("", PROLOG.sub("", svg, count=1))
    head, _, rest = body.partition(">")
    head = SIZE.sub("", head)
    rest = IDENTITY.sub(rf"\g<1>{prefix}-\g<2>\g<3>", rest)
    rest = REFERENCE.sub(rf"\g<1>{prefix}-\g<2>", rest)
    rest = EVERYTHING.sub(rf"\g<1>#{prefix}-svg * {{", rest)
    spaces = ' xmlns:xlink="http://www.w3.org/1999/xlink"' if "xlink:" in rest else ""
    return f'{head} id="{prefix}-svg"{spaces} role="img" aria-label="{escape(label)}">{rest.strip()}'


def inline_png(drawing: Drawing) -> Markup:
    """Returns the figure as an <img> element with its PNG inside."""
    data = base64.b64encode(to_png(drawing)).decode("ascii")
    return Markup('<img src="data:image/png;base64,{}" alt="{}">').format(data, drawing.alt)


class Embedded:
    """The figures of a page as HTML, each an SVG until it is asked to become a PNG."""

    def __init__(self, drawings: tuple[Drawing, ...]) -> None:
        self._drawings = {drawing.name: drawing for drawing in drawings}
        self._html = {name: inline_svg(drawing) for name, drawing in self._drawings.items()}
        self._vectors = set(self._html)

    def __getitem__(self, name: str) -> Markup:
        return self._html[name]

    def lighten(self) -> bool:
        """Turns the heaviest SVG that is lighter as a PNG into one; returns False where none is left."""
        for name in sorted(self._vectors, key=lambda name: -len(self._html[name])):
            self._vectors.discard(name)
            image = inline_png(self._drawings[name])
            if len(image) < len(self._html[name]):
                self._html[name] = image
                return True
        return False
