"""Draws the picture in the README from a real run: docs/images/outcomes.png. Takes about a minute on two cores."""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

import initscope

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PICTURE = Path(__file__).resolve().parent.parent / "docs" / "images" / "outcomes.png"
SEEDS = 20
DOTS_PER_INCH = 115


def main() -> int:
    """Runs the founding study on the embedded digits in a temporary folder and writes its figure of outcomes."""
    with tempfile.TemporaryDirectory() as folder:
        results = initscope.run("surprising-demo", seeds=SEEDS, out=Path(folder) / "surprising-demo")
        content = small_png(results.figure("outcomes"))
        results.close()
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    PICTURE.write_bytes(content)
    print(f"wrote {PICTURE} ({len(content) / 1000:.0f} kB)")
    return 0


def small_png(figure: Figure) -> bytes:
    """Returns a figure as a PNG file of moderate size, the same bytes at every call."""
    full, small = io.BytesIO(), io.BytesIO()
    figure.savefig(full, format="png", dpi=DOTS_PER_INCH)
    Image.open(full).convert("RGB").save(small, format="PNG", optimize=True)  # the page is opaque: no alpha channel
    return small.getvalue()


if __name__ == "__main__":
    sys.exit(main())
