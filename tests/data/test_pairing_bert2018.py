"""The pairs of the original builder, held to a slow one written from its description."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskling.data.pairing.bert2018 import Bert2018Pairing
from maskling.data.shards import in_memory
from maskling.errors import DataError
from oracles.bert_pairs import pairs
from oracles.toy_splits import FIRST_ID, documents, random_documents, split_of


def made(pairing, split, seq):
    plan = pairing.plan(split, seq)
    index = np.arange(len(plan))
    segments = pairing.segments(plan, index * 0, index, 0)
    columns = (segments.a_start, segments.a_length, segments.b_start, segments.b_length, segments.label)
    return [
        (list(range(a, a + a_len)), list(range(b, b + b_len)), bool(label))
        for a, a_len, b, b_len, label in zip(*(column.tolist() for column in columns), strict=True)
    ]


def ids_of(texts):
    token, documents = 0, []
    for document in texts:
        documents.append([])
        for sentence in document:
            documents[-1].append(list(range(token, token + sum(sentence))))
            token += sum(sentence)
    return documents


@given(
    texts=documents,
    seq=st.integers(5, 60),
    passes=st.integers(1, 4),
    short=st.sampled_from([0.0, 0.1, 0.7]),
    seed=st.integers(0, 2**32),
    per_shard=st.integers(1, 3),
)
def test_decision_for_decision_as_the_original(texts, seq, passes, short, seed, per_shard):
    split, _ = split_of(texts, per_shard)
    pairing = Bert2018Pairing(random_seed=seed, dupe_factor=passes, short_seq_prob=short)
    assert made(pairing, split, seq) == pairs(ids_of(texts), seq, passes, short, seed)


def test_the_defaults_are_the_original_s():
    texts = random_documents(8, 25)
    assert made(Bert2018Pairing(), split_of(texts)[0], 64) == pairs(ids_of(texts), 64, 10, 0.1, 12345)


def test_empty_lines_and_documents_are_no_lines_to_the_original_either():
    split = in_memory([[[1, 2], [], [3]], [[]], [], [[4, 5, 6]]])
    ids = [[[0, 1], [], [2]], [[]], [], [[3, 4, 5]]]
    assert made(Bert2018Pairing(), split, 9) == pairs(ids, 9, 10, 0.1, 12345)


def test_its_flaw_is_kept_more_than_half_are_random():
    # Documents of one sentence have only random pairs.
    plan = Bert2018Pairing().plan(split_of(random_documents(9, 200, sentences=3))[0], 64)
    assert plan.label.mean() > 0.6


def test_the_mean_length_counts_both_segments():
    split, _ = split_of(random_documents(8, 25))
    plan = Bert2018Pairing().plan(split, 64)
    total = sum(len(a) + len(b) for a, b, _ in made(Bert2018Pairing(), split, 64))
    assert plan.mean_length == pytest.approx(total / len(plan))


def test_no_text_and_no_room_are_refused():
    with pytest.raises(DataError, match="no text"):
        Bert2018Pairing().plan(in_memory([[]]), 64)
    with pytest.raises(DataError, match="seq_length"):
        Bert2018Pairing().plan(in_memory([[[FIRST_ID]]]), 4)
