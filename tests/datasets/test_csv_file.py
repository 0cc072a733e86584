from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from initscope.base.errors import InitscopeError, UsageError
from initscope.datasets import csv_file, csv_trouble
from initscope.datasets.csv_file import read_csv
from initscope.datasets.idx_file import read_idx
from initscope.datasets.table import Table
from tests.datasets.files import REAL, needs_real_data, write_csv

LAYOUT = "numbers separated by commas, no header: column 0 the label, columns 1 and up the pixels"
PRINTABLE = st.text(alphabet="0123456789,.\n\r -+eEnaif_\t;\x00", max_size=60)


def written(folder: Path, content: str | bytes, name: str = "data.csv") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def read_or_error(path: Path) -> Table | InitscopeError:
    try:
        return read_csv(path)
    except InitscopeError as error:
        return error


def error_of(path: Path) -> str:
    with pytest.raises(UsageError) as caught:
        read_csv(path)
    return str(caught.value)


@pytest.mark.parametrize("ending", [".csv", ".csv.gz"])
def test_labels_and_pixels_come_back_as_written(tmp_path: Path, ending: str) -> None:
    values = np.random.default_rng(0).integers(0, 256, (50, 16))
    labels = np.arange(50) % 7
    table = read_csv(write_csv(tmp_path / f"data{ending}", values, labels))
    assert table.values.dtype == np.uint8
    assert table.values.tolist() == values.tolist()
    assert table.labels.tolist() == labels.tolist()
    assert table.image_shape == (4, 4)


@pytest.mark.parametrize("block", [1, 7, 64, 1000])
def test_the_size_of_a_block_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    values = np.random.default_rng(1).integers(0, 1000, (20, 5))
    path = write_csv(tmp_path / "data.csv", values, np.arange(20) % 3)
    monkeypatch.setattr(csv_file, "BLOCK_BYTES", block)
    assert read_csv(path).values.tolist() == values.tolist()


@pytest.mark.parametrize(
    "content",
    [
        "1,2,30\n0,4,255\n",
        "1,2,30\n0,4,255",
        "1,2,30\r\n0,4,255\r\n",
        "\ufeff1,2,30\n0,4,255\n",
        "1,2,30\n\n0,4,255\n\n\n",
        "1, 2.0, 3e1\n0,4,255\n",
        "1.0,+2,30\n-0,4,255\n",
        "1,2,0000000000030\n0,4,255\n",
    ],
)
def test_every_usual_way_of_writing_the_same_numbers_gives_the_same_table(tmp_path: Path, content: str) -> None:
    table = read_csv(written(tmp_path, content))
    assert table.labels.tolist() == [1, 0]
    assert table.values.tolist() == [[2, 30], [4, 255]]
    assert table.values.dtype == np.uint8


@given(st.lists(st.lists(st.integers(0, 10**9 - 1), min_size=3, max_size=3), min_size=1, max_size=8))
def test_the_fast_parse_agrees_with_the_tolerant_one(rows: list[list[int]]) -> None:
    block = "".join(",".join(map(str, row)) + "\n" for row in rows).encode()
    fast, slow = csv_file._plain_numbers(block, None), csv_file._any_numbers(block, None)
    assert fast is not None
    assert slow is not None
    assert fast.labels.tolist() == slow.labels.tolist() == [row[0] for row in rows]
    assert fast.values.tolist() == slow.values.tolist() == [row[1:] for row in rows]
    assert fast.values.dtype == slow.values.dtype


def test_decimal_and_negative_pixels_and_negative_labels_are_kept(tmp_path: Path) -> None:
    table = read_csv(written(tmp_path, "-1,0.25,-3\n1,1e-3,7\n"))
    assert table.labels.tolist() == [-1, 1]
    assert table.values.tolist() == [[0.25, -3.0], [0.001, 7.0]]


def test_columns_that_make_no_square_are_no_image(tmp_path: Path) -> None:
    assert read_csv(written(tmp_path, "0,1,2,3\n1,4,5,6\n")).image_shape is None


