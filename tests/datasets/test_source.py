from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from initscope.base.errors import EnvironmentFault, UsageError
from initscope.datasets.catalogue import CATALOGUE, find, names
from initscope.datasets.source import load
from tests.datasets.files import REAL, needs_real_data, small_images, write_csv, write_pair

LABELS = np.array([0, 1, 2, 0, 1, 2], np.uint8)
LEGAL = "digits, mnist, fashion-mnist, or the path of a .csv, .csv.gz or .npz file or of a folder of IDX files"


def error_of(source: str) -> str:
    with pytest.raises(UsageError) as caught:
        load(source)
    return str(caught.value)


def test_the_digits_are_loaded_without_a_network_or_a_file() -> None:
    data = load("digits")
    assert (data.name, data.source, data.licence) == ("digits", "digits", "CC BY 4.0")
    assert data.inputs.shape == (1797, 64)
    assert data.inputs.dtype == np.float32
    assert (data.inputs.min(), data.inputs.max(), data.scale) == (0.0, 1.0, 16.0)
    assert data.class_values == tuple(range(10))
    assert data.summary().n_classes == 10


@pytest.mark.parametrize("name", ["small.csv", "small.csv.gz", "small.CSV", "small.npz", "small"])
def test_each_kind_of_path_gives_the_same_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    images = small_images()
    path = tmp_path / name
    if name == "small":
        path.mkdir()
        write_pair(path, images, LABELS)
    elif name.endswith(".npz"):
        np.savez(path, x=images, y=LABELS)
    else:
        write_csv(path, images.reshape(6, 9), LABELS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    source = f"./{name}" if name == "small" else name
    for written in (source, str(path), f"~/{name}"):
        data = load(written)
        assert (data.name, data.source, data.licence) == ("small", written, "")
        assert data.inputs.tolist() == (images.reshape(6, 9) / np.float32(images.max())).tolist()
        assert data.labels.tolist() == LABELS.tolist()
        assert data.image_shape == (3, 3)


def test_a_name_wins_over_a_file_of_that_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "digits").mkdir()
    monkeypatch.chdir(tmp_path)
    assert load("digits").n_samples == 1797


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    assert error_of("mnits") == f"unknown dataset 'mnits'\n  legal: {LEGAL}\n  do:    did you mean 'mnist'?"


def test_a_name_like_no_other_is_answered_with_the_list() -> None:
    assert error_of("zzz") == (
        f"unknown dataset 'zzz'\n  legal: {LEGAL}\n  do:    initscope list shows what there is; choose a legal dataset"
    )


@pytest.mark.parametrize("source", ["absent.csv", "absent.csv.gz", "absent.npz", "absent/folder", "./mnist"])
def test_a_path_that_is_not_there_is_called_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    monkeypatch.chdir(tmp_path)
    assert error_of(source) == (
        f"unknown dataset {source!r}: it looks like a path, and there is no such file or folder\n"
        f"  where: {tmp_path / source}\n  legal: {LEGAL}\n"
        "  do:    check the path; relative ones start from the current folder"
    )


@pytest.mark.parametrize("source", ["", " ", "\0", "a" * 5000, "~nobody-of-that-name/x.csv", "/dev/null"])
def test_odd_sources_are_refused_like_any_other(source: str) -> None:
    assert f"  legal: {LEGAL}" in error_of(source)


def test_a_file_of_an_unknown_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "data.parquet"
    path.write_bytes(b"PAR1")
    assert error_of(str(path)) == f"cannot tell from its name what this file holds\n  where: {path}\n  legal: {LEGAL}"


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"1,5,5\n0,5,5\n", "all features have the same value, so there is nothing to learn from"),
        (b"1,5,6\n1,5,5\n", "all samples have the same label, so there is nothing to tell apart"),
    ],
)
def test_a_file_with_nothing_to_learn_is_refused_by_its_path(tmp_path: Path, content: bytes, what: str) -> None:
    path = tmp_path / "data.csv.gz"
    path.write_bytes(gzip.compress(content))
    assert error_of(str(path)).startswith(f"{what}\n  where: {path}\n")


def test_a_named_set_that_cannot_be_had_is_a_fault_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INITSCOPE_DATA_DIR", str(tmp_path))
    (tmp_path / "mnist").mkdir()
    (tmp_path / "mnist" / "train-labels-idx1-ubyte").write_bytes(b"not it")
    with pytest.raises(EnvironmentFault):
        load("mnist")


@needs_real_data
def test_mnist_from_the_cache_is_the_same_as_mnist_from_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mnist").symlink_to(REAL)
    monkeypatch.setenv("INITSCOPE_DATA_DIR", str(tmp_path))
    named, folder = load("mnist"), load(str(REAL))
    assert named.inputs.shape == (70_000, 784)
    assert named.sha256 == folder.sha256
    assert (named.licence, folder.licence) == ("CC BY-SA 3.0", "")


def test_the_catalogue_agrees_with_what_is_loaded() -> None:
    entry, data = find("digits"), load("digits")
    assert (entry.n_samples, entry.n_features, entry.n_classes) == (data.n_samples, data.n_features, data.n_classes)
    assert (entry.image_shape, entry.licence) == (data.image_shape, data.licence)


def test_every_entry_of_the_catalogue_says_all_there_is_to_say() -> None:
    assert names() == ("digits", "mnist", "fashion-mnist")
    for entry in CATALOGUE:
        assert entry.about
        assert entry.licence
        assert entry.citation
        assert entry.needs_download == (entry.name != "digits")


def test_an_unknown_entry_is_answered_with_the_nearest_name() -> None:
    with pytest.raises(UsageError) as caught:
        find("digit")
    assert str(caught.value) == (
        "unknown dataset 'digit'\n  legal: digits, fashion-mnist, mnist\n  do:    did you mean 'digits'?"
    )
