"""The input and output of a reader: a `Source` to open, and the `Document`s in it."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass

COMPRESSIONS = (".gz", ".bz2", ".xz", ".zst")


@dataclass(frozen=True, slots=True)
class Source:
    """One file, URL or stream. location: a path, an fsspec URL, '-', 'python-docs:' or 'hf:NAME'; size: in bytes."""

    location: str
    size: int | None = None

    @property
    def name(self) -> str:
        """The last part of the location; documents are named after it."""
        return posixpath.basename(self.location.replace("\\", "/").rstrip("/")) or self.location

    @property
    def compression(self) -> str | None:
        """The suffix of a compressed file ('.gz', '.bz2', '.xz', '.zst'), or None."""
        suffix = posixpath.splitext(self.name.lower())[1]
        return suffix if suffix in COMPRESSIONS else None

    @property
    def suffix(self) -> str:
        """The suffix of the format, '.jsonl' for 'books.jsonl.gz'; empty if there is none."""
        name = self.name.lower()
        return posixpath.splitext(name.removesuffix(self.compression or ""))[1]


@dataclass(frozen=True, slots=True)
class Document:
    """A text of the user, as read.

    id: unique within its source ("books.jsonl.gz:17"); source: the location it was read from.
    line_sentences: each line of `text` is one sentence already, and must not be split or joined.
    """

    text: str
    id: str
    source: str
    line_sentences: bool = False
