"""Entropy as scipy has it, and a perplexity for any loss."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import entropy

from maskling.metrics import entropy as entropy_module


@given(counts=st.lists(st.integers(0, 1 << 40), min_size=1, max_size=50).filter(any))
def test_entropy_is_that_of_scipy(counts):
    assert entropy_module.entropy(np.array(counts)) == pytest.approx(entropy(counts), abs=1e-12)


def test_a_perplexity_too_large_for_a_float_is_infinite():
    assert entropy_module.perplexity(math.log(7)) == pytest.approx(7)
    assert entropy_module.perplexity(1e4) == math.inf
