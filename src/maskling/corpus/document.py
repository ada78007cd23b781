"""What a reader opens, and what it yields."""

from __future__ import annotations

from dataclasses import dataclass

COMPRESSIONS = (".gz", ".bz2", ".xz", ".zst")


@dataclass(frozen=True, slots=True)
class Source:
    """One file, address or stream. location: a path, an fsspec URL, '-', 'python-docs:' or 'hf:NAME'."""

    location: str
    size: int | None = None

    @property
    def name(self) -> str:
        """The last part of the location, which documents are named after."""
        return self.location.replace("\\", "/").rstrip("/").rpartition("/")[2] or self.location

    @property
    def compression(self) -> str | None:
        """'.gz', '.bz2', '.xz', '.zst' or None."""
        suffix = _suffix(self.name.lower())
        return suffix if suffix in COMPRESSIONS else None

    @property
    def suffix(self) -> str:
        """What tells the format: '.jsonl' of 'books.jsonl.gz'; empty if there is none."""
        name = self.name.lower()
        return _suffix(name.removesuffix(self.compression or ""))


@dataclass(frozen=True, slots=True)
class Document:
    """A text from the user.

    id: unique within its source ("books.jsonl.gz:17"); source: the location it came from.
    line_sentences: each line of `text` is one sentence already, and must not be split or joined.
    """

    text: str
    id: str
    source: str
    line_sentences: bool = False


def _suffix(name: str) -> str:
    # As pathlib has it, in a tenth of the time: a folder may hold a million files.
    dot = name.rfind(".")
    return name[dot:] if 0 < dot < len(name) - 1 else ""
