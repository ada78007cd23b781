"""What a reader yields."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Document:
    """A text from the user.

    id: unique within its source ("books.jsonl.gz:17"); source: the file or address it came from.
    line_sentences: each line of `text` is one sentence already, and must not be split or joined.
    """

    text: str
    id: str
    source: str
    line_sentences: bool = False
