"""Tag words from all of their tokens: the aggregation strategies of transformers' token-classification pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from maskling.arrays import Int64Array, offsets_of
from maskling.data.labelled.encode_tags import encode_tagged, spaces_before
from maskling.data.labelled.encode_texts import IGNORED, WordTargets, text_room
from maskling.data.labelled.records import TaggedRecord
from maskling.errors import SettingsError
from maskling.infer.forward import BATCH_TOKENS
from maskling.infer.predict import entities_of, softmax, split_words
from maskling.infer.results import Tagged, Word
from maskling.infer.task_logits import TaskScorer
from maskling.metrics.entities import marks_entities
from maskling.tokenizer.tokenizer import Tokenizer

Strategy = Literal["simple", "first", "average", "max"]
STRATEGIES: Final[tuple[Strategy, ...]] = get_args(Strategy)


def tag_aggregated(
    scorer: TaskScorer,
    tokenizer: Tokenizer,
    max_length: int,
    sentences: Sequence[str | Sequence[str]],
    strategy: Strategy,
    *,
    batch_tokens: int = BATCH_TOKENS,
) -> list[Tagged]:
    """Tag the words of sentences by the probabilities of all their tokens.

    strategy: simple tags each token by itself, so an entity may be a part of a word, and the results' words are tokens;
    first takes the first token of each word, as `predict_tags` does; average the mean over the tokens of a word; max
    the token that is most certain. Entities are read from the tags as in `predict_tags`.
    Raises SettingsError for an unknown strategy.
    """
    if strategy not in STRATEGIES:
        raise SettingsError(f"aggregation_strategy is {strategy!r}; choose none, {', '.join(STRATEGIES)}")
    split = [split_words(sentence) for sentence in sentences]
    records = [TaggedRecord("", tuple(words)) for _, words, _ in split]
    encoded = encode_tagged(records, tokenizer, max_length)
    spelled = [
        f" {word}" if space else word
        for record in records
        for word, space in zip(record.words, spaces_before(record.words), strict=True)
    ]
    pieces = tokenizer.encode_with_offsets(spelled)
    # A word without tokens is [UNK], and one longer than half a window was cut: see `encode_tagged`.
    room = text_room(tokenizer, max_length, least=4)
    longest = max(1, room - 2 * (room // 4))
    lengths = np.array([min(max(len(one.ids), 1), longest) for one in pieces], dtype=np.int64)
    targets = _token_targets(encoded.words, lengths)
    scores = np.zeros((int(lengths.sum()), len(scorer.head_config.labels)))
    scores[targets.words] = softmax(scorer.words(encoded.windows, targets, batch_tokens))
    first_tokens = offsets_of(lengths)

    names = scorer.head_config.labels
    with_entities = marks_entities(names)
    tagged, word = [], 0
    for text, words, begins in split:
        units: list[Word] = []
        for own, begin in zip(words, begins, strict=True):
            some = scores[first_tokens[word] : first_tokens[word + 1]]
            if strategy == "simple":
                before = len(spelled[word]) - len(own)
                for index, row in enumerate(some):
                    start, end = _span(pieces[word].begins, pieces[word].ends, index, before, len(own))
                    units.append(_unit(own[start:end], names, row, begin + start))
            else:
                units.append(_unit(own, names, _of_word(some, strategy), begin))
            word += 1
        found = tuple(units)
        tagged.append(Tagged(text, found, tuple(entities_of(text, found)) if with_entities else ()))
    return tagged


def _of_word(scores: NDArray[np.float64], strategy: Strategy) -> NDArray[np.float64]:
    """Return the probabilities of a word. scores: (tokens, labels)."""
    if strategy == "average":
        mean: NDArray[np.float64] = scores.mean(axis=0)
        return mean
    best: NDArray[np.float64] = scores[0 if strategy == "first" else int(scores.max(axis=1).argmax())]
    return best


def _unit(text: str, names: Sequence[str], scores: NDArray[np.float64], begin: int) -> Word:
    best = int(scores.argmax())
    return Word(text, names[best], float(scores[best]), begin, begin + len(text))


def _span(
    begins: NDArray[np.integer], ends: NDArray[np.integer], index: int, before: int, length: int
) -> tuple[int, int]:
    """Return the characters of a token within its word; the whole word for a word without tokens."""
    if index >= len(begins):
        return 0, length
    return max(0, int(begins[index]) - before), max(0, int(ends[index]) - before)


def _token_targets(words: WordTargets, lengths: Int64Array) -> WordTargets:
    """Return every token of the predicted words as a target of its own. lengths: tokens of each word."""
    own = lengths[words.words]
    within = np.arange(int(own.sum())) - np.repeat(offsets_of(own)[:-1], own)
    first = offsets_of(lengths)[words.words]
    window = np.repeat(np.arange(len(words.count)), words.count)
    count = np.bincount(window, weights=own, minlength=len(words.count)).astype(np.int64)
    tokens = np.repeat(first, own) + within
    return WordTargets(count, np.repeat(words.token_positions, own) + within, tokens, np.full(len(tokens), IGNORED))
