"""What the model sees where it is to predict: usually [MASK], sometimes another token, sometimes the token itself."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from maskling.arrays import BoolArray, UInt64Array
from maskling.config import Settings
from maskling.data.masking.words import Words
from maskling.randomness import below, uniforms
from maskling.tokenizer.tokenizer import Tokenizer


@dataclass(frozen=True)
class MaskingVocabulary:
    """What batches need to know of a tokenizer.

    ordinary_ids: (o,) int64, ids a random replacement is drawn from: not special, not kept free as [unused7] is.
    special_ids: (s,) int64, all special ids; [UNK], which a text may hold, among them.
    """

    size: int
    pad: int
    cls: int
    sep: int
    mask: int
    ordinary_ids: NDArray[np.int64]
    special_ids: NDArray[np.int64]

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> MaskingVocabulary:
        """The vocabulary of a tokenizer."""
        special = tokenizer.special
        return cls(
            size=tokenizer.vocab_size,
            pad=special.pad,
            cls=special.cls,
            sep=special.sep,
            mask=special.mask,
            ordinary_ids=tokenizer.ordinary_ids,
            special_ids=tokenizer.special_ids,
        )

    @cached_property
    def is_special(self) -> BoolArray:
        """(size,) bool, whether each id is special."""
        table = np.zeros(self.size, dtype=bool)
        table[self.special_ids] = True
        return table


# The counters of the second draw of a token lie above all positions, where those of the first are.
_REPLACEMENT = 1 << 32


class Corruption(Settings):
    """Hide the tokens to predict: 80 % [MASK], 10 % random, 10 % as they are (Devlin et al. 2019, section 3.1).

    A random replacement is never a special token, unless `random_ids` is "all", as in the original code.
    """

    mask: float = Field(0.8, ge=0, le=1, description="fraction of predicted tokens replaced by [MASK]")
    random: float = Field(0.1, ge=0, le=1, description="fraction replaced by a random token; the rest stays as it is")
    unit: Literal["token", "span"] = Field(
        "token", description="what shares one draw: a token, or a run of predicted tokens as in SpanBERT"
    )
    random_ids: Literal["ordinary", "all"] = Field(
        "ordinary", description="what random tokens are drawn from: ordinary ones, or special and unused ones too"
    )

    @model_validator(mode="after")
    def _at_most_all(self) -> Self:
        if self.mask + self.random > 1 + 1e-9:
            raise ValueError(f"mask {self.mask} and random {self.random} are fractions of one whole; lower one of them")
        return self

    def corrupt(
        self,
        ids: NDArray[np.integer],
        chosen: BoolArray,
        words: Words,
        keys: UInt64Array,
        vocabulary: MaskingVocabulary,
    ) -> NDArray[np.int32]:
        """What the model sees.

        ids: (n,) integers, the tokens of `words`; chosen: (n,) bool; keys: (examples,) uint64, other ones than those
        the choice was made with. Returns (n,) int32, equal to `ids` where `chosen` is False.
        """
        seen = ids.astype(np.int32)
        place = np.flatnonzero(chosen)
        example, position = words.example[place], words.position[place]
        key = keys[example]
        draw = uniforms(key, position[_leader(place, example)] if self.unit == "span" else position)
        seen[place[draw < self.mask]] = vocabulary.mask
        replaced = np.flatnonzero((draw >= self.mask) & (draw < self.mask + self.random))
        if self.random_ids == "ordinary":
            pick = below(key[replaced], position[replaced] + _REPLACEMENT, len(vocabulary.ordinary_ids))
            seen[place[replaced]] = vocabulary.ordinary_ids[pick]
        else:
            seen[place[replaced]] = below(key[replaced], position[replaced] + _REPLACEMENT, vocabulary.size)
        return seen


def _leader(place: NDArray[np.int64], example: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each chosen token, which chosen token its run begins with. place, example: (c,) int64. Returns (c,) int64."""
    leads = np.flatnonzero((np.diff(place, prepend=-2) != 1) | (np.diff(example, prepend=-1) != 0))
    return np.repeat(leads, np.diff(leads, append=len(place)))
