"""The files MNIST and Fashion-MNIST are published in: their names, sizes, hashes and mirrors."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class PublishedFile:
    """One .gz file: `sha256_gz` is the hash of the published file, `sha256` that of its unpacked content.

    `size` counts the bytes of the unpacked content; `sha256` is None where only the published file's hash is known.
    """

    name: str
    size: int
    sha256_gz: str
    sha256: str | None


@dataclass(frozen=True, kw_only=True)
class Publication:
    """The files of one data set, images before their labels, training part first, and where they are served."""

    name: str
    files: tuple[PublishedFile, ...]
    mirrors: tuple[str, ...]


MNIST = Publication(
    name="mnist",
    files=(
        PublishedFile(
            name="train-images-idx3-ubyte.gz",
            size=47_040_016,
            sha256_gz="440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            sha256="ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        ),
        PublishedFile(
            name="train-labels-idx1-ubyte.gz",
            size=60_008,
            sha256_gz="3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            sha256="65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        ),
        PublishedFile(
            name="t10k-images-idx3-ubyte.gz",
            size=7_840_016,
            sha256_gz="8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            sha256="0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        ),
        PublishedFile(
            name="t10k-labels-idx1-ubyte.gz",
            size=10_008,
            sha256_gz="f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
            sha256="ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
    ),
    mirrors=(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
)

FASHION_MNIST = Publication(
    name="fashion-mnist",
    files=(
        PublishedFile(
            name="train-images-idx3-ubyte.gz",
            size=47_040_016,
            sha256_gz="3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            sha256=None,
        ),
        PublishedFile(
            name="train-labels-idx1-ubyte.gz",
            size=60_008,
            sha256_gz="a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            sha256=None,
        ),
        PublishedFile(
            name="t10k-images-idx3-ubyte.gz",
            size=7_840_016,
            sha256_gz="346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            sha256=None,
        ),
        PublishedFile(
            name="t10k-labels-idx1-ubyte.gz",
            size=10_008,
            sha256_gz="67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
            sha256=None,
        ),
    ),
    mirrors=(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    ),
)

PUBLICATIONS = (MNIST, FASHION_MNIST)
