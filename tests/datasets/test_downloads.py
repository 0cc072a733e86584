from __future__ import annotations

import gzip
import hashlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from initscope.base.errors import EnvironmentFault, UsageError
from initscope.datasets import downloads
from initscope.datasets.published import PUBLICATIONS, Publication, PublishedFile
from tests.datasets.files import REAL, needs_real_data

CONTENT = {"a.gz": b"images " * 100, "b.gz": b"labels " * 10}
PACKED = {name: gzip.compress(content, mtime=0) for name, content in CONTENT.items()}


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def published(name: str, *, unpacked_known: bool = True) -> PublishedFile:
    known = sha256(CONTENT[name]) if unpacked_known else None
    return PublishedFile(name=name, size=len(CONTENT[name]), sha256_gz=sha256(PACKED[name]), sha256=known)


def small_publication(*, unpacked_known: bool = True) -> Publication:
    files = tuple(published(name, unpacked_known=unpacked_known) for name in CONTENT)
    return Publication(name="mnist", files=files, mirrors=("https://one.test/", "https://two.test/"))


class Mirrors:
    """Stands in for the network: what each address serves, and which were asked."""

    def __init__(self) -> None:
        self.served: dict[str, bytes] = {}
        self.asked: list[str] = []

    def get(self, url: str, target: Path) -> None:
        self.asked.append(url)
        if url not in self.served:
            raise downloads._MirrorFault("ConnectionError")
        target.write_bytes(self.served[url])


@pytest.fixture
def mirrors(monkeypatch: pytest.MonkeyPatch) -> Mirrors:
    stand_in = Mirrors()
    monkeypatch.setattr(downloads, "_get", stand_in.get)
    return stand_in


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(downloads, "PUBLICATIONS", (small_publication(),))
    monkeypatch.setenv("INITSCOPE_DATA_DIR", str(tmp_path))
    return tmp_path / "mnist"


def fault_of(function: object) -> str:
    assert callable(function)
    with pytest.raises(EnvironmentFault) as caught:
        function("mnist")
    return str(caught.value)


def put(folder: Path, **files: bytes) -> None:
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("_", ".")).write_bytes(content)


def test_missing_files_are_downloaded_once_and_kept(folder: Path, mirrors: Mirrors) -> None:
    mirrors.served = {f"https://one.test/{name}": content for name, content in PACKED.items()}
    files = downloads.fetch("mnist")
    assert [(file.name, file.path) for file in files] == [(name, folder / name) for name in CONTENT]
    assert sorted(entry.name for entry in folder.iterdir()) == ["a.gz", "b.gz"]
    assert downloads.fetch("mnist") == files == downloads.verify("mnist")
    assert mirrors.asked == ["https://one.test/a.gz", "https://one.test/b.gz"]


def test_a_mirror_that_fails_is_not_asked_again(folder: Path, mirrors: Mirrors) -> None:
    mirrors.served = {f"https://two.test/{name}": content for name, content in PACKED.items()}
    downloads.fetch("mnist")
    assert mirrors.asked == ["https://one.test/a.gz", "https://two.test/a.gz", "https://two.test/b.gz"]


def test_a_mirror_that_serves_something_else_is_passed_over(folder: Path, mirrors: Mirrors) -> None:
    mirrors.served = {f"https://two.test/{name}": content for name, content in PACKED.items()}
    mirrors.served["https://one.test/a.gz"] = b"<html>log in first</html>"
    downloads.fetch("mnist")
    assert (folder / "a.gz").read_bytes() == PACKED["a.gz"]
    assert sorted(entry.name for entry in folder.iterdir()) == ["a.gz", "b.gz"]


def test_a_mirror_may_serve_the_content_packed_otherwise(folder: Path, mirrors: Mirrors) -> None:
    other = {name: gzip.compress(content, 1, mtime=5) for name, content in CONTENT.items()}
    mirrors.served = {f"https://one.test/{name}": content for name, content in other.items()}
    assert [file.path.read_bytes() for file in downloads.fetch("mnist")] == list(other.values())


