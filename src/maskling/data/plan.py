"""The plan of a run: every document cut into spans that each fill a sequence, the same in all epochs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maskling.arrays import BoolArray, Int64Array
from maskling.data.shards import Block, Split
from maskling.errors import DataError

# A span may fall this far short of `goal`, as a fraction of it, if that keeps its last sentence whole. On English
# and Chinese prose, at 128 and 512 tokens, 1/64 fills 97.1 % to 99.4 % of packed rows; 1/32 fills one point less in
# long rows, 1/16 two points less.
SLACK = 1 / 64


@dataclass(frozen=True)
class Plan:
    """The spans of text of one epoch, one per example.

    start: (N,) int64, first token of each span, counted from the start of the split; ascending if made by `cut_spans`.
    length: (N,) int32, tokens of each span.
    document_first: (D+1,) int64, the first span of each document that has one, and N.
    goal: maximum number of tokens of a span.
    num_skipped: number of spans that were too short to be examples.
    """

    start: Int64Array
    length: NDArray[np.int32]
    document_first: Int64Array
    goal: int
    num_skipped: int = 0

    def __len__(self) -> int:
        return len(self.start)

    @property
    def mean_length(self) -> float:
        """Mean tokens per example, special tokens not included."""
        return float(self.length.mean())

    def document(self, index: Int64Array) -> Int64Array:
        """Return the document of each span, counted among those that have spans. index: (n,) int64. Returns (n,)."""
        return np.asarray(np.searchsorted(self.document_first, index, side="right") - 1)

    def of_same_document(self, index: Int64Array) -> tuple[Int64Array, Int64Array]:
        """Return the first span of the document of each span, and the first of the next document. index: (n,) int64."""
        document = self.document(index)
        return self.document_first[document], self.document_first[document + 1]


def cut_spans(split: Split, goal: int, min_words: int = 1) -> Plan:
    """Cut every document of a split into spans of at most `goal` tokens.

    A span takes whole sentences while they fit. If that would leave more room than `SLACK` allows, the next sentence
    is cut at the start of a word and its rest begins the next span; a word longer than the goal is cut anywhere. So
    the spans of a document tile it, only the last one needs noticeable padding, and no text is lost except spans of
    fewer than `min_words` words, which are skipped and counted.
    Raises DataError if there is no text to cut.
    """
    if goal < 1:
        raise DataError(f"sequences with room for {goal} tokens of text cannot be filled; increase seq_length")
    parts = [_cut_block(block, goal, min_words) for block in split.blocks()]
    start = np.concatenate([part[0] for part in parts]) if parts else np.zeros(0, np.int64)
    length = np.concatenate([part[1] for part in parts]) if parts else np.zeros(0, np.int32)
    document = np.concatenate([part[2] for part in parts]) if parts else np.zeros(0, np.int64)
    if not len(start):
        if any(part[3] for part in parts):
            raise DataError(
                "every text of this split is a single word, which cannot be cut into two segments; set pairing.kind to "
                "single, or prepare the text with a tokenizer.kind whose tokens are words (regex, kmer)"
            )
        raise DataError(
            "this split has no text to make examples of; prepare more text, or set shards.validation_fraction so that "
            "both the train and the validation split get some"
        )
    document_first = np.append(np.flatnonzero(np.diff(document, prepend=-1)), len(start))
    return Plan(start, length, document_first, goal, num_skipped=sum(part[3] for part in parts))


def _stops(
    begin: Int64Array, limit: Int64Array, end: Int64Array, whole: Int64Array, word: Int64Array, goal: int
) -> Int64Array:
    """Return where spans stop that begin at `begin`, may extend to `limit`, and have text up to `end`.

    whole, word: the last start of a sentence and of a word at or before the limit. All (n,) int64.
    Returns (n,) int64, each after its `begin`.
    """
    word = np.maximum(word, whole)
    cut_sentence = (limit - whole > goal * SLACK) | (whole <= begin)
    stop = np.where(cut_sentence, np.where(word > begin, word, limit), whole)
    return np.where(limit >= end, end, stop)


def _word_before(limit: Int64Array, begin: Int64Array, starts_word: BoolArray) -> Int64Array:
    """Return the last start of a word at or before each limit, or `begin` if none comes after it. All (n,) int64."""
    # Most words are one or two tokens: a few steps back cost a fifth of a search among all words of a shard.
    word = np.minimum(limit, len(starts_word) - 1)
    within = np.flatnonzero(~starts_word[word])
    while within.size:
        word[within] -= 1
        within = within[(word[within] > begin[within]) & ~starts_word[word[within]]]
    return word


def _cut_block(block: Block, goal: int, min_words: int) -> tuple[Int64Array, NDArray[np.int32], Int64Array, int]:
    """Return start, length and document of each span of a block, and how many were skipped.

    Cuts the next span of every document at once, as many times as the longest document needs.
    """
    sentences = np.asarray(block.sentences)
    starts_word = block.word_starts()
    position, end = sentences[block.documents[:-1]], sentences[block.documents[1:]]
    active = np.flatnonzero(position < end)
    begins, ends, documents = [], [], []
    while active.size:
        begin = position[active]
        limit = np.minimum(begin + goal, end[active])
        whole = np.maximum(sentences[np.searchsorted(sentences, limit, side="right") - 1], begin)
        word = _word_before(limit, begin, starts_word)
        stop = _stops(begin, limit, end[active], whole, word, goal)
        begins.append(begin)
        ends.append(stop)
        documents.append(active)
        position[active] = stop
        active = active[stop < end[active]]
    if not begins:
        return np.zeros(0, np.int64), np.zeros(0, np.int32), np.zeros(0, np.int64), 0
    begin, stop, document = np.concatenate(begins), np.concatenate(ends), np.concatenate(documents)
    order = np.argsort(begin)
    if min_words > 1:
        # The first token of a span counts as the start of a word, whether marked as one or not.
        up_to = np.cumsum(starts_word, dtype=np.int32)
        words = 1 + up_to[stop - 1] - up_to[begin]
        order = order[words[order] >= min_words]
    span = (begin + block.first_token)[order], (stop - begin)[order].astype(np.int32)
    return *span, document[order] + block.first_document, len(begin) - len(order)
