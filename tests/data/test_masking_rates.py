"""A rate of its own for each example: drawn from its key, kept by every masking, and absent from validation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskling.config import Layer, resolve
from maskling.data.examples import Examples
from maskling.data.masking import MASKINGS
from maskling.data.masking.corruption import Corruption
from maskling.data.masking.token import TokenMasking
from maskling.data.packing import BestFitPacking
from maskling.data.pairing.single import SinglePairing
from maskling.errors import SettingsError
from maskling.randomness import keys
from maskling.train.recipe import Recipe
from oracles.toy_splits import random_documents, split_of, vocabulary_of, words_of

everyone = pytest.mark.parametrize("strategy", MASKINGS.values(), ids=MASKINGS)
examples = st.lists(
    st.lists(st.integers(0, 5), min_size=0, max_size=40).map(lambda words: [0, *words, 0]), min_size=1, max_size=6
)


@everyone
@given(examples=examples, seed=st.integers(0, 2**32))
def test_every_masking_keeps_the_rate_of_each_example(strategy, examples, seed):
    key = keys(seed, "mask", 0, np.arange(len(examples)))
    masking = strategy(rate=0.9, lowest_rate=0.05)
    rates = masking.rates(0.9, key)
    words = words_of(examples)
    chosen = masking.select(words, rates, key)
    for which, example in enumerate(examples):
        alone = strategy().select(words_of([example]), float(rates[which]), key[which : which + 1])
        assert np.array_equal(alone, chosen[words.example == which])


def test_rates_are_even_over_their_range_and_of_the_key_alone():
    key = keys(3, "mask", 0, np.arange(5000))
    rates = TokenMasking(rate=0.8, lowest_rate=0.2).rates(0.8, key)
    assert np.array_equal(rates[70:90], TokenMasking(rate=0.8, lowest_rate=0.2).rates(0.8, key[70:90]))
    counts, _ = np.histogram(rates, bins=12, range=(0.2, 0.8))
    assert counts.sum() == 5000
    # 11 degrees of freedom: 31.3 is the 0.999 point.
    assert ((counts - 5000 / 12) ** 2 / (5000 / 12)).sum() < 31.3


def test_an_upper_end_that_falls_takes_the_range_along():
    masking = TokenMasking(rate=0.8, final_rate=0.4, lowest_rate=0.1)
    key = keys(3, "mask", 0, np.arange(2000))
    late = masking.rates(masking.rate_at(1.0), key)
    assert 0.1 <= late.min() < 0.11
    assert 0.39 < late.max() <= 0.4


@everyone
def test_without_a_lowest_rate_all_examples_have_the_rate(strategy):
    assert strategy().rates(0.3, keys(0, "mask", 0, np.arange(9))) == 0.3


def made(masking: TokenMasking) -> Examples:
    split, _ = split_of(random_documents(5, 60))
    vocabulary = vocabulary_of(split)
    return Examples(split, vocabulary, SinglePairing(), masking, Corruption(), BestFitPacking(), 64, 7)


def shares(examples: Examples, rate: float, count: int = 60) -> np.ndarray:
    found = [examples.example(number, rate) for number in range(count)]
    return np.array([example.chosen.sum() / max(1, (example.words >= 0).sum()) for example in found])


def test_examples_of_a_run_differ_in_rate_and_repeat():
    fixed, drawn = made(TokenMasking(rate=0.9)), made(TokenMasking(rate=0.9, lowest_rate=0.1))
    assert shares(fixed, 0.9).std() < 0.06
    assert 0.15 < shares(drawn, 0.9).std() < 0.35  # even over 0.8: 0.23
    again = made(TokenMasking(rate=0.9, lowest_rate=0.1)).step(2, 5, 0.9)
    assert np.array_equal(drawn.step(2, 5, 0.9).text.chosen, again.text.chosen)


def test_a_lowest_rate_above_the_rate_is_refused():
    for masking in ({"rate": 0.2, "lowest_rate": 0.3}, {"rate": 0.5, "final_rate": 0.2, "lowest_rate": 0.3}):
        with pytest.raises(SettingsError, match=r"lowest_rate 0.3 is above the rate 0.2"):
            resolve(Recipe, [Layer("test", {"masking": {"kind": "span", **masking}})])
