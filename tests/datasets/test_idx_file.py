from __future__ import annotations

import gzip
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from initscope.base.errors import InitscopeError, UsageError
from initscope.datasets.idx_file import find_pairs, read_idx, read_idx_folder
from tests.datasets.files import REAL, idx_bytes, needs_real_data, small_images, write_pair

LABELS = np.array([0, 1, 2, 0, 1, 2], np.uint8)
AGAIN = "  do:    copy or download the file again"


def error_of(path: Path, dimensions: int = 3) -> str:
    with pytest.raises(UsageError) as caught:
        read_idx(path, dimensions=dimensions)
    return str(caught.value)


def folder_error(folder: Path) -> str:
    with pytest.raises(UsageError) as caught:
        read_idx_folder(folder)
    return str(caught.value)


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_the_training_pair_comes_first_and_then_t10k(tmp_path: Path, ending: str) -> None:
    write_pair(tmp_path, small_images(first=50), LABELS[::-1], "t10k", ending)
    write_pair(tmp_path, small_images(), LABELS, "train", ending)
    table = read_idx_folder(tmp_path)
    both = np.concatenate([small_images(), small_images(first=50)]).reshape(12, 9)
    assert table.values.tolist() == both.tolist()
    assert table.labels.tolist() == [*LABELS, *LABELS[::-1]]
    assert table.image_shape == (3, 3)


def test_the_training_pair_alone_is_enough(tmp_path: Path) -> None:
    write_pair(tmp_path, small_images(), LABELS)
    assert read_idx_folder(tmp_path).values.shape == (6, 9)


def test_other_pairs_dotted_names_and_plain_before_packed_are_understood(tmp_path: Path) -> None:
    for name in (
        "b-images-idx3-ubyte", "b-labels-idx1-ubyte.gz", "t10k-images.idx3-ubyte", "t10k-labels.idx1-ubyte",
        "train-images-idx3-ubyte", "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte", "notes.txt",
    ):  # fmt: skip
        (tmp_path / name).touch()
    assert [(images.name, labels.name) for images, labels in find_pairs(tmp_path)] == [
        ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
        ("t10k-images.idx3-ubyte", "t10k-labels.idx1-ubyte"),
        ("b-images-idx3-ubyte", "b-labels-idx1-ubyte.gz"),
    ]


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    assert folder_error(tmp_path) == (
        f"no IDX images in this folder\n  where: {tmp_path}\n"
        "  legal: train-images-idx3-ubyte and train-labels-idx1-ubyte, plain or .gz, and t10k-... likewise"
    )


def test_images_without_labels_are_refused(tmp_path: Path) -> None:
    write_pair(tmp_path, small_images(), LABELS)
    (tmp_path / "train-labels-idx1-ubyte").unlink()
    assert folder_error(tmp_path) == (
        f"these images have no labels beside them\n  where: {tmp_path / 'train-images-idx3-ubyte'}\n"
        "  legal: train-labels-idx1-ubyte, plain or .gz, in the same folder"
    )


def test_images_and_labels_that_differ_in_number_are_refused(tmp_path: Path) -> None:
    write_pair(tmp_path, small_images(), LABELS[:5])
    assert folder_error(tmp_path) == (
        f"images and labels differ in number\n"
        f"  where: {tmp_path / 'train-images-idx3-ubyte'} and train-labels-idx1-ubyte\n"
        "  got:   6 images, 5 labels\n  legal: one label for every image"
    )


def test_pairs_of_different_image_shapes_are_refused(tmp_path: Path) -> None:
    write_pair(tmp_path, small_images(), LABELS)
    write_pair(tmp_path, small_images(side=4), LABELS, "t10k")
    assert folder_error(tmp_path) == (
        f"the images of this folder have more than one shape\n  where: {tmp_path / 't10k-images-idx3-ubyte'}\n"
        "  got:   4 x 4\n  legal: 3 x 3, as in train-images-idx3-ubyte"
    )


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        (b"\x00\x00\x08\x01" + bytes(40), "00 00 08 01"),
        (b"\x00\x00\x0d\x03" + bytes(40), "00 00 0d 03"),
        (b"PNG!" + bytes(40), "50 4e 47 21"),
        (b"\x00\x00", "00 00"),
        (b"", "none: the file is empty"),
    ],
)
def test_a_file_that_starts_otherwise_is_refused(tmp_path: Path, content: bytes, shown: str) -> None:
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(content)
    assert error_of(path) == (
        f"this is not an IDX file of unsigned bytes with 3 dimensions\n  where: {path}\n"
        f"  got:   first bytes {shown}\n  legal: first bytes 00 00 08 03"
    )


