from __future__ import annotations

from importlib import resources

import numpy as np

from initscope.datasets.digits import read_digits
from initscope.datasets.table import content_sha256

SHA256 = "e04bbf62f5446153f096d8dca3965e348ebfe1f115642f7ec68f451b22034e39"


def test_the_embedded_digits_are_the_published_ones() -> None:
    assert content_sha256(read_digits()) == SHA256


def test_the_digits_are_1797_images_of_ten_classes() -> None:
    table = read_digits()
    assert table.values.shape == (1797, 64)
    assert table.image_shape == (8, 8)
    assert (table.values.min(), table.values.max()) == (0, 16)
    assert np.bincount(table.labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_the_attribution_travels_with_the_data() -> None:
    text = resources.files("initscope.datasets").joinpath("data", "ATTRIBUTION.md").read_text("utf-8")
    for part in ("E. Alpaydin", "C. Kaynak", "10.24432/C50P49", "CC BY 4.0", "What was changed"):
        assert part in text
