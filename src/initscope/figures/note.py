"""The figure that says in words why there is nothing to draw."""

from __future__ import annotations

from initscope.figures.drawing import Drawing
from initscope.figures.page import balanced, open_page
from initscope.figures.style import HEIGHT_IN, SOFT_INK, TEXT_PT

_SIZE = TEXT_PT + 2.0


def draw_note(name: str, title: str, subtitle: str, reason: str) -> Drawing:
    """Returns a page with `title`, `subtitle` and `reason` instead of a picture; its one column holds the reason."""
    page = open_page(title, subtitle)
    lines = balanced(reason, 6.5, _SIZE)
    page.figure.text(
        0.5, (page.bottom + page.top) / 2 / HEIGHT_IN, "\n".join(lines), ha="center", va="center", fontsize=_SIZE,
        color=SOFT_INK, linespacing=1.4,
    )  # fmt: skip
    return Drawing(
        name=name,
        figure=page.figure,
        title=title,
        caption=f"{subtitle}. {reason}",
        alt=f"No picture. {title}. {reason}",
        columns={"note": [reason]},
    )
