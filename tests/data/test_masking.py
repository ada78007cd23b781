"""Every masking: its contract, slow answers, and the statistics it promises."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskling.data.masking import MASKINGS
from maskling.data.masking.bert2018 import Bert2018Masking
from maskling.data.masking.ngram import NgramMasking
from maskling.data.masking.span import SpanMasking
from maskling.data.masking.strategy import fair_words, word_runs
from maskling.data.masking.token import TokenMasking
from maskling.data.masking.word import WordMasking
from maskling.data.masking.words import WordIds
from maskling.randomness import keys
from oracles.slow_masks import longest_allowed, original, until_met
from oracles.toy_splits import words_of

# Each example: [CLS], words and special tokens (0) mixed, [SEP].
examples = st.lists(
    st.lists(st.integers(0, 5), min_size=0, max_size=40).map(lambda words: [0, *words, 0]), min_size=1, max_size=6
)
rates = st.floats(0.01, 0.95)
everyone = pytest.mark.parametrize("strategy", MASKINGS.values(), ids=MASKINGS)


def keys_of(count, seed=0):
    return keys(seed, "mask", 0, np.arange(count))


@everyone
@given(examples=examples, rate=rates, seed=st.integers(0, 2**32))
def test_only_ordinary_tokens_are_chosen_and_one_at_least(strategy, examples, rate, seed):
    words = words_of(examples)
    chosen = strategy().select(words, rate, keys_of(len(examples), seed))
    assert chosen.shape == words.word.shape
    assert not chosen[words.word < 0].any()
    count = np.bincount(words.example, weights=chosen, minlength=len(examples))
    assert ((count >= 1) == (words.num_ordinary > 0)).all()


@everyone
@given(examples=examples, rate=rates, seed=st.integers(0, 2**32))
def test_an_example_has_the_same_masks_alone_as_among_others(strategy, examples, rate, seed):
    key = keys_of(len(examples), seed)
    words = words_of(examples)
    together = strategy().select(words, rate, key)
    for which, example in enumerate(examples):
        alone = strategy().select(words_of([example]), rate, key[which : which + 1])
        assert np.array_equal(alone, together[words.example == which])


@pytest.mark.parametrize("strategy", [WordMasking(), SpanMasking(), NgramMasking(), Bert2018Masking(whole_word=True)])
@given(examples=examples, rate=rates)
def test_words_are_chosen_whole(strategy, examples, rate):
    words = words_of(examples)
    chosen = strategy.select(words, rate, keys_of(len(examples)))
    original = isinstance(strategy, Bert2018Masking)
    for word in range(int(words.word.max(initial=-1)) + 1):
        place = words.word == word
        example = words.example == words.example[place][0]
        longest = longest_allowed(rate, int((example & (words.word >= 0)).sum()))
        if original or (place.sum() <= longest and chosen[example].sum() > 1):
            assert len(set(chosen[place].tolist())) == 1


@pytest.mark.parametrize(("strategy", "whole"), [(TokenMasking(), False), (WordMasking(), True)])
@given(examples=examples, rate=rates, seed=st.integers(0, 2**32))
def test_units_are_taken_until_the_rate_is_met(strategy, whole, examples, rate, seed):
    words, key = words_of(examples), keys_of(len(examples), seed)
    assert np.array_equal(strategy.select(words, rate, key), until_met(words, rate, key, whole))


@pytest.mark.parametrize("whole", [False, True])
@given(examples=examples, rate=rates, seed=st.integers(0, 2**32), most=st.integers(1, 20))
def test_the_original_s_greedy_choice(whole, examples, rate, seed, most):
    words, key = words_of(examples), keys_of(len(examples), seed)
    strategy = Bert2018Masking(whole_word=whole, max_predictions_per_seq=most)
    assert np.array_equal(strategy.select(words, rate, key), original(words, rate, key, whole, most))


@given(count=st.integers(1, 300), rate=rates, seed=st.integers(0, 2**32))
def test_token_masking_rounds_the_rate_up_or_down(count, rate, seed):
    chosen = TokenMasking().select(words_of([[0, *[1] * count, 0]]), rate, keys_of(1, seed))
    assert chosen.sum() in {max(1, int(np.floor(rate * count))), max(1, int(np.ceil(rate * count)))}


def mixed_text(seed=0, examples=400, size=90):
    draw = np.random.default_rng(seed)
    return words_of(
        [[0, *draw.choice([1, 2, 3, 5], size, p=[0.6, 0.2, 0.1, 0.1]).tolist(), 0] for _ in range(examples)]
    )


@pytest.mark.parametrize("strategy", [TokenMasking, WordMasking, SpanMasking, NgramMasking])
@pytest.mark.parametrize("rate", [0.15, 0.4])
def test_the_rate_is_met_on_average(strategy, rate):
    words = mixed_text()
    share = []
    for seed in range(5):
        chosen = strategy().select(words, rate, keys_of(400, seed))
        share.append(np.bincount(words.example, weights=chosen) / words.num_ordinary)
    # The last span adds or lacks some 4 tokens of 140: a standard deviation of 0.03, and 2,000 examples.
    assert abs(np.mean(share) - rate) < 4.5 * 0.03 / np.sqrt(2000)


ours = pytest.mark.parametrize("strategy", [WordMasking(), SpanMasking(), NgramMasking()])


# Words of any length, in one example: all alike, a few long ones among short ones, one that is nearly everything.
@ours
@pytest.mark.parametrize("rate", [0.15, 0.3])
@given(
    lengths=st.one_of(
        st.lists(st.integers(1, 6), min_size=4, max_size=60),
        st.lists(st.sampled_from([1, 1, 1, 12, 40]), min_size=4, max_size=30),
        st.tuples(st.integers(2, 20), st.integers(2, 20)).map(lambda each: [each[0]] * each[1]),
        st.integers(7, 200).map(lambda length: [length]),
    ).filter(lambda lengths: sum(lengths) >= 8)
)
@settings(max_examples=15)
def test_the_rate_is_met_whatever_the_lengths_of_words(strategy, rate, lengths):
    count, tokens = 3000, sum(lengths)
    words = words_of([[0, *lengths, 0]] * count)
    chosen = strategy.select(words, rate, keys_of(count)).reshape(count, -1)
    share = chosen.sum(axis=1) / tokens
    # One point, and five standard deviations of the mean. At least one token is chosen.
    assert abs(share.mean() - max(rate, 1 / tokens)) < 0.01 + 5 * share.std() / np.sqrt(count)
    # In short examples runs prefer the middle by a little: the first and the last token have a neighbour less.
    likely = chosen[:, 1:-1].mean(axis=0)
    assert np.abs(likely - rate).max() < 0.25 * rate + 0.04


@ours
def test_a_row_without_words_is_masked_like_text(strategy):
    # A row of DNA or of Thai, 126 tokens without a space; and a long address in a sentence.
    for lengths in ([126], [*[1] * 40, 60, *[2] * 13]):
        words = words_of([[0, *lengths, 0]] * 500)
        share = strategy.select(words, 0.15, keys_of(500)).reshape(500, -1).sum(axis=1) / 126
        assert abs(share.mean() - 0.15) < 0.01
        assert share.max() < 0.35


def test_short_examples_keep_whole_words_where_the_rate_allows_it():
    # Six words of three tokens, 2.7 tokens wanted: one word (3) in 85 % of the examples, one token in the others.
    words = words_of([[0, *[3] * 6, 0]] * 4000)
    count = WordMasking().select(words, 0.15, keys_of(4000)).reshape(4000, -1).sum(axis=1)
    assert set(count.tolist()) == {1, 3}
    assert abs((count == 3).mean() - 0.85) < 5 * np.sqrt(0.85 * 0.15 / 4000)


@pytest.mark.parametrize("strategy", [TokenMasking, WordMasking, SpanMasking, NgramMasking])
def test_every_position_is_as_likely_as_any_other(strategy):
    # One text of one-token words under many keys.
    words = words_of([[0, *[1] * 50, 0]] * 4000)
    chosen = strategy().select(words, 0.2, keys_of(4000))
    counts = np.bincount(words.position[chosen], minlength=52)[1:51]
    expected = counts.sum() / 50
    # Neighbours share a span, so the counts vary more than 50 free ones would, but no more than `longest run` times.
    longest = {TokenMasking: 1, WordMasking: 1, SpanMasking: 10, NgramMasking: 3}[strategy]
    # 49 degrees of freedom: 85.4 is the 0.999 point.
    assert ((counts - expected) ** 2 / expected).sum() < 85.4 * longest
    assert np.abs(counts / expected - 1).max() < 0.15


@pytest.mark.parametrize(
    ("strategy", "chances"),
    [
        (SpanMasking(), 0.2 * 0.8 ** np.arange(10)),
        (SpanMasking(stop=0.5, max_words=4), 0.5 ** np.arange(1, 5)),
        (NgramMasking(), 1 / np.arange(1, 4)),
    ],
)
def test_span_lengths_have_the_paper_s_distribution(strategy, chances):
    # A low rate of long texts, so that hardly any two spans touch; specials every 400 words bound stretches.
    words = words_of([[0, *[1] * 400, 0, *[1] * 400, 0]] * 300)
    chosen = strategy.select(words, 0.02, keys_of(300)).reshape(300, -1)
    edges = np.diff(chosen.astype(np.int8), axis=1, prepend=0, append=0)
    lengths = np.nonzero(edges == -1)[1] - np.nonzero(edges == 1)[1]
    longest = len(chances)
    counts = np.bincount(np.minimum(lengths, longest + 1), minlength=longest + 2)[1:]
    expected = len(lengths) * chances / chances.sum()
    # Two in a hundred touch or are cut off by the end of their stretch: a few per cent of each count, no more.
    assert len(lengths) > 900
    assert np.abs(counts[:longest] - expected).max() < 4.5 * np.sqrt(expected.max()) + 0.03 * len(lengths)
    assert abs(lengths.mean() - (expected * np.arange(1, longest + 1)).sum() / expected.sum()) < 0.35


def test_a_span_never_reaches_over_a_special_token():
    # Segments of 3 and 2 words, [SEP] between them: with spans of 4 words, each segment is one span.
    words = words_of([[0, 2, 1, 1, 0, 1, 3, 0]] * 7)
    units = word_runs(fair_words(words, 0.9), np.array([0, 0, 0, 1.0]), 0.9, keys_of(7))
    assert list(zip(units.position.tolist(), units.length.tolist(), strict=True)) == [(1, 4), (6, 4)] * 7


def test_a_short_text_is_not_masked_whole():
    words = words_of([[0, *[1] * 7, 0]] * 300)
    chosen = SpanMasking().select(words, 0.15, keys_of(300))
    assert chosen.reshape(300, -1).sum(axis=1).max() <= 2


def test_the_original_prefers_short_words_and_whole_words_do_not():
    words = words_of([[0, *[1, 4] * 8, 0]] * 1500)
    long = np.bincount(words.word[words.word >= 0])[words.word] == 4
    rate = 0.16
    fair = WordMasking().select(words, rate, keys_of(1500))
    biased = Bert2018Masking(whole_word=True).select(words, rate, keys_of(1500))
    ordinary = words.word >= 0
    assert abs(fair[ordinary & long].mean() / fair[ordinary & ~long].mean() - 1) < 0.15
    assert biased[ordinary & long].mean() < 0.8 * biased[ordinary & ~long].mean()


def test_the_original_counts_special_tokens_in_its_budget():
    # 10 tokens with [CLS] and [SEP], 8 without: round(0.25 * 10) is 2 to even, and never 2.5.
    words = words_of([[0, *[1] * 8, 0]])
    assert Bert2018Masking().select(words, 0.25, keys_of(1)).sum() == 2
    assert Bert2018Masking().select(words, 0.35, keys_of(1)).sum() == 4
    assert Bert2018Masking(max_predictions_per_seq=1).select(words, 0.35, keys_of(1)).sum() == 1


@everyone
def test_no_examples_and_no_words_choose_nothing(strategy):
    nothing = np.zeros(0, np.int64)
    assert strategy().select(WordIds(nothing, nothing, nothing, 0), 0.15, keys_of(0)).tolist() == []
    assert not strategy().select(words_of([[0, 0], [0, 0, 0]]), 0.15, keys_of(2)).any()


def test_a_rate_may_change_linearly():
    assert TokenMasking(rate=0.2).rate_at(0.7) == 0.2
    falling = TokenMasking(rate=0.3, final_rate=0.15)
    assert [falling.rate_at(fraction) for fraction in (0, 0.5, 1, 1.5)] == pytest.approx([0.3, 0.225, 0.15, 0.15])