def test_a_file_that_ends_inside_its_header_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(idx_bytes(small_images())[:10])
    assert error_of(path) == (
        f"the IDX file ends inside its header\n  where: {path}\n  got:   10 bytes\n  legal: a header of 16 bytes"
    )


@pytest.mark.parametrize(
    ("ending", "content", "what", "got"),
    [
        ("", idx_bytes(small_images())[:-1], "shorter", "53 bytes"),
        ("", idx_bytes(small_images()) + b"ab", "longer", "56 bytes"),
        (".gz", gzip.compress(idx_bytes(small_images())[:-1], mtime=0), "shorter", "53 bytes"),
        (".gz", gzip.compress(idx_bytes(small_images()) + b"ab", mtime=0), "longer", "55 bytes or more"),
    ],
)
def test_a_length_other_than_the_header_says_is_refused(
    tmp_path: Path, ending: str, content: bytes, what: str, got: str
) -> None:
    path = tmp_path / f"train-images-idx3-ubyte{ending}"
    path.write_bytes(content)
    assert error_of(path) == (
        f"the IDX file is {what} than its header says\n  where: {path}\n  got:   {got} after the header\n"
        f"  legal: 54 bytes (6 x 3 x 3)\n{AGAIN}"
    )


def test_a_gz_cut_off_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(idx_bytes(small_images(n=400)))[:-20])
    assert error_of(path) == f"the gzip file is cut off before its end\n  where: {path}\n{AGAIN}"


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_a_header_that_claims_terabytes_takes_no_memory(tmp_path: Path, ending: str) -> None:
    content = bytes((0, 0, 8, 3)) + b"\xff" * 12 + bytes(100)
    path = tmp_path / f"train-images-idx3-ubyte{ending}"
    path.write_bytes(gzip.compress(content) if ending else content)
    tracemalloc.start()
    try:
        text = error_of(path)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()
    assert "got:   100 bytes after the header" in text


def test_no_more_is_unpacked_than_the_header_asks_for(tmp_path: Path) -> None:
    path = tmp_path / "train-labels-idx1-ubyte.gz"
    path.write_bytes(gzip.compress(idx_bytes(LABELS) + bytes(50_000_000)))
    tracemalloc.start()
    try:
        text = error_of(path, dimensions=1)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()
    assert "got:   7 bytes or more after the header" in text


def read_or_error(path: Path, dimensions: int) -> NDArray[np.uint8] | InitscopeError:
    try:
        return read_idx(path, dimensions=dimensions)
    except InitscopeError as error:
        return error


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60), st.sampled_from(["", "magic"]), st.sampled_from(["", ".gz"]), st.sampled_from([1, 3]))
def test_no_content_gives_anything_but_an_array_or_our_own_error(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, start: str, ending: str, dimensions: int
) -> None:
    path = tmp_path_factory.getbasetemp() / f"random{ending}"
    content = (bytes((0, 0, 8, dimensions)) if start else b"") + content
    path.write_bytes(gzip.compress(content) if ending and start else content)
    outcome = read_or_error(path, dimensions)
    if isinstance(outcome, InitscopeError):
        assert outcome.where == str(path)
    else:
        assert outcome.ndim == dimensions


@needs_real_data
def test_the_real_test_part_of_mnist_is_read() -> None:
    images = read_idx(REAL / "t10k-images-idx3-ubyte.gz", dimensions=3)
    labels = read_idx(REAL / "t10k-labels-idx1-ubyte.gz", dimensions=1)
    assert images.shape == (10_000, 28, 28)
    assert np.bincount(labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
