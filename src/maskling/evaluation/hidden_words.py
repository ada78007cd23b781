"""The loss of hidden words: the same words hidden in the same text for models of any vocabulary.

A model predicts all pieces of a hidden word at once, from the surrounding text and the number of the word's pieces. The
loss of a word is the sum of the losses of its pieces, in nats, so words compare between models where pieces do not.

`passages_of_files` and `passages_of_split` prepare one text for several models, as `CommonText`; `hidden_word_losses`
evaluates one model on it.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from maskling.arrays import BoolArray, Int64Array, offsets_of
from maskling.console import counted
from maskling.corpus.opening import ReadReport
from maskling.corpus.pipeline import CleanDocument, clean_batches
from maskling.corpus.settings import CorpusSettings
from maskling.data.plan import cut_spans
from maskling.data.shards import Split, open_shards
from maskling.errors import CorpusError, DataError, SettingsError
from maskling.infer.forward import MaskQuery, ModelRunner, TokenIds, log_probabilities
from maskling.infer.model import Model
from maskling.objectives.measure import token_ranks
from maskling.randomness import Shuffle, bits, keys, uniforms
from maskling.tokenizer import characters
from maskling.tokenizer.tokenizer import Tokenizer

# Passages to compare on; about 9,000 hidden words, whose mean loss is known to some 0.03 nats.
NUM_PASSAGES = 1000
# Words per passage: in most vocabularies they fit into 128 tokens, the shortest sequences that models are made for.
PASSAGE_WORDS = 64
# Shorter passages give too little context.
MIN_PASSAGE_WORDS = 8
# Maximum length of a passage of a prepared folder.
MAX_PASSAGE_TOKENS = 512
# Passages per progress report.
_AT_ONCE = 64


@dataclass(frozen=True)
class Passage:
    """A piece of a document.

    words: (w, 2) int64, start and end characters of each word with a letter or a digit.
    """

    text: str
    words: Int64Array


@dataclass(frozen=True)
class PassageTokens:
    """A passage encoded for one model.

    ids: (n,) int64, [CLS] and [SEP] included; words: (w, 2) int64, the first token of each word and the token after its
    last, equal if the vocabulary cannot write the word.
    """

    ids: Int64Array
    words: Int64Array

    @property
    def writable(self) -> BoolArray:
        """Which words the vocabulary can write: (w,) bool."""
        return self.words[:, 0] < self.words[:, 1]


@dataclass(frozen=True)
class CommonText:
    """One text for several models: the same passages, and the same hidden words, which all models can write.

    sequences[m][p]: passage p encoded for model m; hidden[p]: (words,) bool, its hidden words, the same for all models.
    num_bytes: size of the hidden words in UTF-8; an estimate for prepared text, None if unknown. name: a description.
    too_long: number of passages left out because they are too long for a model. unwritable: for each model the
    fraction of words that its vocabulary cannot write; these are never hidden.
    """

    sequences: tuple[list[PassageTokens], ...]
    hidden: list[BoolArray]
    num_bytes: float | None
    name: str
    too_long: int
    unwritable: tuple[float, ...]

    @property
    def num_words(self) -> int:
        """The number of hidden words."""
        return sum(int(which.sum()) for which in self.hidden)


def passages_of_files(
    sources: Sequence[str],
    models: Sequence[Model],
    settings: CorpusSettings | None = None,
    *,
    rate: float = 0.15,
    passages: int = NUM_PASSAGES,
    words: int = PASSAGE_WORDS,
    report: ReadReport | None = None,
) -> CommonText:
    """Return passages of files, folders or URLs, for models with any tokenizers.

    report: collects the problems of the files. Raises CorpusError if there is no text, SettingsError if all passages
    are too long for one of the models.
    """
    found, total = read_passages(sources, settings or CorpusSettings(), passages, words, report)
    name = f"{len(found):,} of {total:,} passages of {', '.join(Path(source).name or source for source in sources)}"
    sequences = [tokenize_passages(found, model.tokenizer) for model in models]
    fits = [
        all(len(own[index].ids) <= model.max_length for own, model in zip(sequences, models, strict=True))
        for index in range(len(found))
    ]
    if not any(fits):
        shortest = min(models, key=lambda model: model.max_length)
        raise SettingsError(
            f"no passage of {words} words fits into the {shortest.max_length:,} tokens that the model in "
            f"{shortest.folder} reads; lower --words"
        )
    text = _common([[own[n] for n in np.flatnonzero(fits)] for own in sequences], rate, name, fits.count(False))
    sizes = [
        sum(len(passage.text[first:end].encode()) for first, end in passage.words[which].tolist())
        for passage, which in zip([found[n] for n in np.flatnonzero(fits)], text.hidden, strict=True)
    ]
    return replace(text, num_bytes=float(sum(sizes)))


def passages_of_split(
    folder: Path, models: Sequence[Model], *, rate: float = 0.15, passages: int = NUM_PASSAGES
) -> CommonText:
    """Return passages of the validation split of a prepared folder, for models that all have its tokenizer.

    Raises DataError if a model has another tokenizer: the folder holds tokens, not text.
    """
    shards = open_shards(folder)
    manifest = shards.manifest
    for model in models:
        if not model.tokenizer.matches(manifest.tokenizer):
            raise DataError(
                f"{folder} holds the tokens of tokenizer {manifest.tokenizer}, and the model in {model.folder} has "
                f"{model.tokenizer.fingerprint}; compare models of different tokenizers on text files, with --text"
            )
    split = shards.split("validation")
    if not split.num_documents:
        raise DataError(f"{folder} has no validation split; prepare it with a larger shards.validation_fraction")
    length = min(MAX_PASSAGE_TOKENS, *(model.max_length for model in models))
    sequences = sample_split(split, models[0].tokenizer, length, passages)
    name = f"{len(sequences):,} passages of a validation split of {counted(split.num_documents, 'document')}"
    text = _common([sequences] * len(models), rate, name, 0)
    num_tokens = split.num_tokens + shards.split("train").num_tokens
    pieces = sum(int(np.diff(one.words[which]).sum()) for one, which in zip(sequences, text.hidden, strict=True))
    num_bytes = pieces * manifest.text.kept_bytes / num_tokens if manifest.text.kept_bytes else None
    return replace(text, num_bytes=num_bytes)


def _common(sequences: list[list[PassageTokens]], rate: float, name: str, too_long: int) -> CommonText:
    if not 0 < rate < 1:
        raise SettingsError(f"rate is {rate:g}; it is a fraction of the words, above 0 and below 1, such as 0.15")
    writable = [np.logical_and.reduce([one.writable for one in passage]) for passage in zip(*sequences, strict=True)]
    drawn = chosen_words([len(which) for which in writable], rate)
    hidden = [which & all_can for which, all_can in zip(drawn, writable, strict=True)]
    if not any(which.any() for which in hidden):
        raise DataError("the text has no word to hide that every model can write; give more text")
    unwritable = tuple(1 - float(np.concatenate([passage.writable for passage in own]).mean()) for own in sequences)
    return CommonText(tuple(sequences), hidden, None, name, too_long, unwritable)


def read_passages(
    sources: Sequence[str],
    settings: CorpusSettings,
    count: int,
    words: int = PASSAGE_WORDS,
    report: ReadReport | None = None,
) -> tuple[list[Passage], int]:
    """Sample `count` passages of at most `words` words uniformly from all of the text, and keep its order.

    Text is read and cleaned as in `prepare`. Also returns the number of passages in the text.
    report: collects the problems of the files.
    Raises CorpusError if nothing can be read, or the text has no passage of `MIN_PASSAGE_WORDS` words.
    """
    report = report or ReadReport()
    key, indices = keys(0, "passages", 0, np.zeros(1, np.int64)), itertools.count()
    # Every passage gets a random key, and those with the smallest keys are kept: only they are held in memory.
    keyed = (
        (int(bits(key, index)[0]), index, passage)
        for documents in clean_batches(sources, settings, report)
        for document in documents
        for passage, index in zip(_passages(document, words), indices, strict=False)
    )
    drawn = heapq.nsmallest(count, keyed)
    total = next(indices)
    if not drawn:
        raise CorpusError(
            f"{', '.join(sources)}: in {report.documents:,} documents there is no passage of {MIN_PASSAGE_WORDS} words "
            f"to compare models on; give more text"
        )
    return [passage for _, _, passage in sorted(drawn, key=lambda entry: entry[1])], total


def chosen_words(counts: Sequence[int], rate: float) -> list[BoolArray]:
    """Choose the hidden words of each passage: each with probability `rate`, given only its index and its passage's.

    counts: number of words of each passage. Returns one (words,) bool per passage.
    """
    draws = keys(0, "hidden words", 0, np.arange(len(counts)))
    return [uniforms(draws[index], np.arange(count)) < rate for index, count in enumerate(counts)]


def _passages(document: CleanDocument, most: int) -> Iterator[Passage]:
    """Yield passages of whole sentences; a sentence of more than `most` words is split between words."""
    starts = np.flatnonzero(characters.character_word_starts(document.text))
    ends = np.cumsum([0, *document.sentences]).tolist()
    first = 0
    begin = ends[0]
    for sentence, end in pairwise(ends):
        # If the words up to the end of this sentence do not fit, the passage ends before it.
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
    kinds = characters.character_kinds(own)
    starts = np.flatnonzero(characters.character_word_starts(own))
    # A word ends before the next word or before white space.
    breaks = np.flatnonzero((kinds == characters.SPACE) | characters.character_word_starts(own))
    ends = np.append(breaks, len(own))[np.searchsorted(breaks, starts, side="right")]
    wordlike = [any(map(str.isalnum, own[first:last])) for first, last in zip(starts, ends, strict=True)]
    words = np.stack([starts, ends], axis=1)[np.array(wordlike, dtype=bool)].astype(np.int64)
    if len(words) >= MIN_PASSAGE_WORDS:
        yield Passage(own, words)


def tokenize_passages(passages: Sequence[Passage], tokenizer: Tokenizer) -> list[PassageTokens]:
    """Encode passages. A token that belongs to two words is hidden with either."""
    sequences = []
    cls, sep, unk = tokenizer.special.cls, tokenizer.special.sep, tokenizer.special.unk
    encoded = tokenizer.encode_with_offsets([one.text for one in passages])
    for passage, tokens in zip(passages, encoded, strict=True):
        ids, (begins, ends) = tokens.ids.astype(np.int64), passage.words.T
        # A token without text ends where it begins; the running maximum keeps the ends sorted for the search.
        first = np.searchsorted(np.maximum.accumulate(tokens.ends), begins, side="right")
        last = np.maximum(first, np.searchsorted(tokens.begins, ends, side="left"))
        unknown = np.append(0, np.cumsum(ids == unk))
        last = np.where(unknown[last] > unknown[first], first, last)
        sequences.append(PassageTokens(np.concatenate([[cls], ids, [sep]]), np.stack([first, last], axis=1) + 1))
    return sequences


def sample_split(split: Split, tokenizer: Tokenizer, length: int, count: int) -> list[PassageTokens]:
    """Sample `count` spans of prepared text, as sequences of at most `length` tokens."""
    plan = cut_spans(split, length - 2)
    drawn = np.sort(Shuffle(len(plan), 0, "passages")[np.arange(min(count, len(plan)))])
    tokens, starts = split.gather(plan.start[drawn], plan.length[drawn])
    special = tokenizer.special
    ordinary = np.zeros(tokenizer.vocab_size, dtype=bool)
    ordinary[tokenizer.ordinary_ids] = True
    sequences = []
    bounds = np.cumsum(plan.length[drawn])[:-1]
    for ids, begins in zip(np.split(tokens.astype(np.int64), bounds), np.split(starts, bounds), strict=True):
        first = np.union1d([0], np.flatnonzero(begins))
        last = np.append(first[1:], len(ids))
        unknown = np.append(0, np.cumsum(~ordinary[ids]))
        last = np.where(unknown[last] > unknown[first], first, last)
        row = np.concatenate([[special.cls], ids, [special.sep]])
        sequences.append(PassageTokens(row, np.stack([first, last], axis=1) + 1))
    return sequences


@dataclass(frozen=True)
class WordLosses:
    """A model's losses on hidden words.

    nats: (words,) float64, the loss of each word; pieces: (words,) int64, its number of pieces; top1, top5: (words,)
    bool, whether each of its pieces was the model's best guess, or among its best five.
    """

    nats: NDArray[np.float64]
    pieces: Int64Array
    top1: BoolArray
    top5: BoolArray


def hidden_word_losses(
    runner: ModelRunner,
    sequences: Sequence[PassageTokens],
    hidden: Sequence[BoolArray],
    on_progress: Callable[[int, int], None] | None = None,
) -> WordLosses:
    """Compute a model's loss on hidden words, in the order of the text.

    hidden: (w,) bool for each passage, the words to hide, at least one in all. on_progress: called after each group of
    passages with the passages that are done and their total.
    Raises ModelError for a model without a masked-token head.
    """
    runner.need_head("comparing")
    words = [one.words[which] for one, which in zip(sequences, hidden, strict=True)]
    # All hidden pieces are laid end to end in the order of the text; those of passage p begin at bounds[p].
    bounds = offsets_of([int((own[:, 1] - own[:, 0]).sum()) for own in words])
    nats, ranks = np.full(bounds[-1], np.nan), np.zeros(bounds[-1], dtype=np.int64)
    # Passages of similar length run together, with little padding; those without a hidden word are skipped.
    order = sorted(np.flatnonzero(np.diff(bounds)).tolist(), key=lambda index: -len(sequences[index].ids))
    for start in range(0, len(order), _AT_ONCE):
        group = order[start : start + _AT_ONCE]
        pieces = np.concatenate([np.arange(bounds[index], bounds[index + 1]) for index in group])
        for some, lost, rank in _piece_losses(runner, [(sequences[index].ids, words[index]) for index in group]):
            nats[pieces[some]], ranks[pieces[some]] = lost, rank
        if on_progress is not None:
            on_progress(start + len(group), len(order))
    all_words = np.concatenate(words)
    num_pieces = all_words[:, 1] - all_words[:, 0]
    starts = offsets_of(num_pieces)[:-1]
    worst = np.maximum.reduceat(ranks, starts)
    return WordLosses(np.add.reduceat(nats, starts), num_pieces, worst < 1, worst < 5)


def _piece_losses(
    runner: ModelRunner, passages: Sequence[tuple[TokenIds, Int64Array]]
) -> Iterator[tuple[Int64Array, NDArray[np.float64], Int64Array]]:
    """Yield indices of hidden pieces, their losses in nats, and the ranks of the right tokens among the guesses.

    passages: the ids (n,) int64 and the hidden words (w, 2) int64 of each passage.
    """
    special = runner.tokenizer.special
    rows: list[TokenIds] = []
    queries: list[MaskQuery] = []
    labels: list[int] = []
    for row, (ids, words) in enumerate(passages):
        positions = np.concatenate([np.arange(first, last) for first, last in words.tolist()])
        queries += [MaskQuery(row, position) for position in positions.tolist()]
        labels += ids[positions].tolist()
        rows.append(ids.copy())
        rows[-1][positions] = special.mask
    targets = torch.tensor(labels)
    for some, scores in log_probabilities(runner.module, runner.compute, rows, queries, special.pad):
        own = targets[some].to(scores.device)
        lost = -scores.gather(1, own[:, None])[:, 0].cpu().double().numpy()
        yield some, lost, token_ranks(scores, own).cpu().numpy()
