"""Corruption of the tokens to predict: the model gets mostly [MASK], sometimes a random or the original token."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from maskling.arrays import BoolArray, UInt64Array
from maskling.config import Settings
from maskling.data.masking.words import WordIds
from maskling.randomness import below, uniforms
from maskling.tokenizer.tokenizer import Tokenizer


@dataclass(frozen=True)
class MaskingVocabulary:
    """The ids that batches need from a tokenizer: special tokens, and the ordinary ids for random replacements.

    ordinary_ids: (o,) int64, ids that random replacements are drawn from: neither special nor unused as [unused7].
    special_ids: (s,) int64, all special ids, including those that may occur in a text: [UNK], [URL].
    """

    size: int
    pad: int
    cls: int
    sep: int
    mask: int
    ordinary_ids: NDArray[np.int64]
    special_ids: NDArray[np.int64]
    unk: int

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> MaskingVocabulary:
        """Return the vocabulary of a tokenizer."""
        special = tokenizer.special
        return cls(
            size=tokenizer.vocab_size,
            pad=special.pad,
            cls=special.cls,
            sep=special.sep,
            mask=special.mask,
            ordinary_ids=tokenizer.ordinary_ids,
            special_ids=tokenizer.special_ids,
            unk=special.unk,
        )

    @cached_property
    def is_special(self) -> BoolArray:
        """(size,) bool, whether each id is special."""
        table = np.zeros(self.size, dtype=bool)
        table[self.special_ids] = True
        return table


# The first draw of a token uses its position as counter; counters of the second draw are above all positions.
_REPLACEMENT = 1 << 32


class Corruption(Settings):
    """Corrupt the tokens to predict: 80 % [MASK], 10 % random, 10 % unchanged (Devlin et al. 2019, section 3.1).

    A random replacement is never a special token, unless `random_ids` is "all", as in the original code.
    """

    mask: float = Field(0.8, ge=0, le=1, description="fraction of predicted tokens replaced by [MASK]")
    random: float = Field(0.1, ge=0, le=1, description="fraction replaced by a random token; the rest is unchanged")
    unit: Literal["token", "span"] = Field(
        "token", description="unit that shares one draw: a token, or a run of predicted tokens as in SpanBERT"
    )
    random_ids: Literal["ordinary", "all"] = Field(
        "ordinary", description="ids random tokens are drawn from: ordinary ones, or special and unused ones too"
    )

    @model_validator(mode="after")
    def _at_most_all(self) -> Self:
        if self.mask + self.random > 1 + 1e-9:
            raise ValueError(f"mask {self.mask} and random {self.random} add up to more than 1; lower one of them")
        return self

    def corrupt(
        self,
        ids: NDArray[np.integer],
        chosen: BoolArray,
        words: WordIds,
        keys: UInt64Array,
        vocabulary: MaskingVocabulary,
    ) -> NDArray[np.int32]:
        """Return the input ids of the model.

        ids: (n,) integers, the tokens of `words`; chosen: (n,) bool; keys: (examples,) uint64, different from those
        the choice was made with. Returns (n,) int32, equal to `ids` where `chosen` is False.
        """
        input_ids = ids.astype(np.int32)
        index = np.flatnonzero(chosen)
        example, position = words.example[index], words.position[index]
        key = keys[example]
        draw = uniforms(key, position[_first_of_run(index, example)] if self.unit == "span" else position)
        input_ids[index[draw < self.mask]] = vocabulary.mask
        replaced = np.flatnonzero((draw >= self.mask) & (draw < self.mask + self.random))
        if self.random_ids == "ordinary":
            pick = below(key[replaced], position[replaced] + _REPLACEMENT, len(vocabulary.ordinary_ids))
            input_ids[index[replaced]] = vocabulary.ordinary_ids[pick]
        else:
            input_ids[index[replaced]] = below(key[replaced], position[replaced] + _REPLACEMENT, vocabulary.size)
        return input_ids


def _first_of_run(index: NDArray[np.int64], example: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return, per chosen token, the chosen token that its run begins with. index, example: (c,) int64. Returns (c,)."""
    firsts = np.flatnonzero((np.diff(index, prepend=-2) != 1) | (np.diff(example, prepend=-1) != 0))
    return np.repeat(firsts, np.diff(firsts, append=len(index)))
