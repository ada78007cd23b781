"""Pieces of plain text to compare models on, and which of their words are hidden: alike for every tokenizer."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from maskling.arrays import BoolArray, Int64Array
from maskling.corpus.documents import clean_batches
from maskling.corpus.pipeline import CleanDocument
from maskling.corpus.report import ReadReport
from maskling.corpus.settings import CorpusSettings
from maskling.errors import CorpusError
from maskling.randomness import bits, keys, uniforms
from maskling.tokenizer import characters

# Words of a passage: in most vocabularies they fit into 128 tokens, the shortest sequences that models are made for.
WORDS = 64
# With fewer there is little to guess from.
FEWEST_WORDS = 8


@dataclass(frozen=True)
class Passage:
    """A piece of a document.

    words: (w, 2) int64, first character and end of each word that has a letter or a digit.
    """

    text: str
    words: Int64Array


def read_passages(
    sources: Sequence[str], settings: CorpusSettings, count: int, words: int = WORDS, report: ReadReport | None = None
) -> tuple[list[Passage], int]:
    """`count` passages of at most `words` words, drawn evenly from all of the text and in its order.

    Text is read and cleaned as `prepare` does it. Also returns how many passages there were to draw from.
    report: gets what was wrong with which file.
    Raises CorpusError if nothing can be read, or the text has no passage of `FEWEST_WORDS` words.
    """
    report = report or ReadReport()
    key, numbers = keys(0, "passages", 0, np.zeros(1, np.int64)), itertools.count()
    # Every passage draws a lot, and those with the smallest stay: of all the text only they are held.
    lots = (
        (int(bits(key, number)[0]), number, passage)
        for documents in clean_batches(sources, settings, report)
        for document in documents
        for passage, number in zip(_passages(document, words), numbers, strict=False)
    )
    drawn = heapq.nsmallest(count, lots)
    total = next(numbers)
    if not drawn:
        raise CorpusError(
            f"{', '.join(sources)}: in {report.documents:,} documents there is no passage of {FEWEST_WORDS} words to "
            f"compare models on; give more text"
        )
    return [passage for _, _, passage in sorted(drawn, key=lambda entry: entry[1])], total


def chosen_words(counts: Sequence[int], rate: float) -> list[BoolArray]:
    """Which words of each passage are hidden: each with the chance `rate`, by its number and its passage's alone.

    counts: words of each passage. Returns one (words,) bool for each.
    """
    draws = keys(0, "hidden words", 0, np.arange(len(counts)))
    return [uniforms(draws[number], np.arange(count)) < rate for number, count in enumerate(counts)]


def _passages(document: CleanDocument, most: int) -> Iterator[Passage]:
    """Whole sentences while they fit; a sentence of too many words is cut at words."""
    starts = np.flatnonzero(characters.starts(document.text, jieba=False))
    ends = np.cumsum([0, *document.sentences]).tolist()
    first = 0
    begin = ends[0]
    for sentence, end in pairwise(ends):
        # Words up to the end of this sentence, if it still fits; else the passage ends before it.
        if np.searchsorted(starts, end) - first > most and sentence > begin:
            yield from _passage(document.text, begin, sentence)
            begin, first = sentence, int(np.searchsorted(starts, sentence))
        while np.searchsorted(starts, end) - first > most:
            cut = int(starts[first + most])
            yield from _passage(document.text, begin, cut)
            begin, first = cut, first + most
    yield from _passage(document.text, begin, ends[-1])


def _passage(text: str, begin: int, end: int) -> Iterator[Passage]:
    own = text[begin:end].strip()
    kinds = characters.kinds(own)
    starts = np.flatnonzero(characters.starts(own, jieba=False))
    # A word ends before the next one or before white space.
    breaks = np.flatnonzero((kinds == characters.SPACE) | characters.starts(own, jieba=False))
    ends = np.append(breaks, len(own))[np.searchsorted(breaks, starts, side="right")]
    wordlike = [any(map(str.isalnum, own[first:last])) for first, last in zip(starts, ends, strict=True)]
    words = np.stack([starts, ends], axis=1)[np.array(wordlike, dtype=bool)].astype(np.int64)
    if len(words) >= FEWEST_WORDS:
        yield Passage(own, words)
