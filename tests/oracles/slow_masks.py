"""Maskings one example and one unit at a time."""

from __future__ import annotations

import numpy as np

from maskling.data.masking.strategy import ROUNDING_DRAW
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


def until_met(words: WordIds, rate: float, keys: np.ndarray, whole: bool) -> np.ndarray:
    """Units until they reach the rate less what the last is expected to go beyond it; at least one."""
    chosen = np.zeros(len(words.word), dtype=bool)
    for example in range(words.num_examples):
        units = units_in_order(words, example, keys[example], whole)
        ordinary = sum(map(len, units))
        if not units:
            continue
        # The last unit covers a token drawn evenly, so it is as long as that token's unit; it goes half of that beyond.
        beyond = sum(len(unit) / 2 * len(unit) for unit in units) / ordinary
        mark = rate * ordinary - beyond + uniforms(keys[example : example + 1], ROUNDING_DRAW)[0] - 0.5
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
