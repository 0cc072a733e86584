"""From what a user writes after `--data` to the data."""

from __future__ import annotations

import os
from pathlib import Path

from initscope.base.errors import UsageError, unknown_name
from initscope.datasets.catalogue import find, names
from initscope.datasets.csv_file import read_csv
from initscope.datasets.digits import read_digits
from initscope.datasets.downloads import fetch
from initscope.datasets.idx_file import read_idx_folder, read_idx_pairs
from initscope.datasets.npz_file import read_npz
from initscope.datasets.table import Table, to_dataset
from initscope.records.dataset import Dataset

SUFFIXES = (".csv", ".csv.gz", ".npz")
LEGAL = f"{', '.join(names())}, or the path of a .csv, .csv.gz or .npz file or of a folder of IDX files"


def load(source: str) -> Dataset:
    """Returns the data that `source` names.

    `source` is `digits` (embedded), `mnist` or `fashion-mnist` (downloaded once and kept), or a path, relative to the
    current folder or starting with ~: a .csv or .csv.gz (label in column 0, no header), a folder of IDX files, or
    an .npz. A name wins over a file of that name: write ./mnist for a folder called mnist.

    The published training and test parts of MNIST, of Fashion-MNIST and of IDX folders are put together, training
    part first, because a study holds out its own random share for every seed.
    Features are flattened and divided by the largest value found in the whole array (by the largest absolute value
    where some are negative), labels are counted from 0.

    Raises UsageError for an unknown source and for a file that cannot be used, EnvironmentFault where a download is
    needed and fails.

    Example:
        >>> data = load("digits")
        >>> data.inputs.shape, data.scale, data.image_shape
        ((1797, 64), 16.0, (8, 8))
    """
    if source in names():
        return to_dataset(_named_table(source), name=source, source=source, where=source, licence=find(source).licence)
    path = _existing(source)
    return to_dataset(_table_at(path), name=_stem(path), source=source, where=str(path))


def _named_table(name: str) -> Table:
    if name == "digits":
        return read_digits()
    paths = [file.path for file in fetch(name)]
    return read_idx_pairs(list(zip(paths[::2], paths[1::2], strict=True)))


def _existing(source: str) -> Path:
    try:
        path = Path(source).expanduser()
        there = path.exists()
    except (OSError, RuntimeError, ValueError):  # a name too long, an unknown ~user, a NUL
        path, there = Path(source), False
    if there and source.strip():
        return path
    unknown = unknown_name("dataset", source, names())
    if _looks_like_path(source):
        raise UsageError(
            f"{unknown.what}: it looks like a path, and there is no such file or folder",
            where=os.path.abspath(path) if "\0" not in source else None,
            legal=LEGAL,
            do="check the path; relative ones start from the current folder",
        )
    raise UsageError(unknown.what, legal=LEGAL, do=unknown.do)


def _looks_like_path(source: str) -> bool:
    return "/" in source or os.sep in source or source.startswith("~") or source.lower().endswith((*SUFFIXES, ".gz"))


def _table_at(path: Path) -> Table:
    name = path.name.lower()
    if path.is_dir():
        return read_idx_folder(path)
    if name.endswith((".csv", ".csv.gz")) and path.is_file():
        return read_csv(path)
    if name.endswith(".npz") and path.is_file():
        return read_npz(path)
    raise UsageError("cannot tell from its name what this file holds", where=str(path), legal=LEGAL)


def _stem(path: Path) -> str:
    """The file's name without its endings: mnist_train_small for mnist_train_small.csv.gz."""
    name = path.name or path.resolve().name
    for suffix in SUFFIXES:
        if name.lower().endswith(suffix) and not path.is_dir():
            return name[: -len(suffix)] or name
    return name
