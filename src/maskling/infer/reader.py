"""A model and its tokenizer, ready to read text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maskling.errors import ModelError
from maskling.model.device import Compute
from maskling.model.masked_lm import MaskedLM
from maskling.tokenizer.tokenizer import Tokenizer


@dataclass(frozen=True)
class Reader:
    """What every use of a model needs.

    max_length: the longest sequence in tokens, [CLS] and [SEP] included. headless: its folder had no masked-token
    head, so that the one in `module` is random; its vectors are good, its guesses are not.
    """

    module: MaskedLM
    tokenizer: Tokenizer
    compute: Compute
    max_length: int
    headless: bool = False

    def need_head(self, purpose: str) -> None:
        """Raises ModelError for a model that cannot guess masked tokens."""
        if self.headless:
            raise ModelError(
                f"this model has no masked-token head, which {purpose} needs: its folder holds an encoder alone; "
                f"use the folder of the masked language model that it was made from"
            )

    def sequences(self, texts: Sequence[str]) -> tuple[list[NDArray[np.int64]], int]:
        """[CLS] text [SEP] for each text, cut to the longest sequence, and how many texts were cut."""
        cls, sep = self.tokenizer.special.cls, self.tokenizer.special.sep
        room = self.max_length - 2
        beginnings = [_beginning(text, room) for text in texts]
        encoded = self._encoded(beginnings)
        # A beginning that gave too few tokens (a word of a thousand letters is one) is not enough after all.
        short = [
            number
            for number, (text, beginning) in enumerate(zip(texts, beginnings, strict=True))
            if len(beginning) < len(text) and len(encoded[number]) <= room
        ]
        for number, ids in zip(short, self._encoded([texts[number] for number in short]), strict=True):
            encoded[number] = ids
        cut = sum(len(ids) > room for ids in encoded)
        return [np.concatenate([[cls], ids[:room], [sep]]).astype(np.int64) for ids in encoded], cut

    def _encoded(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        return [np.asarray(tokens.ids, dtype=np.int64) for tokens in self.tokenizer.encode_batch(texts)]


def _beginning(text: str, tokens: int) -> str:
    """As much of a text as is sure to hold its first `tokens` tokens, if it has a space there; else all of it.

    What comes before white space becomes the same tokens whatever comes after it.
    """
    most = 32 * tokens
    if len(text) <= 2 * most:
        return text
    end = text.rfind(" ", most // 2, most)
    return text if end < 0 else text[:end]
