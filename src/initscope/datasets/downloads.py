"""Fetches published data sets into a cache folder, checked by hash; never goes to the network when the cache verifies.

The cache has one folder a data set, `INITSCOPE_DATA_DIR/mnist` and `INITSCOPE_DATA_DIR/fashion-mnist`; without that
variable they lie in the user's cache folder of the system. A file put there by hand serves as well as a downloaded one,
packed again or unpacked (without .gz), wherever its content's hash is known.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from initscope.base.errors import EnvironmentFault, UsageError, unknown_name
from initscope.base.quantities import counted
from initscope.datasets.catalogue import find
from initscope.datasets.compressed import is_gz, reading
from initscope.datasets.published import PUBLICATIONS, Publication, PublishedFile

DATA_DIR = "INITSCOPE_DATA_DIR"
CONNECT_S, READ_S = 5.0, 30.0
PIECE_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class CachedFile:
    """A file of the cache whose content is the published one."""

    name: str
    path: Path


class _MirrorFault(Exception):
    """A mirror that cannot be reached or serves something else; the next one is tried."""


def path(name: str) -> Path:
    """Returns the folder in which the files of the data set `name` are kept, whether it is there or not.

    Raises UsageError where `name` is not a data set that is downloaded.
    """
    return _root() / _publication(name).name


def verify(name: str) -> tuple[CachedFile, ...]:
    """Returns the data set's files, each checked by hash: images before labels, the training pair first. No network.

    Raises EnvironmentFault where one is missing or is not the published one; UsageError as `path` does.
    """
    publication, folder = _publication(name), path(name)
    found = _verified(publication, folder)
    missing = [file for file in publication.files if file.name not in found]
    if missing:
        raise EnvironmentFault(
            f"{name}: {_listed(missing)} not in the cache",
            where=f"{folder} is where the files belong, also when put there by hand ({DATA_DIR} moves it)",
            do=f"initscope data fetch {name} downloads them",
        )
    return tuple(found[file.name] for file in publication.files)


def fetch(name: str) -> tuple[CachedFile, ...]:
    """Returns the same as `verify`, after downloading what is missing; files that are there are never replaced.

    Mirrors are tried in order, and one that fails is not asked again. A download is written under a temporary name,
    checked, and only then given its own.
    Raises EnvironmentFault where no mirror serves a file, the folder cannot be written, or a file that is there is
    not the published one; UsageError as `path` does.
    """
    publication, folder = _publication(name), path(name)
    found = _verified(publication, folder)
    missing = [file for file in publication.files if file.name not in found]
    mirrors = list(publication.mirrors)
    faults: list[str] = []
    while missing:
        if not mirrors:
            raise _unreachable(name, missing, folder, faults)
        file = missing[0]
        try:
            found[file.name] = _download(mirrors[0], file, folder)
            missing.pop(0)
        except _MirrorFault as fault:
            faults.append(f"{mirrors.pop(0)}: {fault}")
    return tuple(found[file.name] for file in publication.files)


def _root() -> Path:
    chosen = os.environ.get(DATA_DIR)
    if chosen:
        return Path(chosen).expanduser()
    import platformdirs

    return Path(platformdirs.user_cache_dir("initscope", appauthor=False))


def _publication(name: str) -> Publication:
    for publication in PUBLICATIONS:
        if publication.name == name:
            return publication
    downloaded = [publication.name for publication in PUBLICATIONS]
    if name == "digits":
        raise UsageError(f"{find(name).name} is part of initscope and is not downloaded", legal=", ".join(downloaded))
    raise unknown_name("downloaded dataset", name, downloaded)


def _verified(publication: Publication, folder: Path) -> dict[str, CachedFile]:
    """The files that are there, by published name; one that is there and wrong is an error."""
    found = {}
    for file in publication.files:
        for candidate in (folder / file.name, folder / file.name.removesuffix(".gz")):
            if candidate.is_file():
                _check(candidate, file)
                found[file.name] = CachedFile(name=file.name, path=candidate)
                break
    return found


def _check(candidate: Path, file: PublishedFile) -> None:
    found = _mismatch(candidate, file)
    if found is None:
        return
    known = "" if file.sha256 is None else f", or {file.sha256} of the unpacked content"
    raise EnvironmentFault(
        "this is not the published file: its SHA-256 differs",
        where=str(candidate),
        value=found,
        legal=f"{file.sha256_gz} of {file.name}{known}",
        do="the file is left as it is: move it away or replace it, then ask again",
    )


def _mismatch(candidate: Path, file: PublishedFile) -> str | None:
    """None where the file is the published one, packed, packed again or unpacked; else the hash it has."""
    try:
        with candidate.open("rb") as stream:
            found = _sha256(stream)
    except OSError as error:
        raise EnvironmentFault("cannot read the file", where=str(candidate), value=error.strerror) from error
    if found == (file.sha256_gz if is_gz(candidate) else file.sha256):
        return None
    if is_gz(candidate) and file.sha256 is not None and _unpacked_sha256(candidate, file) == file.sha256:
        return None
    return found


def _unpacked_sha256(candidate: Path, file: PublishedFile) -> str | None:
    """The content's hash, of one byte more than it should have at most; None where it cannot be unpacked."""
    try:
        with reading(candidate) as stream:
            return _sha256(stream, at_most=file.size + 1)
    except UsageError:
        return None