@pytest.mark.parametrize(
    ("content", "line", "rest"),
    [
        ("", None, f"the file is empty\n  where: {{where}}\n  legal: {LAYOUT}"),
        ("\n \n\n", None, f"the file is empty\n  where: {{where}}\n  legal: {LAYOUT}"),
        (
            "1,2,3\n0,4,5\n1,2\n",
            3,
            (
                "this row has 2 columns where the first has 3\n  where: {where}\n  legal: 3 columns in every row\n"
                "  do:    complete or remove this row"
            ),
        ),
        (
            "1,2,3\n\n0,4,5,6\n",
            3,
            (
                "this row has 4 columns where the first has 3\n  where: {where}\n  legal: 3 columns in every row\n"
                "  do:    complete or remove this row"
            ),
        ),
        (
            '"1","2","3"\n"0","4","5"\n',
            1,
            (
                f"the numbers are in quotes\n  where: {{where}}\n  got:   '\"1\",\"2\",\"3\"'\n  legal: {LAYOUT}\n"
                "  do:    write the file again without quotes; no line is to be removed"
            ),
        ),
        (
            "label,pixel0,pixel1\n0,4,5\n",
            1,
            (
                f"the first line is a header\n  where: {{where}}\n  got:   'label,pixel0,pixel1'\n  legal: {LAYOUT}\n"
                "  do:    remove this line"
            ),
        ),
        (
            "label,0,1\n0,4,5\n",
            1,
            (
                f"the first line is a header\n  where: {{where}}\n  got:   'label,0,1'\n  legal: {LAYOUT}\n"
                "  do:    remove this line"
            ),
        ),
        ("1,2,3\n0,x,5\n", 2, f"column 1 is not a number\n  where: {{where}}\n  got:   'x'\n  legal: {LAYOUT}"),
        ("1,2,x\n0,4,5\n", 1, f"column 2 is not a number\n  where: {{where}}\n  got:   'x'\n  legal: {LAYOUT}"),
        ("1,2,3\n0,1_0,5\n", 2, f"column 1 is not a number\n  where: {{where}}\n  got:   '1_0'\n  legal: {LAYOUT}"),
        ("1,2\r0,4\r", 1, f"column 1 is not a number\n  where: {{where}}\n  got:   '2\\r0'\n  legal: {LAYOUT}"),
        ("1,2,3\n0,,5\n", 2, f"column 1 is empty\n  where: {{where}}\n  legal: {LAYOUT}"),
        (
            "1,2,3\n0,4,NaN\n",
            2,
            "column 2 is not a finite number\n  where: {where}\n  got:   'NaN'\n  legal: finite numbers",
        ),
        (
            "1,2,3\n0,-inf,4\n",
            2,
            "column 1 is not a finite number\n  where: {where}\n  got:   '-inf'\n  legal: finite numbers",
        ),
        (
            "1,2,3\n0,1e999,4\n",
            2,
            "column 1 is not a finite number\n  where: {where}\n  got:   '1e999'\n  legal: finite numbers",
        ),
        (
            "1,2,3\n0.5,4,4\n",
            2,
            (
                "the label is not a whole number\n  where: {where}\n  got:   '0.5'\n"
                "  legal: in column 0 a whole number of at most 2**53 in size"
            ),
        ),
        (
            "1e300,2,3\n0,4,4\n",
            1,
            (
                "the label is not a whole number\n  where: {where}\n  got:   '1e300'\n"
                "  legal: in column 0 a whole number of at most 2**53 in size"
            ),
        ),
        ("1\n0\n", 1, f"there are no pixel columns\n  where: {{where}}\n  got:   '1'\n  legal: {LAYOUT}"),
        (
            "1;2;3\n0;4;5\n",
            1,
            (
                f"there are no pixel columns\n  where: {{where}}\n  got:   '1;2;3'\n  legal: {LAYOUT}\n"
                "  do:    separate the columns by commas, not by ';'"
            ),
        ),
        (
            b"1,2,3\n0,\xff,5\n",
            2,
            (
                "the line is not text\n  where: {where}\n  got:   byte 0xff at position 3 of the line\n"
                f"  legal: {LAYOUT}"
            ),
        ),
    ],
)
def test_the_first_line_that_is_wrong_is_named(
    tmp_path: Path, content: str | bytes, line: int | None, rest: str
) -> None:
    path = written(tmp_path, content)
    assert error_of(path) == rest.format(where=path if line is None else f"{path}:{line}")