def test_offline_says_in_three_lines_what_is_missing_where_it_goes_and_what_works(
    folder: Path, mirrors: Mirrors
) -> None:
    assert fault_of(downloads.fetch) == (
        "mnist: a.gz and 1 other file are missing, and no mirror serves them "
        "(https://one.test/: ConnectionError; https://two.test/: ConnectionError)\n"
        f"  where: put the files by hand into {folder} (INITSCOPE_DATA_DIR moves it)\n"
        "  do:    digits works now, without any download: --data digits"
    )


def test_offline_with_one_file_missing_names_that_one(folder: Path, mirrors: Mirrors) -> None:
    put(folder, a_gz=PACKED["a.gz"])
    assert fault_of(downloads.fetch).startswith("mnist: b.gz is missing, and no mirror serves it (")


def test_every_mirror_serving_something_else_is_said_with_the_hash(folder: Path, mirrors: Mirrors) -> None:
    mirrors.served = {f"https://{mirror}.test/a.gz": b"wrong" for mirror in ("one", "two")}
    fault = fault_of(downloads.fetch)
    assert (
        f"https://one.test/: serves another file, SHA-256 {sha256(b'wrong')} instead of {sha256(PACKED['a.gz'])}"
        in fault
    )
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    "files",
    [
        {"a_gz": PACKED["a.gz"], "b_gz": PACKED["b.gz"]},
        {"a_gz": gzip.compress(CONTENT["a.gz"], 1, mtime=9), "b": CONTENT["b.gz"]},
        {"a": CONTENT["a.gz"], "b": CONTENT["b.gz"]},
    ],
)
def test_files_put_there_by_hand_serve_without_network(folder: Path, mirrors: Mirrors, files: dict[str, bytes]) -> None:
    put(folder, **files)
    assert [file.path.name for file in downloads.fetch("mnist")] == [name.replace("_", ".") for name in files]
    assert mirrors.asked == []


@pytest.mark.parametrize(
    "wrong",
    [b"mine", gzip.compress(b"mine", mtime=0), PACKED["a.gz"][:-4], gzip.compress(CONTENT["a.gz"] * 2, mtime=0)],
)
@pytest.mark.parametrize("function", [downloads.fetch, downloads.verify])
def test_a_file_that_is_not_the_published_one_is_named_and_left_alone(
    folder: Path, mirrors: Mirrors, function: object, wrong: bytes
) -> None:
    put(folder, a_gz=wrong)
    assert fault_of(function) == (
        f"this is not the published file: its SHA-256 differs\n  where: {folder / 'a.gz'}\n  got:   {sha256(wrong)}\n"
        f"  legal: {sha256(PACKED['a.gz'])} of a.gz, or {sha256(CONTENT['a.gz'])} of the unpacked content\n"
        "  do:    the file is left as it is: move it away or replace it, then ask again"
    )
    assert (folder / "a.gz").read_bytes() == wrong
    assert mirrors.asked == []


def test_where_only_the_packed_hash_is_known_only_that_file_serves(
    folder: Path, mirrors: Mirrors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "PUBLICATIONS", (small_publication(unpacked_known=False),))
    put(folder, a_gz=PACKED["a.gz"], b_gz=PACKED["b.gz"])
    assert len(downloads.verify("mnist")) == 2
    put(folder, b_gz=gzip.compress(CONTENT["b.gz"], 1, mtime=9))
    assert f"  legal: {sha256(PACKED['b.gz'])} of b.gz\n" in fault_of(downloads.verify)


