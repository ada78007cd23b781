"""What the model sees: 80/10/10, per token or per span, random tokens only of the right kind."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from maskling.data.masking.corruption import Corruption, MaskingVocabulary
from maskling.randomness import keys
from oracles.toy_splits import MASK, words_of

VOCABULARY = MaskingVocabulary(1009, 0, 1, 2, MASK, np.arange(500, 900), np.arange(5), 4)


def text(examples, tokens, seed=0):
    words = words_of([[0, *[1] * tokens, 0]] * examples)
    ids = np.where(words.word < 0, 1, 450).astype(np.int32)
    draw = np.random.default_rng(seed)
    chosen = (draw.random(len(ids)) < 0.3) & (words.word >= 0)
    return words, ids, chosen, keys(seed, "corrupt", 0, np.arange(examples))


def kinds(seen, chosen):
    """How many of the chosen tokens are hidden, replaced, and left."""
    return np.array([(seen == MASK).sum(), (seen >= 500).sum(), (seen[chosen] == 450).sum()])


def test_chosen_tokens_are_masked_replaced_or_kept_in_the_given_fractions():
    words, ids, chosen, key = text(300, 100)
    seen = Corruption().corrupt(ids, chosen, words, key, VOCABULARY)
    assert np.array_equal(seen[~chosen], ids[~chosen])
    counts, expected = kinds(seen, chosen), chosen.sum() * np.array([0.8, 0.1, 0.1])
    assert counts.sum() == chosen.sum()
    # 2 degrees of freedom: 13.8 is the 0.999 point.
    assert ((counts - expected) ** 2 / expected).sum() < 13.8


def test_the_random_token_is_independent_of_the_draw_that_replaced_it():
    words, ids, chosen, key = text(300, 100)
    drawn = Corruption().corrupt(ids, chosen, words, key, VOCABULARY)
    counts, _ = np.histogram(drawn[drawn >= 500], bins=10, range=(500, 900))
    expected = counts.sum() / 10
    # 9 degrees of freedom: 27.9 is the 0.999 point.
    assert ((counts - expected) ** 2 / expected).sum() < 27.9


@pytest.mark.parametrize(("mask", "random", "kind"), [(1, 0, 0), (0, 1, 1), (0, 0, 2)])
def test_shares_of_one_and_none(mask, random, kind):
    words, ids, chosen, key = text(20, 50)
    seen = Corruption(mask=mask, random=random).corrupt(ids, chosen, words, key, VOCABULARY)
    assert kinds(seen, chosen)[kind] == chosen.sum()


@pytest.mark.parametrize(("random_ids", "low", "high"), [("ordinary", 500, 900), ("all", 0, 1009)])
def test_random_tokens_are_drawn_evenly_from_the_ids_allowed(random_ids, low, high):
    words, ids, chosen, key = text(600, 200)
    corruption = Corruption(mask=0, random=1, random_ids=random_ids)
    drawn = corruption.corrupt(ids, chosen, words, key, VOCABULARY)[chosen]
    assert drawn.min() == low
    assert drawn.max() == high - 1
    counts = np.bincount(drawn - low, minlength=high - low)
    expected = len(drawn) / (high - low)
    freedom = high - low - 1
    # The normal approximation to chi-square, 4 standard deviations.
    assert ((counts - expected) ** 2 / expected).sum() < freedom + 4 * np.sqrt(2 * freedom)


def test_a_span_shares_one_draw_but_not_its_random_tokens():
    words, ids, _, key = text(400, 60)
    # Runs of 3 of each 5 tokens; two examples meet only across special tokens.
    chosen = (words.position % 5 < 3) & (words.word >= 0)
    seen = Corruption(unit="span").corrupt(ids, chosen, words, key, VOCABULARY)
    kind = np.where(seen == MASK, 0, np.where(seen >= 500, 1, 2))
    runs, fates, replaced = np.cumsum(np.diff(chosen, prepend=False) & chosen), [], []
    for run in range(1, int(runs.max()) + 1):
        here = chosen & (runs == run)
        assert len(set(kind[here].tolist())) == 1
        fates.append(kind[here][0])
        if fates[-1] == 1 and here.sum() > 1:
            replaced.append(len(set(seen[here].tolist())) > 1)
    counts, expected = np.bincount(fates, minlength=3), len(fates) * np.array([0.8, 0.1, 0.1])
    assert ((counts - expected) ** 2 / expected).sum() < 13.8
    assert np.mean(replaced) > 0.95


@pytest.mark.parametrize("unit", ["token", "span"])
@given(seed=st.integers(0, 1000))
def test_an_example_is_corrupted_the_same_alone_as_among_others(unit, seed):
    words, ids, chosen, key = text(5, 12, seed)
    together = Corruption(unit=unit).corrupt(ids, chosen, words, key, VOCABULARY)
    for which in range(5):
        here = words.example == which
        alone = words_of([[0, *[1] * 12, 0]])
        seen = Corruption(unit=unit).corrupt(ids[here], chosen[here], alone, key[which : which + 1], VOCABULARY)
        assert np.array_equal(seen, together[here])


def test_fractions_above_one_are_refused():
    with pytest.raises(ValidationError, match="lower one"):
        Corruption(mask=0.8, random=0.3)
