"""Small texts for tests: documents of sentences of tokens whose ids say where they came from."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from maskling.data.masking.corruption import MaskingVocabulary
from maskling.data.masking.words import WordIds
from maskling.data.shards import Split, in_memory

FIRST_ID = 11
# Ids that are special: [PAD] [CLS] [SEP] [MASK] [UNK], and 5 to 10 kept free.
PAD, CLS, SEP, MASK, UNK = range(5)

# Documents as lists of sentences, each a list of the lengths of its words.
documents = st.lists(
    st.lists(st.lists(st.integers(1, 6), min_size=1, max_size=9), min_size=1, max_size=7), min_size=1, max_size=6
)


def split_of(documents: list[list[list[int]]], per_shard: int | None = None) -> tuple[Split, list[int]]:
    """A split in which token number t has id FIRST_ID + t, and the document that each token is of."""
    token = FIRST_ID
    ids, starts, owner = [], [], []
    for number, document in enumerate(documents):
        ids.append([])
        starts.append([])
        for sentence in document:
            ids[-1].append(list(range(token, token + sum(sentence))))
            starts[-1].append([place == 0 for word in sentence for place in range(word)])
            owner += [number] * sum(sentence)
            token += sum(sentence)
    return in_memory(ids, starts, per_shard), owner


def random_documents(seed: int, count: int, sentences: int = 12, words: int = 20) -> list[list[list[int]]]:
    """Documents as `documents` makes them, of up to so many sentences of up to so many words."""
    draw = np.random.default_rng(seed)
    return [
        [draw.integers(1, 5, draw.integers(1, words + 1)).tolist() for _ in range(draw.integers(1, sentences + 1))]
        for _ in range(count)
    ]


def vocabulary_of(split: Split) -> MaskingVocabulary:
    """A vocabulary for `split_of`."""
    size = FIRST_ID + split.num_tokens
    return MaskingVocabulary(size, PAD, CLS, SEP, MASK, np.arange(FIRST_ID, size), np.arange(5), UNK)


def words_of(examples: list[list[int]]) -> WordIds:
    """The words of examples, each given as the lengths of its words, 0 for a special token."""
    example, position, word, number = [], [], [], 0
    for which, lengths in enumerate(examples):
        place = 0
        for length in lengths:
            tokens = max(length, 1)
            example += [which] * tokens
            position += range(place, place + tokens)
            word += [number if length else -1] * tokens
            number += length > 0
            place += tokens
    columns = (np.array(column, np.int64) for column in (example, position, word))
    return WordIds(*columns, len(examples))
