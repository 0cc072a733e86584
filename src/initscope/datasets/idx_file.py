"""Reads folders of IDX files, the format MNIST is published in: big-endian sizes, then one byte a value."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from initscope.base.errors import UsageError
from initscope.base.quantities import counted
from initscope.datasets.compressed import is_gz, reading
from initscope.datasets.table import Table

UNSIGNED_BYTES = 0x08
PIECE_BYTES = 1 << 20
IMAGES = re.compile(r"(?P<part>.+)-images[-.]idx3-ubyte(\.gz)?")
NAMES = "train-images-idx3-ubyte and train-labels-idx1-ubyte, plain or .gz, and t10k-... likewise"

Pair = tuple[Path, Path]


def read_idx_folder(folder: Path) -> Table:
    """Returns all image and label pairs in `folder`, one after another.

    A pair is NAME-images-idx3-ubyte and NAME-labels-idx1-ubyte, each plain or .gz (the plain one where both are
    there). The pair `train` comes first, then `t10k`, then others by name; the study splits at random itself, so
    nothing is held out here.
    Raises UsageError where there is no pair, labels are missing, or a file is not what its name says.
    """
    return read_idx_pairs(find_pairs(folder))


def find_pairs(folder: Path) -> tuple[Pair, ...]:
    """Returns the (images, labels) files in `folder`, in the order they are read."""
    names = {entry.name for entry in folder.iterdir() if entry.is_file()}
    images: dict[str, str] = {}
    for name in sorted(names):  # "x" sorts before "x.gz", so the plain file wins
        if match := IMAGES.fullmatch(name):
            images.setdefault(match["part"], name)
    if not images:
        raise UsageError("no IDX images in this folder", where=str(folder), legal=NAMES)
    parts = sorted(images, key=lambda part: (part != "train", part != "t10k", part))
    return tuple((folder / images[part], _labels_of(folder / images[part], part, names)) for part in parts)


def read_idx_pairs(pairs: Sequence[Pair]) -> Table:
    """Returns the images and labels of the pairs, one pair after another; all images must have one shape."""
    images, labels = [], []
    for image_path, label_path in pairs:
        images.append(read_idx(image_path, dimensions=3))
        labels.append(read_idx(label_path, dimensions=1))
        if len(images[-1]) != len(labels[-1]):
            raise UsageError(
                "images and labels differ in number",
                where=f"{image_path} and {label_path.name}",
                value=f"{counted(len(images[-1]), 'image')}, {counted(len(labels[-1]), 'label')}",
                legal="one label for every image",
            )
        if images[-1].shape[1:] != images[0].shape[1:]:
            raise UsageError(
                "the images of this folder have more than one shape",
                where=str(image_path),
                value=_times(images[-1].shape[1:]),
                legal=f"{_times(images[0].shape[1:])}, as in {pairs[0][0].name}",
            )
    shape = images[0].shape[1:]
    values = np.concatenate([part.reshape(len(part), math.prod(shape)) for part in images])
    return Table(values=values, labels=np.concatenate(labels).astype(np.int64), image_shape=shape)


def read_idx(path: Path, *, dimensions: int) -> NDArray[np.uint8]:
    """Returns the array in an IDX file of unsigned bytes with that many dimensions.

    No more is read, and no more memory taken, than the file really holds, whatever sizes its header claims.
    Raises UsageError where the file does not start as such a file does, or is shorter or longer than its header says.
    """
    with reading(path) as stream:
        shape = _header(stream, path, dimensions)
        size = math.prod(shape)
        if not is_gz(path):
            _check_length(path, shape, path.stat().st_size - 4 * (dimensions + 1))
        content = bytearray()
        while len(content) <= size and (piece := stream.read(min(PIECE_BYTES, size + 1 - len(content)))):
            content += piece
    _check_length(path, shape, len(content))
    return np.frombuffer(content, np.uint8).reshape(shape)


def _header(stream: IO[bytes], path: Path, dimensions: int) -> tuple[int, ...]:
    magic = bytes((0, 0, UNSIGNED_BYTES, dimensions))
    found = stream.read(4)
    if found != magic:
        raise UsageError(
            f"this is not an IDX file of unsigned bytes with {counted(dimensions, 'dimension')}",
            where=str(path),
            value=f"first bytes {found.hex(' ') or 'none: the file is empty'}",
            legal=f"first bytes {magic.hex(' ')}",
        )
    sizes = stream.read(4 * dimensions)
    if len(sizes) < 4 * dimensions:
        raise UsageError(
            "the IDX file ends inside its header",
            where=str(path),
            value=counted(4 + len(sizes), "byte"),
            legal=f"a header of {4 + 4 * dimensions} bytes",
        )
    return tuple(int(size) for size in np.frombuffer(sizes, ">u4"))


def _check_length(path: Path, shape: tuple[int, ...], received: int) -> None:
    size = math.prod(shape)
    if received == size:
        return
    more = " or more" if received > size and is_gz(path) else ""
    raise UsageError(
        f"the IDX file is {'shorter' if received < size else 'longer'} than its header says",
        where=str(path),
        value=f"{counted(received, 'byte')}{more} after the header",
        legal=f"{counted(size, 'byte')} ({_times(shape)})",
        do="copy or download the file again",
    )


def _labels_of(images: Path, part: str, names: set[str]) -> Path:
    for mark in ("-", "."):
        for ending in ("", ".gz"):
            name = f"{part}-labels{mark}idx1-ubyte{ending}"
            if name in names:
                return images.with_name(name)
    raise UsageError(
        "these images have no labels beside them",
        where=str(images),
        legal=f"{part}-labels-idx1-ubyte, plain or .gz, in the same folder",
    )


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(str(size) for size in shape)
