"""Opens a file, unpacking it where its name ends in .gz, and says what is wrong with one that cannot be read."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from initscope.base.errors import UsageError

GZIP_MAGIC = b"\x1f\x8b"


def is_gz(path: Path) -> bool:
    """Returns whether the name says that the file is gzip-compressed."""
    return path.suffix.lower() == ".gz"


@contextmanager
def reading(path: Path) -> Iterator[IO[bytes]]:
    """Gives the file's bytes as a stream, unpacked where the name ends in .gz; nothing is held in memory.

    Raises UsageError, also while the stream is read inside the `with`, where the file is absent or unreadable, is not
    gzip although its name says so, ends too early, or is damaged.
    """
    where = str(path)
    again = "copy or download the file again"
    try:
        if is_gz(path):
            _check_magic(path)
            with gzip.open(path, "rb") as stream:
                yield cast(IO[bytes], stream)
        else:
            with path.open("rb") as plain:
                yield plain
    except EOFError as error:
        raise UsageError("the gzip file is cut off before its end", where=where, do=again) from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise UsageError("the gzip file is damaged", where=where, value=str(error), do=again) from error
    except OSError as error:
        raise UsageError("cannot read the file", where=where, value=error.strerror or str(error)) from error


def _check_magic(path: Path) -> None:
    with path.open("rb") as stream:
        start = stream.read(len(GZIP_MAGIC))
    if start and start != GZIP_MAGIC:
        raise UsageError(
            "this is not a gzip file, although its name ends in .gz",
            where=str(path),
            value=f"first bytes {start.hex(' ')}",
            legal=f"first bytes {GZIP_MAGIC.hex(' ')}",
            do="take .gz off its name if it is a plain file, otherwise copy or download it again",
        )
