"""Examples in rows: every array by hand, and read back."""

from __future__ import annotations

import numpy as np

from maskling.data.assemble import MaskedExamples, assemble, collate
from maskling.data.masking.corruption import MaskingVocabulary
from maskling.data.packing import Layout
from maskling.data.pairing.strategy import Segments
from maskling.data.shards import in_memory

VOCABULARY = MaskingVocabulary(
    100, pad=9, cls=1, sep=2, mask=3, ordinary_ids=np.arange(20, 99), special_ids=np.arange(10), unk=4
)


def segments(*columns):
    return Segments(*(np.array(column, np.int64) for column in columns))


def test_two_rows_by_hand():
    text = MaskedExamples(
        ids=np.array([1, 20, 21, 2, 1, 22, 2, 1, 23, 24, 25, 2], np.int32),
        input_ids=np.array([1, 3, 21, 2, 1, 22, 2, 1, 23, 77, 25, 2], np.int32),
        chosen=np.array([0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0], bool),
        length=np.array([4, 3, 5]),
        second=np.array([3, 3, 5]),
        pair_labels=np.array([0, 1, 0]),
    )
    batch = collate(text, Layout(np.array([0, 0, 1]), np.array([0, 4, 0]), 2), seq=8, pad=9)
    assert batch.input_ids.tolist() == [[1, 3, 21, 2, 1, 22, 2, 9], [1, 23, 77, 25, 2, 9, 9, 9]]
    assert batch.position_ids.tolist() == [[0, 1, 2, 3, 0, 1, 2, 0], [0, 1, 2, 3, 4, 0, 0, 0]]
    assert batch.token_type_ids.tolist() == [[0, 0, 0, 1, 0, 0, 0, 0], [0] * 8]
    assert batch.example_ids.tolist() == [[0, 0, 0, 0, 1, 1, 1, -1], [0, 0, 0, 0, 0, -1, -1, -1]]
    assert batch.masked_positions.tolist() == [1, 5, 10]
    assert batch.labels.tolist() == [20, 22, 24]
    assert batch.first_positions.tolist() == [0, 4, 8]
    assert batch.pair_labels.tolist() == [0, 1, 0]
    assert (batch.rows, batch.seq, batch.num_tokens, batch.fill) == (2, 8, 12, 0.75)
    assert batch.input_ids.dtype == batch.example_ids.dtype == np.int32
    assert batch.labels.dtype == batch.masked_positions.dtype == np.int64


def test_no_rows_is_an_empty_batch():
    nothing = np.zeros(0, np.int64)
    text = MaskedExamples(np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0, bool), nothing, nothing, nothing)
    batch = collate(text, Layout(nothing, nothing, 0), seq=8, pad=9)
    assert (batch.input_ids.shape, batch.fill, len(batch.labels)) == ((0, 8), 0, 0)


def test_pairs_are_surrounded_by_special_tokens_and_words_begin_with_their_segment():
    # WordIds: 20 21 | 22 23 24 | 25. A begins inside the second word.
    split = in_memory([[[20, 21, 22, 23, 24, 25]]], [[[True, False, True, False, False, True]]])
    ids, words = assemble(split, segments([3], [3], [0], [3], [1]), VOCABULARY, True, False)
    assert ids.tolist() == [1, 23, 24, 25, 2, 20, 21, 22, 2]
    assert words.word.tolist() == [-1, 0, 0, 1, -1, 2, 2, 3, -1]
    assert words.position.tolist() == list(range(9))


def test_single_segments_and_unknown_tokens():
    # 4 is special; what follows it begins a word whatever the text says, but only where it is not a word itself.
    split = in_memory([[[20, 4, 21, 22]]], [[[True, True, False, False]]])
    for predicts_unknown, expected in ((False, [-1, 0, -1, 1, 1, -1]), (True, [-1, 0, 1, 1, 1, -1])):
        ids, words = assemble(split, segments([0], [4], [0], [0], [-1]), VOCABULARY, False, predicts_unknown)
        assert ids.tolist() == [1, 20, 4, 21, 22, 2]
        assert words.word.tolist() == expected
