"""Draws have the chances they should have, and runs that stand twice are found."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from maskling.errors import SettingsError
from maskling.infer.generate import Sampling, repeating

CHANCES = [0.05, 0.4, 0.0, 0.25, 0.2, 0.1]
SCORES = torch.tensor([math.log(chance) + 3 if chance else -math.inf for chance in CHANCES])


def drawn(sampling: Sampling, count: int = 4000) -> list[float]:
    """How often each token comes, for draws spread evenly over [0, 1)."""
    even = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    tokens = sampling.draw(SCORES.expand(count, -1).clone(), even)
    return (torch.bincount(tokens, minlength=6) / count).tolist()


@pytest.mark.parametrize(
    ("sampling", "expected"),
    [
        (Sampling(top_p=None), CHANCES),
        (Sampling(top_p=1.0), CHANCES),
        (Sampling(top_k=2, top_p=None), [0, 0.4 / 0.65, 0, 0.25 / 0.65, 0, 0]),
        (Sampling(top_k=50, top_p=None), CHANCES),
        # 0.4 + 0.25 lacks 0.05 of 0.7, so the third is in too.
        (Sampling(top_p=0.7), [0, 0.4 / 0.85, 0, 0.25 / 0.85, 0.2 / 0.85, 0]),
        (Sampling(top_p=0.3), [0, 1, 0, 0, 0, 0]),
        (Sampling(top_k=3, top_p=0.5), [0, 0.4 / 0.65, 0, 0.25 / 0.65, 0, 0]),
        (Sampling(temperature=0), [0, 1, 0, 0, 0, 0]),
        (Sampling(temperature=0.5, top_p=None), [c * c / sum(d * d for d in CHANCES) for c in CHANCES]),
        (Sampling(temperature=1e-4), [0, 1, 0, 0, 0, 0]),
    ],
)
def test_tokens_come_as_often_as_they_should(sampling: Sampling, expected: list[float]):
    assert drawn(sampling) == pytest.approx(expected, abs=2 / 4000)


def test_the_very_last_draw_is_still_a_token_with_a_chance():
    last = torch.tensor([1 - 2**-53, 0.0], dtype=torch.float64)
    scores = torch.tensor([[0.0, 0.0, -math.inf], [-math.inf, 0.0, 0.0]])
    assert Sampling(top_p=None).draw(scores, last).tolist() == [1, 1]


@pytest.mark.parametrize(
    ("values", "complaint"),
    [({"temperature": -1}, "temperature is -1"), ({"top_k": 0}, "top_k is 0"), ({"top_p": 0}, "top_p is 0"),
     ({"top_p": 1.5}, "top_p is 1.5"), ({"temperature": math.nan}, "temperature is nan")],
)  # fmt: skip
def test_values_out_of_range_are_refused(values: dict[str, float], complaint: str):
    with pytest.raises(SettingsError, match=complaint):
        Sampling(**values)


@given(ids=st.lists(st.integers(0, 3), min_size=1, max_size=12), length=st.integers(0, 4), data=st.data())
def test_what_would_repeat_a_run_is_what_trying_it_out_finds(ids: list[int], length: int, data: st.DataObject):
    unfilled = data.draw(st.lists(st.booleans(), min_size=len(ids), max_size=len(ids)))
    place = data.draw(st.integers(0, len(ids) - 1))
    unfilled[place] = True

    text: list[int | None] = [None if empty else token for token, empty in zip(ids, unfilled, strict=True)]
    expected = set()
    for token in range(4):
        tried = [*text[:place], token, *text[place + 1 :]]
        runs = {first: tuple(tried[first : first + length]) for first in range(len(ids) - length + 1) if length}
        runs = {first: run for first, run in runs.items() if None not in run}
        new = [run for first, run in runs.items() if first <= place < first + length]
        if any(list(runs.values()).count(run) > 1 for run in new):
            expected.add(token)
    found = repeating(np.array(ids), np.array(unfilled), place, length)
    assert set(found.tolist()) == expected
