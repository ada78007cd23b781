"""Text written by a masked model: for the masks of a text, behind it, or from nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskling.errors import SettingsError
from maskling.infer.candidates import space_matters
from maskling.infer.reader import Reader
from maskling.infer.slots import mask_pattern, word_of
from maskling.infer.unmasking import Unmasking
from maskling.tokenizer.tokenizer import Tokenizer

# Tokens that are written where nothing says how many.
LENGTH = 20
# Scores that are drawn from at once, each of which takes some 80 bytes meanwhile.
_SCORES = 1 << 23


@dataclass(frozen=True)
class Generated:
    """A text with what was written in it.

    text: all of it, the given words as they were; written: what was put in for each run of masks; tokens: its pieces;
    log_probability: the sum over them, each given what stood there before it.
    """

    text: str
    written: tuple[str, ...]
    tokens: tuple[str, ...]
    log_probability: float

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self) | {"written": list(self.written), "tokens": list(self.tokens)}


@dataclass(frozen=True)
class Prompt:
    """A text with gaps.

    parts: what stands before, between and after the gaps; gaps: the tokens that each is to hold; at_end: whether the
    last gap was put behind the text, with no mask there to say where.
    """

    parts: tuple[str, ...]
    gaps: tuple[int, ...]
    at_end: bool = False

    @classmethod
    def of(cls, text: str, length: int | None, tokenizer: Tokenizer) -> Prompt:
        """Masks that only white space parts make one gap. Raises SettingsError for a length that has no one place."""
        if length is not None and length < 1:
            raise SettingsError(f"length is {length}; write 1 token or more")
        between = mask_pattern(tokenizer).split(text)
        parts, gaps = [between[0]], list[int]()
        for number, part in enumerate(between[1:]):
            if number and not parts[-1].strip():
                gaps[-1] += 1
                parts[-1] = part
            else:
                gaps.append(1)
                parts.append(part)
        if not gaps:
            return cls((text, ""), (length or LENGTH,), at_end=True)
        if length is None:
            return cls(tuple(parts), tuple(gaps))
        if gaps != [1]:
            raise SettingsError(
                f"the text has {sum(gaps)} masks, and each is one token; leave length out, or write one mask where "
                f"{length} tokens are wanted"
            )
        return cls(tuple(parts), (length,))

    def encoded(self, tokenizer: Tokenizer) -> NDArray[np.int64]:
        """The text with masks in its gaps and special tokens around it, (n,) int64."""
        spelled = self.parts[0] + (" " if self.at_end and self.parts[0] else "")
        for gap, part in zip(self.gaps, self.parts[1:], strict=True):
            spelled += " ".join([tokenizer.mask_token] * gap) + part
        ids = tokenizer.encode(spelled, special_in_text=True).ids
        return np.concatenate([[tokenizer.special.cls], ids, [tokenizer.special.sep]]).astype(np.int64)

    def apart(self, tokenizer: Tokenizer) -> list[bool]:
        """Whether each gap stands apart from what is before it, so that it must not grow a given word."""
        before = ["".join(self.parts[:number]) for number in range(1, len(self.parts))]
        return [self.at_end or text[-1:].isspace() if text.strip() else not space_matters(tokenizer) for text in before]

    def filled(
        self, row: NDArray[np.int64], places: Sequence[NDArray[np.int64]], tokenizer: Tokenizer
    ) -> tuple[str, tuple[str, ...]]:
        """The text with the gaps filled, and what was put in each. row: (n,) ids; places: of each gap's tokens."""
        text = self.parts[0]
        written = []
        for own, part in zip(places, self.parts[1:], strict=True):
            word = word_of(row[own].tolist(), tokenizer)
            before = int(row[own[0] - 1])
            if text.strip() and (self.at_end or text[-1:].isspace()) and before not in tokenizer.special_ids:
                # The tokenizer knows where a space belongs: not before a comma, nor between Chinese characters.
                alone = tokenizer.decode([before])
                text = text.rstrip() + tokenizer.decode([before, *row[own]]).removeprefix(alone)
            else:
                text += (" " if self.at_end and text and not text[-1:].isspace() else "") + word
            text += part
            written.append(word)
        return text, tuple(written)


def generate_texts(
    reader: Reader,
    text: str | None,
    unmasking: Unmasking,
    *,
    length: int | None = None,
    count: int = 1,
) -> list[Generated]:
    """Write `count` texts by filling masks step by step.

    text: each [MASK] in it is one token to write; one mask with a `length` is that many tokens; without a mask `length`
    tokens (20 if left out) are written behind it, and without a text they stand alone. What was given is kept to the
    letter. A masked model cannot decide how long a text is to be, and nothing tells it to stop.
    Raises SettingsError for what does not fit, ModelError for a model without a head.
    """
    if count < 1:
        raise SettingsError(f"count is {count}; ask for 1 text or more")
    reader.need_head("generating")
    tokenizer = reader.tokenizer
    prompt = Prompt.of(text or "", length, tokenizer)
    ids = prompt.encoded(tokenizer)
    if len(ids) > reader.max_length:
        raise SettingsError(
            f"the text with its {sum(prompt.gaps):,} tokens to write takes {len(ids):,} tokens, and this model sees "
            f"{reader.max_length:,} at once; give a shorter text, or ask for fewer"
        )
    masks = np.flatnonzero(ids == tokenizer.special.mask)
    places = np.split(masks, np.cumsum(prompt.gaps)[:-1])
    starts = [int(own[0]) for own, apart in zip(places, prompt.apart(tokenizer), strict=True) if apart]
    found = []
    at_once = max(1, _SCORES // (len(masks) * tokenizer.vocab_size))
    for first in range(0, count, at_once):
        ways = np.arange(first, min(first + at_once, count))
        for row, log_probability in zip(*unmasking.run(reader, ids, starts, ways), strict=True):
            whole, written = prompt.filled(row, places, tokenizer)
            tokens = tuple(map(tokenizer.token, row[masks].tolist()))
            found.append(Generated(whole, written, tokens, float(log_probability)))
    return found