def test_verify_names_what_is_missing_and_asks_no_mirror(folder: Path, mirrors: Mirrors) -> None:
    put(folder, a_gz=PACKED["a.gz"])
    assert fault_of(downloads.verify) == (
        "mnist: b.gz is not in the cache\n"
        f"  where: {folder} is where the files belong, also when put there by hand (INITSCOPE_DATA_DIR moves it)\n"
        "  do:    initscope data fetch mnist downloads them"
    )
    assert mirrors.asked == []


def test_a_cache_that_cannot_be_written_is_said_so(folder: Path, mirrors: Mirrors) -> None:
    folder.write_text("a file where the folder should be")
    mirrors.served = {f"https://one.test/{name}": content for name, content in PACKED.items()}
    assert fault_of(downloads.fetch) == (
        f"cannot write the data folder\n  where: {folder}\n  got:   File exists\n"
        "  do:    free it, or set INITSCOPE_DATA_DIR to a folder that can be written"
    )


def test_the_cache_is_the_users_own_where_nothing_else_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("INITSCOPE_DATA_DIR", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    found = downloads.path("fashion-mnist")
    assert found.name == "fashion-mnist"
    assert "initscope" in str(found)


def test_a_cache_below_the_home_folder_may_be_written_with_a_tilde(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("INITSCOPE_DATA_DIR", "~/data")
    assert downloads.path("mnist") == tmp_path / "data" / "mnist"


def test_digits_need_no_download_and_say_so() -> None:
    with pytest.raises(UsageError) as caught:
        downloads.path("digits")
    assert str(caught.value) == "digits is part of initscope and is not downloaded\n  legal: mnist, fashion-mnist"


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError) as caught:
        downloads.fetch("fashion")
    assert str(caught.value) == (
        "unknown downloaded dataset 'fashion'\n  legal: fashion-mnist, mnist\n  do:    did you mean 'fashion-mnist'?"
    )


def test_every_published_file_has_hashes_and_two_mirrors() -> None:
    assert [publication.name for publication in PUBLICATIONS] == ["mnist", "fashion-mnist"]
    for publication in PUBLICATIONS:
        assert len(publication.mirrors) >= 2
        assert all(mirror.endswith("/") for mirror in publication.mirrors)
        kinds = [("images" in file.name, file.name.split("-")[0]) for file in publication.files]
        assert kinds == [(True, "train"), (False, "train"), (True, "t10k"), (False, "t10k")]
        hashes = [found for file in publication.files for found in (file.sha256_gz, file.sha256) if found]
        assert all(len(bytes.fromhex(found)) == 32 for found in hashes)
        assert len(set(hashes)) == len(hashes)


@needs_real_data
def test_the_real_files_verify_though_one_was_packed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mnist").symlink_to(REAL)
    monkeypatch.setenv("INITSCOPE_DATA_DIR", str(tmp_path))
    assert len(downloads.verify("mnist")) == 4


class _Quiet(SimpleHTTPRequestHandler):
    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Says nothing."""

    def log_error(self, *args: object) -> None:
        """Says nothing."""


@pytest.fixture
def local_mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    served = tmp_path / "served"
    served.mkdir()
    put(served, **{name.replace(".", "_"): content for name, content in PACKED.items()})
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(served))) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def test_a_file_served_over_http_arrives_as_it_is(tmp_path: Path, local_mirror: str) -> None:
    downloads._get(f"{local_mirror}a.gz", tmp_path / "a.gz")
    assert (tmp_path / "a.gz").read_bytes() == PACKED["a.gz"]


def test_a_file_a_server_does_not_have_is_the_mirrors_fault(tmp_path: Path, local_mirror: str) -> None:
    with pytest.raises(downloads._MirrorFault, match=r"^HTTP status 404$"):
        downloads._get(f"{local_mirror}absent.gz", tmp_path / "a.gz")


def test_a_server_that_is_not_there_is_the_mirrors_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with pytest.raises(downloads._MirrorFault, match=r"^ConnectionError$"):
        downloads._get("http://127.0.0.1:9/a.gz", tmp_path / "a.gz")