def _sha256(stream: IO[bytes], at_most: int | None = None) -> str:
    digest, left = hashlib.sha256(), at_most
    while left is None or left > 0:
        piece = stream.read(PIECE_BYTES if left is None else min(PIECE_BYTES, left))
        if not piece:
            break
        digest.update(piece)
        left = None if left is None else left - len(piece)
    return digest.hexdigest()


def _download(mirror: str, file: PublishedFile, folder: Path) -> CachedFile:
    target = folder / file.name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _temporary(target) as part:
            _get(mirror + file.name, part)
            found = _mismatch(part, file)
            if found is not None:
                raise _MirrorFault(f"serves another file, SHA-256 {found} instead of {file.sha256_gz}")
            os.replace(part, target)
    except OSError as error:
        raise EnvironmentFault(
            "cannot write the data folder",
            where=str(folder),
            value=error.strerror or str(error),
            do=f"free it, or set {DATA_DIR} to a folder that can be written",
        ) from error
    return CachedFile(name=file.name, path=target)


@contextmanager
def _temporary(target: Path) -> Iterator[Path]:
    """A name of its own for each process beside `target`; the file is gone afterwards unless it was renamed."""
    part = target.with_name(f".part-{os.getpid()}-{target.name}")
    try:
        yield part
    finally:
        part.unlink(missing_ok=True)


def _get(url: str, target: Path) -> None:
    """Writes what `url` serves into `target`; raises _MirrorFault where that fails on the mirror's side."""
    import pooch
    import requests

    # identity: a server that says "gzip" of a .gz file would have it unpacked on the way
    download = pooch.HTTPDownloader(timeout=(CONNECT_S, READ_S), headers={"Accept-Encoding": "identity"})
    try:
        download(url, str(target), None)
    except requests.RequestException as error:
        status = getattr(error.response, "status_code", None)
        raise _MirrorFault(type(error).__name__ if status is None else f"HTTP status {status}") from error


def _unreachable(name: str, missing: list[PublishedFile], folder: Path, faults: list[str]) -> EnvironmentFault:
    """Three lines: what is missing, where to put the files by hand, what works now."""
    them = "it" if len(missing) == 1 else "them"
    return EnvironmentFault(
        f"{name}: {_listed(missing)} missing, and no mirror serves {them} ({'; '.join(faults)})",
        where=f"put the files by hand into {folder} ({DATA_DIR} moves it)",
        do="digits works now, without any download: --data digits",
    )


def _listed(missing: list[PublishedFile]) -> str:
    others = len(missing) - 1
    if not others:
        return f"{missing[0].name} is"
    return f"{missing[0].name} and {counted(others, 'other file')} are"
