"""What the tests of this folder read: the Markdown pages, their links, headings and blocks of code."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
TOP = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md")
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


@dataclass(frozen=True, kw_only=True)
class Block:
    """One fenced block: its language and text; `file` where its first line is a comment with a file name alone."""

    language: str
    text: str

    @property
    def file(self) -> str | None:
        """The name of the file this block is, or None for a piece of a session."""
        found = re.match(r"# ([\w-]+\.\w+)\n", self.text)
        return found.group(1) if found else None


def pages() -> list[Path]:
    """All Markdown pages of the repository, the decision records included."""
    return [*(REPOSITORY / name for name in TOP), *sorted((REPOSITORY / "docs").rglob("*.md"))]


def name_of(page: Path) -> str:
    """A page's path in the repository."""
    return page.relative_to(REPOSITORY).as_posix()


def blocks_of(text: str) -> list[Block]:
    """The fenced blocks of a page, in order."""
    return [Block(language=language, text=body) for language, body in _FENCE.findall(text)]


def page_blocks(name: str, language: str) -> list[Block]:
    """The blocks of one language on the page at `name`."""
    text = (REPOSITORY / name).read_text(encoding="utf-8")
    return [block for block in blocks_of(text) if block.language == language]


def links_of(text: str) -> list[str]:
    """The targets of the links and pictures outside blocks of code."""
    return _LINK.findall(_FENCE.sub("", text))


def anchors_of(text: str) -> set[str]:
    """The anchors that a page's headings have on the usual hosts of Markdown."""
    headings = re.findall(r"^#+ (.*)$", _FENCE.sub("", text), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def broken_links(page: Path) -> list[str]:
    """One line for every relative link of a page whose file or anchor is not there."""
    broken = []
    for link in links_of(page.read_text(encoding="utf-8")):
        if "://" in link or link.startswith("mailto:"):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        good = target.exists() and (not anchor or anchor in anchors_of(target.read_text(encoding="utf-8")))
        broken += [] if good else [f"{page.name}: {link}"]
    return broken


def write_files(name: str, folder: Path) -> list[Path]:
    """Writes every block of a page that is a file into `folder`, and returns their paths."""
    text = (REPOSITORY / name).read_text(encoding="utf-8")
    files = [block for block in blocks_of(text) if block.file is not None]
    paths = [folder / str(block.file) for block in files]
    for path, block in zip(paths, files, strict=True):
        path.write_text(block.text, encoding="utf-8")
    return paths
