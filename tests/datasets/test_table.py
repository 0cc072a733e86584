from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from initscope.base.errors import UsageError
from initscope.datasets import table as table_module
from initscope.datasets.csv_file import read_csv
from initscope.datasets.idx_file import read_idx_folder
from initscope.datasets.npz_file import read_npz
from initscope.datasets.table import Table, compact, content_sha256, to_dataset
from initscope.records.dataset import Dataset
from tests.datasets.files import small_images, write_csv, write_pair


def table_of(values: Sequence[Sequence[float]], labels: list[int] | None = None, dtype: str = "float64") -> Table:
    array = np.array(values, dtype)
    return Table(values=array, labels=np.array(labels or range(len(values)), np.int64), image_shape=None)


def dataset_of(table: Table) -> Dataset:
    return to_dataset(table, name="n", source="s", where="file")


def error_of(table: Table) -> str:
    with pytest.raises(UsageError) as caught:
        dataset_of(table)
    return str(caught.value)


def test_inputs_are_divided_by_the_largest_value_of_the_whole_array() -> None:
    data = dataset_of(table_of([[0, 2], [8, 4]]))
    assert data.inputs.dtype == np.float32
    assert data.inputs.tolist() == [[0.0, 0.25], [1.0, 0.5]]
    assert data.scale == 8.0


def test_a_large_negative_value_divides_by_its_size() -> None:
    data = dataset_of(table_of([[-8, 2], [4, 4]]))
    assert data.scale == 8.0
    assert data.inputs.tolist() == [[-1.0, 0.25], [0.5, 0.5]]


def test_labels_are_counted_from_zero_and_the_originals_kept() -> None:
    data = dataset_of(table_of([[1], [2], [3], [4]], [9, -2, 9, 5]))
    assert data.labels.tolist() == [2, 0, 2, 1]
    assert data.labels.dtype == np.int64
    assert data.class_values == (-2, 5, 9)


@given(st.lists(st.integers(0, 255), min_size=2, max_size=30).filter(lambda values: len(set(values)) > 1))
def test_bytes_and_floats_divide_to_the_same_bits(values: list[int]) -> None:
    rows = [[value] for value in values]
    packed, plain = dataset_of(table_of(rows, dtype="uint8")), dataset_of(table_of(rows, dtype="float64"))
    assert packed.inputs.tobytes() == plain.inputs.tobytes()
    assert packed.sha256 == plain.sha256


def test_one_array_has_one_hash_as_csv_as_idx_and_as_npz(tmp_path: Path) -> None:
    images, labels = small_images(), np.array([0, 1, 2, 0, 1, 2], np.uint8)
    write_pair(tmp_path, images, labels)
    write_csv(tmp_path / "data.csv.gz", images.reshape(6, 9), labels)
    np.savez(tmp_path / "data.npz", images=images.astype(np.float32), labels=labels)
    tables = (read_csv(tmp_path / "data.csv.gz"), read_idx_folder(tmp_path), read_npz(tmp_path / "data.npz"))
    assert len({content_sha256(table) for table in tables}) == 1
    assert [table.image_shape for table in tables] == [(3, 3)] * 3


def test_the_hash_of_a_known_table_stays_as_it_is() -> None:
    whole, decimal = table_of([[1, 2], [3, 4]], dtype="uint8"), table_of([[0.5, 2], [3, 4]])
    assert content_sha256(whole) == "cd5c069bdc6137cff282c614857ab76086e8bfda1f66eadc7f60f98d21dac529"
    assert content_sha256(decimal) == "8118648e64b0b8040f1df18d19c3b3f69ad093d9635a64f422bbbd6aadd8918e"


@pytest.mark.parametrize(
    "other",
    [
        table_of([[1, 2], [3, 5]]),
        table_of([[1, 2], [3, 4.5]]),
        table_of([[3, 4], [1, 2]]),
        table_of([[1, 2], [3, 4]], [1, 0]),
        table_of([[1, 2, 3, 4]], [0]),
        table_of([[-1, 2], [3, 4]]),
        table_of([[256, 2], [3, 4]]),
    ],
)
def test_other_content_has_another_hash(other: Table) -> None:
    assert content_sha256(other) != content_sha256(table_of([[1, 2], [3, 4]]))


def test_negative_zero_and_the_size_of_a_chunk_change_no_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, signed = table_of([[0.0, 0.5], [3, 4], [5, 6]]), table_of([[-0.0, 0.5], [3, 4], [5, 6]])
    before = content_sha256(plain)
    monkeypatch.setattr(table_module, "CHUNK_BYTES", 16)
    assert content_sha256(plain) == content_sha256(signed) == before


@pytest.mark.parametrize("value", [-1.0, 256.0, 0.5, float("nan")])
def test_only_whole_numbers_up_to_255_are_held_as_bytes(value: float) -> None:
    assert compact(np.array([[1.0, 255.0]])).dtype == np.uint8
    assert compact(np.array([[1.0, value]])).dtype == np.float64


def test_equal_pixels_everywhere_are_refused() -> None:
    assert error_of(table_of([[7, 7], [7, 7]])) == (
        "all features have the same value, so there is nothing to learn from\n  where: file\n"
        "  got:   7 everywhere\n  legal: features that differ between samples"
    )


def test_a_single_class_is_refused() -> None:
    assert error_of(table_of([[1], [2]], [3, 3])) == (
        "all samples have the same label, so there is nothing to tell apart\n  where: file\n"
        "  got:   label 3 everywhere\n  legal: labels of at least two classes"
    )


def test_a_value_that_is_not_finite_is_named_by_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_module, "CHUNK_BYTES", 16)
    assert error_of(table_of([[1, 2], [3, 4], [5, float("inf")]])) == (
        "feature 1 of sample 2 is not finite (both counted from 0)\n  where: file\n  got:   inf\n"
        "  legal: finite numbers"
    )


@pytest.mark.parametrize(
    ("shape", "what"), [((0, 4), "there are no samples here"), ((4, 0), "the samples have no features")]
)
def test_an_empty_array_is_refused(shape: tuple[int, int], what: str) -> None:
    table = Table(values=np.zeros(shape), labels=np.arange(shape[0]), image_shape=None)
    assert error_of(table) == (
        f"{what}\n  where: file\n  got:   {shape[0]} samples of {shape[1]} features\n"
        "  legal: at least two samples of at least one feature"
    )
