"""From a raw document to a clean one with its sentences, or the reason why it is rejected.

Document --clean, filter, split into sentences--> CleanDocument --drop_duplicates--> CleanDocument or Rejected
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import xxhash

from maskling.corpus.clean import clean
from maskling.corpus.dedup import SeenDigests
from maskling.corpus.document import Document
from maskling.corpus.filters import rejection
from maskling.corpus.opening import ReadReport
from maskling.corpus.reading import read_documents
from maskling.corpus.sentences import split_lines, split_sentences
from maskling.corpus.settings import CorpusSettings
from maskling.corpus.sources import expand
from maskling.grouping import grouped

DUPLICATE = "duplicate"
# Text that is worth encoding at once.
_BATCH_CHARACTERS = 1 << 20


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Sentences between blank lines. digest: xxh3_64 of the text, None if it is too short to be a duplicate."""

    num_sentences: int
    digest: int | None


@dataclass(frozen=True, slots=True)
class CleanDocument:
    """A document ready to be tokenized.

    sentences: lengths in characters, which sum to len(text); digest: xxh3_64 of the text;
    paragraphs: only if paragraphs are deduplicated; changes: what cleaning changed, counted by kind.
    """

    id: str
    source: str
    text: str
    sentences: list[int]
    digest: int
    paragraphs: list[Paragraph] = field(default_factory=list)
    changes: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rejected:
    """A document that is left out. reason: a short name to count by ('too_short', 'duplicate', ...)."""

    reason: str


def process_document(document: Document, settings: CorpusSettings) -> CleanDocument | Rejected:
    """Clean a document, filter it and split it into sentences. A pure function, so any process can run it."""
    changes: Counter[str] = Counter()
    text = clean(document.text, settings.clean, document.line_sentences, changes)
    reason = rejection(text, settings.filters)
    if reason:
        return Rejected(reason)
    if document.line_sentences or settings.clean.spaces == "keep":
        sentences = split_lines(text)
    else:
        sentences = split_sentences(text, document.language or settings.language, settings.abbreviations)
    return CleanDocument(
        id=document.id,
        source=document.source,
        text=text,
        sentences=[len(sentence) for sentence in sentences],
        digest=digest(text),
        paragraphs=_paragraphs(sentences, settings) if settings.dedup == "paragraph" else [],
        changes={kind: count for kind, count in changes.items() if count},
    )


def drop_duplicates(document: CleanDocument, seen: SeenDigests, settings: CorpusSettings) -> CleanDocument | Rejected:
    """Reject a document, or drop its paragraphs, if `seen` has the digest; add new digests to `seen`.

    Whole documents are compared, and with dedup='paragraph' also single paragraphs, after which the rest of the
    document must pass the filters again. Documents must be given in order: the first of several equal ones is kept.
    """
    if settings.dedup == "none":
        return document
    if not seen.add(document.digest):
        return Rejected(DUPLICATE)
    if settings.dedup == "document":
        return document
    kept = [paragraph.digest is None or seen.add(paragraph.digest) for paragraph in document.paragraphs]
    if all(kept):
        return document
    left = _without(document, kept)
    if left is None:
        return Rejected(DUPLICATE)
    reason = rejection(left.text, settings.filters)
    return Rejected(reason) if reason else left


def digest(text: str) -> int:
    """Return the xxh3_64 of a text in UTF-8."""
    return xxhash.xxh3_64_intdigest(text.encode())


def _paragraphs(sentences: list[str], settings: CorpusSettings) -> list[Paragraph]:
    # The break before a paragraph is the white space at the front of its first sentence.
    groups: list[list[str]] = []
    for sentence in sentences:
        front = sentence[: len(sentence) - len(sentence.lstrip())]
        if not groups or "\n\n" in front:
            groups.append([])
        groups[-1].append(sentence)
    texts = ["".join(group).strip() for group in groups]
    return [
        # Salted, so that the only paragraph of a document is not a duplicate of the document itself.
        Paragraph(len(group), digest("\n\n" + text) if len(text) >= settings.dedup_min_characters else None)
        for group, text in zip(groups, texts, strict=True)
    ]


def _without(document: CleanDocument, kept: Sequence[bool]) -> CleanDocument | None:
    texts: list[str] = []
    lengths: list[int] = []
    start = sentence = 0
    for paragraph, keep in zip(document.paragraphs, kept, strict=True):
        own = document.sentences[sentence : sentence + paragraph.num_sentences]
        if keep:
            texts.append(document.text[start : start + sum(own)])
            lengths.extend(own)
        start += sum(own)
        sentence += paragraph.num_sentences
    if not texts:
        return None
    # The first remaining paragraph may begin with a blank line, which must not open the document.
    text = "".join(texts)
    lengths[0] -= len(text) - len(text.lstrip())
    text = text.lstrip()
    paragraphs = [paragraph for paragraph, keep in zip(document.paragraphs, kept, strict=True) if keep]
    return replace(document, text=text, sentences=lengths, digest=digest(text), paragraphs=paragraphs)


def clean_batches(
    sources: Sequence[str], settings: CorpusSettings, report: ReadReport
) -> Iterator[list[CleanDocument]]:
    """Yield the documents that `prepare` would keep, about a million characters at a time, without writing anything.

    Raises CorpusError as `read_documents` does.
    """
    kept = _clean_documents(sources, settings, report)
    return grouped(kept, lambda document: len(document.text), _BATCH_CHARACTERS)


def _clean_documents(sources: Sequence[str], settings: CorpusSettings, report: ReadReport) -> Iterator[CleanDocument]:
    seen = SeenDigests()
    for _, document in read_documents(expand(sources, report, settings.format != "auto"), settings, report):
        found = process_document(document, settings)
        fresh = drop_duplicates(found, seen, settings) if isinstance(found, CleanDocument) else found
        if isinstance(fresh, CleanDocument):
            yield fresh
