from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike

from initscope.base.errors import InitscopeError, UsageError
from initscope.datasets.npz_file import read_npz
from initscope.datasets.table import Table
from tests.datasets.files import small_images

LABELS = np.array([0, 1, 2, 0, 1, 2])
LEGAL = (
    "samples named x, inputs, images or data with labels named y, labels or targets; or x_train with y_train, "
    "and x_test with y_test"
)


def saved(folder: Path, **arrays: Any) -> Path:
    path = folder / "data.npz"
    np.savez_compressed(path, **arrays)
    return path


def read_or_error(path: Path) -> Table | InitscopeError:
    try:
        return read_npz(path)
    except InitscopeError as error:
        return error


def error_of(path: Path) -> str:
    with pytest.raises(UsageError) as caught:
        read_npz(path)
    return str(caught.value)


@pytest.mark.parametrize("x", ["x", "X", "inputs", "images", "data"])
@pytest.mark.parametrize("y", ["y", "Y", "labels", "targets"])
def test_every_usual_pair_of_names_is_read(tmp_path: Path, x: str, y: str) -> None:
    table = read_npz(saved(tmp_path, **{x: small_images(), y: LABELS, "other": np.zeros(3)}))
    assert table.values.tolist() == small_images().reshape(6, 9).tolist()
    assert table.labels.tolist() == LABELS.tolist()


def test_a_training_and_a_test_part_are_put_together(tmp_path: Path) -> None:
    parts = {"x_test": small_images(2), "y_test": LABELS[:2], "x_train": small_images(), "y_train": LABELS}
    table = read_npz(saved(tmp_path, **parts))
    assert table.values.tolist() == np.concatenate([small_images(), small_images(2)]).reshape(8, 9).tolist()
    assert table.labels.tolist() == [*LABELS, 0, 1]


@pytest.mark.parametrize(
    ("shape", "image"),
    [((6, 9), (3, 3)), ((6, 8), None), ((6, 1), None), ((6, 2, 3), (2, 3)), ((6, 2, 3, 1), (2, 3)),
     ((6, 1, 2, 3), (2, 3)), ((6, 2, 3, 3), (2, 3, 3)), ((6, 1, 5), None)],
)  # fmt: skip
def test_the_image_shape_is_that_of_one_sample(
    tmp_path: Path, shape: tuple[int, ...], image: tuple[int, ...] | None
) -> None:
    assert read_npz(saved(tmp_path, x=np.zeros(shape), y=LABELS)).image_shape == image


@pytest.mark.parametrize("labels", [LABELS.astype(float), LABELS.reshape(6, 1), LABELS > 0, LABELS.astype(np.uint8)])
def test_whole_labels_of_any_real_type_are_read(tmp_path: Path, labels: ArrayLike) -> None:
    expected = np.asarray(labels).reshape(-1).astype(int).tolist()
    assert read_npz(saved(tmp_path, x=small_images(), y=labels)).labels.tolist() == expected


def test_an_archive_without_samples_or_labels_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, y=LABELS, a=LABELS)
    assert error_of(path) == f"the archive lacks an array of samples\n  where: {path}\n  got:   y\n  legal: {LEGAL}"
    path = saved(tmp_path, x_train=LABELS)
    assert error_of(path).splitlines()[0] == "the archive lacks an array of samples"
    path = saved(tmp_path, images=LABELS)
    assert error_of(path).splitlines()[0] == "the archive lacks an array of labels"


@pytest.mark.parametrize(
    ("samples", "shown"),
    [(np.zeros(6), "(6,) of float64"), (np.zeros((6, 2), complex), "(6, 2) of complex128"),
     (np.full((6, 2), "a"), "(6, 2) of <U1")],
)  # fmt: skip
def test_arrays_that_cannot_be_samples_are_refused(tmp_path: Path, samples: ArrayLike, shown: str) -> None:
    path = saved(tmp_path, x=samples, y=LABELS)
    assert error_of(path) == (
        f"the array 'x' cannot be samples\n  where: {path}\n  got:   shape {shown}\n"
        "  legal: real numbers of shape (sample, feature) or (sample, row, column)"
    )


def test_labels_that_differ_in_number_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, x=small_images(), y=LABELS[:4])
    assert error_of(path) == (
        f"the array 'y' does not hold one label for every sample\n  where: {path}\n  got:   shape (4,)\n"
        "  legal: shape (6,)"
    )


def test_one_column_a_class_is_refused_with_the_way_out(tmp_path: Path) -> None:
    path = saved(tmp_path, x=small_images(), y=np.eye(3)[LABELS])
    assert error_of(path).splitlines()[-1] == (
        "  do:    store the number of the class (argmax over axis 1), not one column a class"
    )


@pytest.mark.parametrize(
    ("labels", "shown"),
    [(LABELS + 0.5, "float64, starting 0.5, 1.5, 2.5"), (LABELS * float("nan"), "float64, starting nan, nan, nan"),
     (np.full(6, "cat"), "<U3, starting cat, cat, cat")],
)  # fmt: skip
def test_labels_that_are_not_whole_numbers_are_refused(tmp_path: Path, labels: ArrayLike, shown: str) -> None:
    path = saved(tmp_path, x=small_images(), y=labels)
    assert error_of(path) == (
        f"the labels in 'y' are not whole numbers\n  where: {path}\n  got:   {shown}\n"
        "  legal: whole numbers of at most 2**53 in size"
    )


def test_parts_of_different_shapes_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, x_train=small_images(), y_train=LABELS, x_test=small_images(side=4), y_test=LABELS)
    assert error_of(path) == (
        f"the arrays of samples have more than one shape\n  where: {path}\n"
        "  got:   x_train: (6, 3, 3), x_test: (6, 4, 4)\n  legal: arrays that differ in their first size only"
    )


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    path = saved(tmp_path, x=np.array([[{"a": 1}]] * 6, object), y=LABELS)
    assert error_of(path).startswith(f"cannot read the arrays in this file\n  where: {path}\n  got:   Object arrays")


def test_a_file_that_is_no_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    path.write_bytes(b"1,2,3\n")
    assert error_of(path) == f"this is not an .npz file\n  where: {path}\n  got:   File is not a zip file"


def test_a_header_that_claims_terabytes_is_refused_before_memory_is_taken(tmp_path: Path) -> None:
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "<f8", "fortran_order": False, "shape": (10**9, 10**3)})
    path = tmp_path / "data.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", head.getvalue() + bytes(64))
    assert error_of(path) == (
        f"the array 'x' is larger than the file that holds it\n  where: {path}\n"
        "  got:   shape (1000000000, 1000) of float64\n  do:    copy or download the file again"
    )


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 255), st.integers(0, 10_000))
def test_no_damage_gives_anything_but_a_table_or_our_own_error(
    tmp_path_factory: pytest.TempPathFactory, place: int, byte: int, length: int
) -> None:
    folder = tmp_path_factory.getbasetemp()
    content = bytearray(saved(folder, x=small_images(), y=LABELS).read_bytes())
    content[place % len(content)] = byte
    path = folder / "damaged.npz"
    path.write_bytes(bytes(content) if length % 2 else bytes(content[: length % len(content)]))
    outcome = read_or_error(path)
    if isinstance(outcome, InitscopeError):
        assert outcome.where == str(path)
    else:
        assert len(outcome.values) == 6
