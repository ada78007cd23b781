"""Text that was never prepared, made ready to measure a model on: with that model's own tokenizer, in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from maskling.corpus.documents import clean_batches
from maskling.corpus.pipeline import CleanDocument
from maskling.corpus.report import ReadReport
from maskling.corpus.settings import CorpusSettings
from maskling.data.shard_files import ShardArrays
from maskling.data.shards import Split
from maskling.errors import CorpusError
from maskling.tokenizer.tokenizer import Tokenizer


@dataclass(frozen=True)
class RawText:
    """split: the text as tokens; num_bytes: of the clean text in UTF-8."""

    split: Split
    num_bytes: int


def read_text(
    sources: Sequence[str],
    tokenizer: Tokenizer,
    settings: CorpusSettings | None = None,
    report: ReadReport | None = None,
) -> RawText:
    """Read, clean and encode what `sources` name, as `prepare` does it.

    report: gets what was wrong with which file. Raises CorpusError if nothing can be read or nothing is left of it.
    """
    settings = settings or CorpusSettings()
    report = report or ReadReport()
    # Of each batch only the tokens are kept, two or four bytes each.
    shards: list[ShardArrays] = []
    num_bytes = 0
    for documents in clean_batches(sources, settings, report):
        arrays, size = _encode(documents, tokenizer)
        num_bytes += size
        shards.append(arrays)
    if not sum(len(arrays.tokens) for arrays in shards):
        raise CorpusError(
            f"nothing is left of {', '.join(sources)}: all {report.documents:,} documents were empty, repeated or "
            f"filtered out; give other text, or loosen corpus.filters"
        )
    return RawText(Split(shards), num_bytes)


def _encode(documents: Sequence[CleanDocument], tokenizer: Tokenizer) -> tuple[ShardArrays, int]:
    """The tokens of some documents that have any, and the bytes of these documents."""
    pieces: list[str] = []
    for document in documents:
        ends = np.cumsum([0, *document.sentences]).tolist()
        pieces += [document.text[first:end] for first, end in pairwise(ends)]
    encoded = tokenizer.encode_flat(pieces)
    lengths = np.diff(encoded.offsets)
    owner = np.repeat(np.arange(len(documents)), [len(document.sentences) for document in documents])[lengths > 0]
    kept, sentences = np.unique(owner, return_counts=True)
    size = sum(len(documents[number].text.encode()) for number in kept)
    vocab_size = tokenizer.vocab_size
    return ShardArrays.of(vocab_size, encoded.ids, encoded.word_starts, lengths[lengths > 0], sentences), size
