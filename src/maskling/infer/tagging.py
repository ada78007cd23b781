"""Tags for words, and the entities that tags make."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from maskling.data.labelled.records import TaggedRecord
from maskling.data.labelled.spacing import joined
from maskling.data.labelled.tag_windows import encode_tagged
from maskling.infer.classifying import softmax
from maskling.infer.judge import Judge
from maskling.infer.predictions import Entity, Predicted, Tagged, Word
from maskling.infer.rows import BATCH_TOKENS
from maskling.metrics.entities import entities, marks_entities
from maskling.tokenizer.characters import SPACE, kinds, starts
from maskling.tokenizer.tokenizer import Tokenizer


def predict_tags(
    judge: Judge,
    tokenizer: Tokenizer,
    max_length: int,
    sentences: Sequence[str | Sequence[str]],
    *,
    batch_tokens: int = BATCH_TOKENS,
) -> Predicted:
    """Tag words: those given, or those of a text (see `words_in`).

    Each is judged by its first token, with the context of the window that has most of it. Adjacent words with tags
    of one entity, as BIO and its kin mark them, come out as entities too.
    """
    split = [words_in(sentence) if isinstance(sentence, str) else _given(sentence) for sentence in sentences]
    records = [TaggedRecord("", tuple(words)) for _, words, _ in split]
    encoded = encode_tagged(records, tokenizer, max_length)
    scores = np.zeros((sum(len(record.words) for record in records), len(judge.head_config.labels)))
    scores[encoded.words.words] = softmax(judge.words(encoded.windows, encoded.words, batch_tokens))
    best = scores.argmax(axis=1)
    names = judge.head_config.labels
    with_entities = marks_entities(names)

    tagged, first = [], 0
    for text, texts, begins in split:
        last = first + len(texts)
        words = tuple(
            Word(word, names[label], float(score), begin, begin + len(word))
            for word, begin, label, score in zip(
                texts, begins, best[first:last].tolist(), scores[first:last].max(axis=1).tolist(), strict=True
            )
        )
        tagged.append(Tagged(text, words, tuple(_entities(text, words)) if with_entities else ()))
        first = last
    return Predicted(tagged, encoded.cut)


def words_in(text: str) -> tuple[str, list[str], list[int]]:
    """A text, its words and the character each begins at: what white space leaves, marks and Chinese characters alone.

    As BERT cuts text before it looks into its vocabulary. Whoever has words of another kind gives them as words.
    """
    begins = np.flatnonzero(starts(text, jieba=False))
    black = np.flatnonzero(kinds(text) != SPACE)
    ends = black[np.searchsorted(black, [*begins[1:], len(text)]) - 1] + 1 if len(begins) else begins
    return text, [text[begin:end] for begin, end in zip(begins.tolist(), ends.tolist(), strict=True)], begins.tolist()


def _entities(text: str, words: Sequence[Word]) -> Iterator[Entity]:
    for found in entities([word.tag for word in words]):
        some = words[found.first : found.last]
        start, end = some[0].start, some[-1].end
        yield Entity(text[start:end], found.type, sum(word.score for word in some) / len(some), start, end)


def _given(words: Sequence[str]) -> tuple[str, list[str], list[int]]:
    text, begins = joined(words)
    return text, list(words), begins
