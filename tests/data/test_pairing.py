"""Each pairing makes segments that fit, from the arguments alone; labels are true and balanced."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskling.data.pairing import PAIRINGS
from maskling.data.pairing.nsp import NspPairing
from maskling.data.pairing.single import SinglePairing
from maskling.data.pairing.sop import SopPairing
from maskling.errors import DataError
from oracles.toy_splits import documents, random_documents, split_of

COLUMNS = ("a_start", "a_length", "b_start", "b_length", "label")


def epoch_of(pairing, plan, epoch, seed=0):
    index = np.arange(len(plan))
    return pairing.segments(plan, np.full(len(index), epoch), index, seed)


@pytest.mark.parametrize("strategy", PAIRINGS.values(), ids=PAIRINGS)
@given(documents=documents, seq=st.integers(8, 40), per_shard=st.integers(1, 3), seed=st.integers(0, 2**32))
def test_segments_fit_their_row_and_lie_within_documents(strategy, documents, seq, per_shard, seed):
    split, owner = split_of([*documents, [[1, 2]], [[2, 1]]], per_shard)
    pairing = strategy()
    plan = pairing.plan(split, seq)
    segments = epoch_of(pairing, plan, 3, seed)
    assert (segments.a_length + segments.b_length + pairing.num_special).max() <= seq
    assert segments.a_length.min() >= 1
    assert (segments.b_length.min() >= 1) == pairing.has_pairs
    assert set(segments.label.tolist()) <= ({0, 1} if pairing.has_pairs else {-1})
    for start, length in ((segments.a_start, segments.a_length), (segments.b_start, segments.b_length)):
        for first, count in zip(start.tolist(), length.tolist(), strict=True):
            assert len(set(owner[first : first + count])) <= 1
            assert first + count <= split.num_tokens


@pytest.mark.parametrize("strategy", PAIRINGS.values(), ids=PAIRINGS)
def test_an_example_does_not_depend_on_those_beside_it(strategy):
    split, _ = split_of(random_documents(1, 40), 7)
    pairing = strategy()
    plan = pairing.plan(split, 32)
    epoch, index = np.array([0, 5, 5, 2]), np.array([3, 3, len(plan) - 1, 0])
    together = pairing.segments(plan, epoch, index, 9)
    for place in range(4):
        alone = pairing.segments(plan, epoch[place : place + 1], index[place : place + 1], 9)
        assert [getattr(alone, name)[0] for name in COLUMNS] == [getattr(together, name)[place] for name in COLUMNS]


@pytest.mark.parametrize("strategy", [NspPairing, SopPairing])
def test_seeds_and_epochs_change_the_pairs(strategy):
    split, _ = split_of(random_documents(1, 40))
    plan = strategy().plan(split, 32)
    base = epoch_of(strategy(), plan, 0, seed=1)
    for other in (epoch_of(strategy(), plan, 1, seed=1), epoch_of(strategy(), plan, 0, seed=2)):
        assert 0.2 < np.mean(other.label != base.label) < 0.8
        assert np.any(other.a_length != base.a_length)


def test_single_gives_every_token_once():
    split, _ = split_of(random_documents(2, 9))
    plan = SinglePairing().plan(split, 20)
    segments = epoch_of(SinglePairing(), plan, 0)
    ranges = [
        np.arange(start, start + length) for start, length in zip(segments.a_start, segments.a_length, strict=True)
    ]
    assert np.array_equal(np.concatenate(ranges), np.arange(split.num_tokens))


@pytest.mark.parametrize("strategy", [NspPairing, SopPairing])
def test_exactly_half_of_an_epoch_is_disturbed_and_each_example_in_about_half_of_the_epochs(strategy):
    split, _ = split_of(random_documents(4, 60))
    plan = strategy().plan(split, 24)
    labels = np.array([epoch_of(strategy(), plan, epoch).label for epoch in range(200)])
    assert set(labels.sum(axis=1).tolist()) <= {len(plan) // 2, (len(plan) + 1) // 2}
    # 200 fair coins: 0.5 +- 4.5 standard deviations.
    assert np.abs(labels.mean(axis=0) - 0.5).max() < 4.5 * 0.5 / np.sqrt(200)


@pytest.mark.parametrize("strategy", [NspPairing, SopPairing])
def test_a_span_is_split_at_a_sentence_if_it_can_be_and_else_at_a_word(strategy):
    split, _ = split_of(random_documents(5, 40), 9)
    sentences = np.concatenate([block.first_token + block.sentences[:-1] for block in split.blocks()])
    words = np.concatenate([block.first_token + np.flatnonzero(block.word_starts()) for block in split.blocks()])
    plan = strategy().plan(split, 40)
    segments = epoch_of(strategy(), plan, 0)
    middle = np.where(segments.label == 0, segments.b_start, segments.a_start)
    if strategy is NspPairing:
        middle = segments.a_start + segments.a_length
    for begin, length, place in zip(plan.start, plan.length, middle, strict=True):
        inside = sentences[(sentences > begin) & (sentences < begin + length)]
        allowed = inside if len(inside) else words[(words > begin) & (words < begin + length)]
        assert place in allowed


def test_every_split_of_a_span_is_equally_likely():
    # One document of one span with sentences of 1 token: 9 places to split it.
    split, _ = split_of([[[1]] * 10, [[2, 2]]])
    plan = SopPairing().plan(split, 13)
    index = np.zeros(9000, np.int64)
    segments = SopPairing().segments(plan, np.arange(9000), index, 0)
    first = np.where(segments.label == 0, segments.a_length, segments.b_length)
    counts = np.bincount(first, minlength=11)[1:10]
    # 8 degrees of freedom: 26.1 is the 0.999 point.
    assert counts.sum() == 9000
    assert ((counts - 1000) ** 2 / 1000).sum() < 26.1


def test_sop_swaps_the_halves_of_one_span():
    split, _ = split_of(random_documents(6, 30))
    plan = SopPairing().plan(split, 30)
    segments = epoch_of(SopPairing(), plan, 0)
    swapped = segments.label == 1
    assert np.array_equal(segments.a_start[~swapped] + segments.a_length[~swapped], segments.b_start[~swapped])
    assert np.array_equal(segments.b_start[swapped] + segments.b_length[swapped], segments.a_start[swapped])
    assert np.array_equal(np.minimum(segments.a_start, segments.b_start), plan.start)
    assert np.array_equal(segments.a_length + segments.b_length, plan.length)


def test_nsp_goes_on_or_comes_from_another_document():
    split, owner = split_of(random_documents(7, 50), 6)
    owner = np.array(owner)
    plan = NspPairing().plan(split, 30)
    for epoch in range(5):
        segments = epoch_of(NspPairing(), plan, epoch)
        true = segments.label == 0
        assert np.array_equal(segments.a_start[true] + segments.a_length[true], segments.b_start[true])
        assert np.array_equal((segments.a_length + segments.b_length)[true], plan.length[true])
        assert (owner[segments.a_start[~true]] != owner[segments.b_start[~true]]).all()
        assert (segments.a_length + segments.b_length).max() <= plan.goal


def test_neither_length_nor_its_end_tells_a_random_b():
    # Documents of 40 to 400 tokens, sentences of up to 20 words.
    split, _ = split_of(random_documents(12, 300, sentences=16), 40)
    sentences = np.concatenate([block.first_token + block.sentences for block in split.blocks()])
    plan = NspPairing().plan(split, 103)
    total, at_end, at_begin = ([[], []] for _ in range(3))
    for epoch in range(4):
        segments = epoch_of(NspPairing(), plan, epoch)
        for label in (0, 1):
            here = segments.label == label
            total[label] += (segments.a_length + segments.b_length)[here].tolist()
            at_end[label] += np.isin(segments.b_start + segments.b_length, sentences)[here].tolist()
            at_begin[label] += np.isin(segments.b_start, sentences)[here].tolist()
    for found, allowed in ((total, 3), (at_end, 0.08), (at_begin, 0.1)):
        assert abs(np.mean(found[0]) - np.mean(found[1])) < allowed


def test_nsp_draws_other_spans_evenly():
    # Documents of 1, 2 and 3 spans; A is the one of the first, so each of the other five is drawn equally often.
    split, _ = split_of([[[5, 5]], [[5, 5]] * 2, [[5, 5]] * 3])
    plan = NspPairing().plan(split, 13)
    assert len(plan) == 6
    segments = NspPairing().segments(plan, np.arange(10_000), np.zeros(10_000, np.int64), 0)
    drawn = np.searchsorted(plan.start, segments.b_start[segments.label == 1], side="right") - 1
    counts = np.bincount(drawn, minlength=6)
    assert counts[0] == 0
    expected = counts.sum() / 5
    # 4 degrees of freedom: 18.5 is the 0.999 point.
    assert ((counts[1:] - expected) ** 2 / expected).sum() < 18.5


@pytest.mark.parametrize("texts", [[[[2, 2, 2]]], [[[2, 2, 2]], [[3]]]])
def test_nsp_needs_two_documents_of_two_words(texts):
    with pytest.raises(DataError, match="other documents"):
        NspPairing().plan(split_of(texts)[0], 20)


@settings(max_examples=20)
@given(documents=documents)
def test_pairs_leave_out_only_what_cannot_be_halved(documents):
    split, _ = split_of([*documents, [[1, 2]], [[2, 1]]])
    plan = SopPairing().plan(split, 20)
    whole = SinglePairing().plan(split, 19)
    assert len(plan) + plan.num_skipped == len(whole)
