"""Maskings one example and one unit at a time."""

from __future__ import annotations

import numpy as np

from maskling.data.masking.strategy import ROUNDING_DRAW, TOKEN_DRAW, WHOLE_DRAW
from maskling.data.masking.words import WordIds
from maskling.randomness import bits, uniforms


def units_in_order(words: WordIds, example: int, key: np.uint64, whole: bool) -> list[list[int]]:
    """The tokens or the words of an example, as lists of places, in the order of their draws."""
    places = [place for place in range(len(words.word)) if words.example[place] == example and words.word[place] >= 0]
    units: dict[int, list[int]] = {}
    for place in places:
        units.setdefault(int(words.word[place]) if whole else place, []).append(place)
    keys = np.array([key])
    return sorted(units.values(), key=lambda unit: int(bits(keys, int(words.position[unit[0]]))[0]) >> 32)


def longest_allowed(rate: float, tokens: int) -> int:
    """The most tokens of one unit: those asked for, or twice as many if that is no more than a third."""
    return max(1, int(max(rate * tokens, min(2 * rate * tokens, tokens / 3))))


def until_met(words: WordIds, rate: float, keys: np.ndarray, whole: bool) -> np.ndarray:
    """Units in random order, as many as give the rate on average; at least one token.

    Words that are too long are single tokens. If the last unit would go far beyond the rate, a share of the units is
    taken instead; if that share is less than one, one unit or one token.
    """
    chosen = np.zeros(len(words.word), dtype=bool)
    for example in range(words.num_examples):
        key = keys[example : example + 1]
        words_of_example = units_in_order(words, example, keys[example], whole)
        tokens = sorted(place for unit in words_of_example for place in unit)
        ordinary = len(tokens)
        if not ordinary:
            continue
        most = longest_allowed(rate, ordinary)
        short = {tuple(unit) for unit in words_of_example if len(unit) <= most}
        single = {place for unit in words_of_example if len(unit) > most for place in unit}
        in_order = units_in_order(words, example, keys[example], whole=False)
        # A unit has the draw of its first token.
        units = [
            unit
            for (first,) in in_order
            for unit in [*([[first]] if first in single else []), *(list(each) for each in short if each[0] == first)]
        ]
        # The last unit covers a token drawn evenly, so it is as long as that token's unit; it goes half of that beyond.
        beyond = sum(len(unit) / 2 * len(unit) for unit in units) / ordinary
        further = (beyond - 0.5) / ordinary
        rounding = uniforms(key, ROUNDING_DRAW)[0]
        share = rate * len(units)
        if further > min(rate / 8, 0.01) or (further > 0 and share < 1):
            if share >= 1:
                taken = units[: int(share + rounding)]
            elif uniforms(key, WHOLE_DRAW)[0] < (rate * ordinary - 1) / (ordinary / len(units) - 1):
                taken = units[:1]
            else:
                taken = [[tokens[int(uniforms(key, TOKEN_DRAW)[0] * ordinary)]]]
            for unit in taken:
                chosen[unit] = True
            continue
        mark = rate * ordinary - beyond + rounding - 0.5
        covered = 0
        while covered == 0 or (units and covered < mark):
            unit = units.pop(0)
            chosen[unit] = True
            covered += len(unit)
    return chosen


def original(words: WordIds, rate: float, keys: np.ndarray, whole: bool, most: int) -> np.ndarray:
    """google-research/bert's greedy choice: skip what does not fit."""
    chosen = np.zeros(len(words.word), dtype=bool)
    for example in range(words.num_examples):
        budget = min(most, max(1, round(rate * int(np.count_nonzero(words.example == example)))))
        units = units_in_order(words, example, keys[example], whole)
        covered = 0
        for unit in units:
            if covered >= budget:
                break
            if covered + len(unit) > budget:
                continue
            chosen[unit] = True
            covered += len(unit)
        if units and not covered:
            chosen[units[0]] = True
    return chosen
