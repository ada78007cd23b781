"""Masking as in google-research/bert's create_pretraining_data.py."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from maskling.arrays import BoolArray, Int64Array, UInt64Array
from maskling.data.masking.strategy import Masking, Rate
from maskling.data.masking.words import Units, WordIds, token_units, word_units


class Bert2018Masking(Masking):
    """Mask as the original code does, flaws included (`create_masked_lm_predictions`).

    The budget is `rate` times all tokens, [CLS] and [SEP] included; [UNK] may be chosen; a word that
    no longer fits is skipped, so long words are chosen less often and the budget may not be spent.
    Rounding is that of Python 3, halves to even. `token` and `word` have none of these flaws. One difference: in an
    example where no word fits, which the original leaves without predictions, the first word drawn is predicted.
    """

    kind: Literal["bert2018"] = "bert2018"
    predicts_unknown: ClassVar[bool] = True
    whole_word: bool = Field(False, description="choose whole words, as the flag do_whole_word_mask does")
    max_predictions_per_seq: int | None = Field(
        None, ge=1, description="maximum predictions per example; the original uses 20 at length 128, 77 at 512"
    )

    def select(self, words: WordIds, rate: Rate, keys: UInt64Array) -> BoolArray:
        """Go through the words of each example in random order and take each that fits the budget."""
        units = word_units(words) if self.whole_word else token_units(words)
        budget = np.maximum(1, np.rint(rate * np.bincount(words.example, minlength=words.num_examples)))
        budget = np.minimum(budget, self.max_predictions_per_seq or np.inf).astype(np.int64)
        return units.tokens(_greedy(units, units.shuffled(keys), budget))


def _greedy(units: Units, order: Int64Array, budget: Int64Array) -> BoolArray:
    """Take the units of each example in `order`, skipping those that exceed what is left of its budget.

    order: (u,) int64; budget: (examples,) int64, modified in place. Returns (u,) bool, the units taken.
    """
    taken = np.zeros(len(order), dtype=bool)
    count = units.count
    first = np.cumsum(count) - count
    untouched = budget.copy()
    # The r-th unit of every example at once, until all have spent their budget.
    active, rank = np.flatnonzero(count), 0
    while active.size:
        unit = order[first[active] + rank]
        fits = units.length[unit] <= budget[active]
        taken[unit[fits]] = True
        budget[active[fits]] -= units.length[unit[fits]]
        rank += 1
        active = active[(budget[active] > 0) & (count[active] > rank)]
    taken[order[first[(budget == untouched) & (count > 0)]]] = True
    return taken
