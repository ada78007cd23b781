"""Spans tile documents, fill their goal, and keep sentences and words whole where they can."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskling.data.plan import SLACK, cut_spans
from maskling.data.shards import in_memory
from maskling.errors import DataError
from oracles.toy_splits import documents, random_documents, split_of


def spans(plan):
    return list(zip(plan.start.tolist(), (plan.start + plan.length).tolist(), strict=True))


@given(documents=documents, goal=st.integers(1, 40), per_shard=st.integers(1, 4))
def test_spans_tile_each_document(documents, goal, per_shard):
    split, owner = split_of(documents, per_shard)
    plan = cut_spans(split, goal)
    covered = [token for begin, end in spans(plan) for token in range(begin, end)]
    assert covered == list(range(split.num_tokens))
    assert plan.length.min() >= 1
    assert plan.length.max() <= goal
    of_span = plan.document(np.arange(len(plan)))
    for (begin, end), document in zip(spans(plan), of_span.tolist(), strict=True):
        assert set(owner[begin:end]) == {document}
    assert [of_span.tolist().index(document) for document in range(len(documents))] == plan.document_first[:-1].tolist()


@given(documents=documents, goal=st.integers(1, 40))
def test_a_span_ends_early_only_to_keep_a_sentence_or_a_word_whole(documents, goal):
    split, owner = split_of(documents)
    block = next(split.blocks())
    sentence_ends = set(block.sentences.tolist())
    word_starts = set(np.flatnonzero(block.word_starts()).tolist()) | {split.num_tokens}
    for begin, end in spans(cut_spans(split, goal)):
        room = goal - (end - begin)
        limit = begin + goal
        if end == len(owner) or owner[end] != owner[begin]:
            continue
        if room == 0:
            # Cut anywhere only if no word starts inside.
            assert end in word_starts or not word_starts & set(range(begin + 1, end + 1))
        elif room <= goal * SLACK and end in sentence_ends:
            pass
        else:
            # As far as whole words go.
            assert end in word_starts
            assert not word_starts & set(range(end + 1, limit + 1))


def test_sentences_stay_whole_where_the_room_left_is_small():
    # Goal 128 allows 2 tokens of room: 126 tokens in two sentences stay so, 125 are filled up from the third.
    for second, first_span in ((26, 126), (25, 128)):
        split = in_memory([[list(range(10, 110)), [7] * second, [8] * 50]])
        assert cut_spans(split, 128).length[0] == first_span


def test_shards_make_no_difference():
    texts = random_documents(3, 17)
    whole, parts = cut_spans(split_of(texts)[0], 23), cut_spans(split_of(texts, 4)[0], 23)
    assert spans(whole) == spans(parts)
    assert np.array_equal(whole.document_first, parts.document_first)


def test_spans_of_too_few_words_are_left_out_and_counted():
    # A document of one word, one of two, and one whose second span is a single word.
    split, _ = split_of([[[3]], [[1, 1]], [[2, 2], [4]]])
    plan = cut_spans(split, 4, min_words=2)
    assert spans(plan) == [(3, 5), (5, 9)]
    assert plan.num_skipped == 2
    assert plan.document_first.tolist() == [0, 1, 2]


def test_empty_documents_and_sentences_have_no_span():
    split = in_memory([[], [[]], [[5, 6], [], [7]], []])
    assert spans(cut_spans(split, 10)) == [(0, 3)]


@pytest.mark.parametrize("texts", [[], [[]], [[[]]]])
def test_a_split_without_text_is_refused(texts):
    with pytest.raises(DataError, match="no text"):
        cut_spans(in_memory(texts), 10)


def test_a_row_without_room_for_text_is_refused():
    with pytest.raises(DataError, match="seq_length"):
        cut_spans(in_memory([[[5]]]), 0)