def test_a_mistake_far_down_the_file_is_named_by_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_file, "BLOCK_BYTES", 100)
    path = written(tmp_path, "1,2,3\n" * 4999 + "1,2,?\n" + "1,2\n" * 10)
    assert error_of(path).splitlines()[:2] == ["column 2 is not a number", f"  where: {path}:5000"]


def test_a_line_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (csv_file, csv_trouble):
        monkeypatch.setattr(module, "LONGEST_LINE", 50)
    monkeypatch.setattr(csv_file, "BLOCK_BYTES", 16)
    path = written(tmp_path, "1,2,3\n" + "1," * 100 + "1\n")
    assert error_of(path) == f"the line is too long\n  where: {path}:2\n  legal: at most 50 bytes a line"


def test_a_gz_cut_off_is_refused(tmp_path: Path) -> None:
    content = gzip.compress(b"1,2,3\n0,4,5\n" * 1000)
    path = written(tmp_path, content[:-12], "data.csv.gz")
    assert error_of(path) == (
        f"the gzip file is cut off before its end\n  where: {path}\n  do:    copy or download the file again"
    )


def test_a_gz_with_a_wrong_checksum_is_refused(tmp_path: Path) -> None:
    content = bytearray(gzip.compress(b"1,2,3\n0,4,5\n"))
    content[-6] ^= 1
    path = written(tmp_path, bytes(content), "data.csv.gz")
    assert error_of(path).startswith(f"the gzip file is damaged\n  where: {path}\n  got:   CRC check failed")


def test_plain_text_called_gz_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "1,2,3\n0,4,5\n", "data.csv.gz")
    assert error_of(path) == (
        f"this is not a gzip file, although its name ends in .gz\n  where: {path}\n  got:   first bytes 31 2c\n"
        "  legal: first bytes 1f 8b\n"
        "  do:    take .gz off its name if it is a plain file, otherwise copy or download it again"
    )


def test_a_gzip_file_not_called_gz_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, gzip.compress(b"1,2,3\n0,4,5\n"))
    assert error_of(path) == (
        f"this is a gzip file, although its name does not say so\n  where: {path}\n  do:    end its name in .csv.gz"
    )


@settings(max_examples=150, deadline=None)
@given(st.one_of(st.binary(max_size=80), PRINTABLE.map(str.encode)), st.sampled_from([".csv", ".csv.gz"]))
def test_no_content_gives_anything_but_a_table_or_our_own_error(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, ending: str
) -> None:
    path = tmp_path_factory.getbasetemp() / f"random{ending}"
    path.write_bytes(gzip.compress(content) if ending == ".csv.gz" and content[:1] > b"\x40" else content)
    outcome = read_or_error(path)
    if isinstance(outcome, InitscopeError):
        assert not str(outcome).startswith("cannot read this file as numbers")
    else:
        assert np.isfinite(outcome.values).all()
        assert outcome.values.shape == (len(outcome.labels), outcome.values.shape[1])


@needs_real_data
def test_the_real_file_holds_the_first_20000_training_images_of_mnist() -> None:
    table = read_csv(REAL / "mnist_train_small.csv.gz")
    images = read_idx(REAL / "train-images-idx3-ubyte.gz", dimensions=3)[:20_000]
    labels = read_idx(REAL / "train-labels-idx1-ubyte.gz", dimensions=1)[:20_000]
    assert table.image_shape == (28, 28)
    assert table.values.dtype == np.uint8
    assert (table.values == images.reshape(20_000, 784)).all()
    assert (table.labels == labels).all()
