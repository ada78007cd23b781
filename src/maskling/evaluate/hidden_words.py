"""The loss of hidden words: the same words hidden in the same text for models of any vocabulary.

A model guesses all pieces of a hidden word at once, from the text around and the number of the word's pieces. What it
loses on a word is what it loses on the pieces together, in nats, so words compare where pieces do not.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from maskling.arrays import BoolArray, Int64Array
from maskling.console import counted
from maskling.corpus.opening import ReadReport
from maskling.corpus.pipeline import CleanDocument, clean_batches
from maskling.corpus.settings import CorpusSettings
from maskling.data.plan import cut_spans
from maskling.data.shards import Split, open_shards
from maskling.errors import CorpusError, DataError, SettingsError
from maskling.infer.forward import MaskQuery, ModelRunner, Row, log_probabilities
from maskling.infer.model import Model
from maskling.objectives.measure import token_ranks
from maskling.randomness import Shuffle, bits, keys, uniforms
from maskling.tokenizer import characters
from maskling.tokenizer.tokenizer import Tokenizer

# FOLDED DOCS
# [passages] Pieces of plain text to compare models on, and which of their words are hidden: alike for every tokenizer.
# [common_text] One text, laid out for each of several models: the same passages, and words that all of them can write.


# Passages that are measured before progress is shown again.
_AT_ONCE = 64


@dataclass(frozen=True)
class Laid:
    """A passage as a model reads it.

    ids: (n,) int64, [CLS] and [SEP] included; words: (w, 2) int64, the first token of each word and the one after its
    last, equal where the vocabulary cannot write the word.
    """

    ids: Int64Array
    words: Int64Array

    @property
    def writable(self) -> BoolArray:
        """(w,) bool, which words the vocabulary can write."""
        return self.words[:, 0] < self.words[:, 1]


@dataclass(frozen=True)
class Losses:
    """What a model lost on hidden words.

    nats, pieces: (words,) of each hidden word; top1, top5: (words,) bool, whether each of its pieces was the model's
    best guess, or among its best five.
    """

    nats: NDArray[np.float64]
    pieces: Int64Array
    top1: BoolArray
    top5: BoolArray


def lay_passages(passages: Sequence[Passage], tokenizer: Tokenizer) -> list[Laid]:
    """Passages as the models of a tokenizer read them. A token that belongs to two words is hidden with either."""
    laid = []
    cls, sep, unk = tokenizer.special.cls, tokenizer.special.sep, tokenizer.special.unk
    encoded = tokenizer.encode_with_offsets([one.text for one in passages])
    for passage, tokens in zip(passages, encoded, strict=True):
        ids, (begins, ends) = tokens.ids.astype(np.int64), passage.words.T
        # A token without any text ends where it begins; the running maximum keeps the order for the search.
        first = np.searchsorted(np.maximum.accumulate(tokens.ends), begins, side="right")
        last = np.maximum(first, np.searchsorted(tokens.begins, ends, side="left"))
        unknown = np.append(0, np.cumsum(ids == unk))
        last = np.where(unknown[last] > unknown[first], first, last)
        laid.append(Laid(np.concatenate([[cls], ids, [sep]]), np.stack([first, last], axis=1) + 1))
    return laid


def lay_split(split: Split, tokenizer: Tokenizer, length: int, count: int) -> list[Laid]:
    """`count` spans of text that is prepared, drawn evenly, as sequences of at most `length` tokens."""
    plan = cut_spans(split, length - 2)
    drawn = np.sort(Shuffle(len(plan), 0, "passages")[np.arange(min(count, len(plan)))])
    tokens, starts = split.gather(plan.start[drawn], plan.length[drawn])
    special = tokenizer.special
    ordinary = np.zeros(tokenizer.vocab_size, dtype=bool)
    ordinary[tokenizer.ordinary_ids] = True
    laid = []
    bounds = np.cumsum(plan.length[drawn])[:-1]
    for ids, begins in zip(np.split(tokens.astype(np.int64), bounds), np.split(starts, bounds), strict=True):
        first = np.union1d([0], np.flatnonzero(begins))
        last = np.append(first[1:], len(ids))
        unknown = np.append(0, np.cumsum(~ordinary[ids]))
        last = np.where(unknown[last] > unknown[first], first, last)
        laid.append(Laid(np.concatenate([[special.cls], ids, [special.sep]]), np.stack([first, last], axis=1) + 1))
    return laid


class HiddenWords:
    """A model being asked for hidden words."""

    def __init__(self, reader: ModelRunner, laid: Sequence[Laid], hidden: Sequence[BoolArray]) -> None:
        """hidden: (w,) bool for each passage, which words are hidden."""
        reader.need_head("comparing")
        self._reader = reader
        self._laid, self._hidden = laid, hidden
        self._words = [one.words[which] for one, which in zip(laid, hidden, strict=True)]
        # All hidden pieces end to end, in the order of the text, and where those of each passage begin.
        bounds = np.cumsum([0, *(int((words[:, 1] - words[:, 0]).sum()) for words in self._words)])
        self._bounds = bounds
        self._nats = np.full(bounds[-1], np.nan)
        self._rank = np.zeros(bounds[-1], dtype=np.int64)

    def run(self) -> Iterator[float]:
        """Ask, and yield the part that is done, from 0 to 1, now and then."""
        # Passages of about one length run together without much padding; those without a hidden word are passed over.
        order = sorted(np.flatnonzero(np.diff(self._bounds)).tolist(), key=lambda number: -len(self._laid[number].ids))
        for start in range(0, len(order), _AT_ONCE):
            numbers = order[start : start + _AT_ONCE]
            self._ask(numbers)
            yield (start + len(numbers)) / len(order)

    def losses(self) -> Losses:
        """What was lost on each hidden word, in the order of the text; once `run` has ended."""
        words = np.concatenate(self._words)
        pieces = words[:, 1] - words[:, 0]
        starts = np.append(0, np.cumsum(pieces)[:-1])
        rank = np.maximum.reduceat(self._rank, starts)
        return Losses(np.add.reduceat(self._nats, starts), pieces, rank < 1, rank < 5)

    def _ask(self, numbers: Sequence[int]) -> None:
        reader, special = self._reader, self._reader.tokenizer.special
        rows: list[Row] = []
        queries: list[MaskQuery] = []
        for row, number in enumerate(numbers):
            places = np.concatenate([np.arange(first, last) for first, last in self._words[number].tolist()])
            queries += [MaskQuery(row, place) for place in places.tolist()]
            rows.append(self._laid[number].ids.copy())
            rows[-1][places] = special.mask
        labels = torch.tensor([int(self._laid[numbers[query.row]].ids[query.position]) for query in queries])
        slots = np.concatenate([np.arange(self._bounds[number], self._bounds[number + 1]) for number in numbers])
        for some, scores in log_probabilities(reader.module, reader.compute, rows, queries, special.pad):
            own = labels[some].to(scores.device)
            self._nats[slots[some]] = -scores.gather(1, own[:, None])[:, 0].cpu().double().numpy()
            self._rank[slots[some]] = token_ranks(scores, own).cpu().numpy()


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


# Passages to compare on; about 9,000 hidden words, whose mean loss is known to some 0.03 nats.
PASSAGES = 1000
LONGEST = 512


@dataclass(frozen=True)
class CommonText:
    """laid[m][p]: passage p as model m reads it; hidden[p]: which of its words are hidden from every model.

    num_bytes: of the hidden words in UTF-8; an estimate for prepared text, None if unknown. name: what was measured on.
    too_long: passages that were left out because some model could not see all of them. unwritable: for each model the
    share of the words that its vocabulary cannot write; these are hidden from nobody.
    """

    laid: tuple[list[Laid], ...]
    hidden: list[BoolArray]
    num_bytes: float | None
    name: str
    too_long: int
    unwritable: tuple[float, ...]

    @property
    def num_words(self) -> int:
        """How many words are hidden."""
        return sum(int(which.sum()) for which in self.hidden)


def plain_text(
    sources: Sequence[str],
    models: Sequence[Model],
    settings: CorpusSettings | None = None,
    *,
    rate: float = 0.15,
    passages: int = PASSAGES,
    words: int = WORDS,
    report: ReadReport | None = None,
) -> CommonText:
    """Text from files, folders or addresses, for models of any tokenizers. report: gets what was wrong with which file.

    Raises CorpusError if there is none, SettingsError if its passages are too long for one of the models.
    """
    found, total = read_passages(sources, settings or CorpusSettings(), passages, words, report)
    name = f"{len(found):,} of {total:,} passages of {', '.join(Path(source).name or source for source in sources)}"
    laid = [lay_passages(found, model.tokenizer) for model in models]
    fits = [
        all(len(one[number].ids) <= model.max_length for one, model in zip(laid, models, strict=True))
        for number in range(len(found))
    ]
    if not any(fits):
        shortest = min(models, key=lambda model: model.max_length)
        raise SettingsError(
            f"no passage of {words} words fits into the {shortest.max_length:,} tokens that the model in "
            f"{shortest.folder} sees; give shorter ones with --words"
        )
    text = _common([[one[n] for n in np.flatnonzero(fits)] for one in laid], rate, name, fits.count(False))
    sizes = [
        sum(len(passage.text[first:end].encode()) for first, end in passage.words[which].tolist())
        for passage, which in zip([found[n] for n in np.flatnonzero(fits)], text.hidden, strict=True)
    ]
    return CommonText(text.laid, text.hidden, float(sum(sizes)), name, text.too_long, text.unwritable)


def prepared_text(folder: Path, models: Sequence[Model], *, rate: float = 0.15, passages: int = PASSAGES) -> CommonText:
    """The validation split of a prepared folder, for models that all have its tokenizer.

    Raises DataError if one has another: the folder holds its tokens, not the text.
    """
    shards = open_shards(folder)
    manifest = shards.manifest
    for model in models:
        if model.tokenizer.fingerprint != manifest.tokenizer:
            raise DataError(
                f"{folder} holds the tokens of tokenizer {manifest.tokenizer}, and the model in {model.folder} has "
                f"{model.tokenizer.fingerprint}; models of different tokenizers compare on text itself: give the files "
                f"with --text"
            )
    split = shards.split("validation")
    if not split.num_documents:
        raise DataError(f"{folder} has no validation split; prepare it with a larger shards.validation_fraction")
    length = min(LONGEST, *(model.max_length for model in models))
    laid = lay_split(split, models[0].tokenizer, length, passages)
    name = f"{len(laid):,} passages of a validation split of {counted(split.num_documents, 'document')}"
    text = _common([laid] * len(models), rate, name, 0)
    num_tokens = split.num_tokens + shards.split("train").num_tokens
    pieces = sum(int(np.diff(one.words[which]).sum()) for one, which in zip(laid, text.hidden, strict=True))
    num_bytes = pieces * manifest.text.kept_bytes / num_tokens if manifest.text.kept_bytes else None
    return CommonText(text.laid, text.hidden, num_bytes, name, 0, text.unwritable)


def _common(laid: list[list[Laid]], rate: float, name: str, too_long: int) -> CommonText:
    if not 0 < rate < 1:
        raise SettingsError(f"rate is {rate:g}; it is a fraction of the words, above 0 and below 1, such as 0.15")
    writable = [np.logical_and.reduce([one.writable for one in passage]) for passage in zip(*laid, strict=True)]
    drawn = chosen_words([len(which) for which in writable], rate)
    hidden = [which & all_can for which, all_can in zip(drawn, writable, strict=True)]
    if not any(which.any() for which in hidden):
        raise DataError("there is no word in the text to hide that every model can write; give more text")
    shares = tuple(1 - float(np.concatenate([passage.writable for passage in one]).mean()) for one in laid)
    return CommonText(tuple(laid), hidden, None, name, too_long, shares)
