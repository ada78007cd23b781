"""How likely a model finds a text: its pseudo-log-likelihood."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maskling.arrays import Int64Array, offsets_of
from maskling.errors import SettingsError
from maskling.infer.forward import ModelRunner, batch_budget, batches_by_length, encode_padded
from maskling.infer.results import ScoredText
from maskling.tokenizer.encoding import Encoded
from maskling.tokenizer.library import SpecialIds

# FOLDED DOCS
# [masked_copies] The masked copies of texts that a pseudo-log-likelihood needs: one for each token, laid out by numpy alone.


# Logits that are looked at at once: 16 MB of them, which stay in the processor's cache.
_LOGITS = 1 << 22


def score_texts(
    reader: ModelRunner, texts: Sequence[str], *, method: Method = "original", batch_tokens: int | None = None
) -> list[ScoredText]:
    """The pseudo-log-likelihood of each text (see `Scoring`).

    Raises SettingsError for a method or budget that is none, ModelError for a model without a head.
    """
    scoring = Scoring(reader, texts, method=method, batch_tokens=batch_tokens)
    for _ in scoring.run():
        pass
    return scoring.texts()


class Scoring:
    """Texts being scored: the sum over the tokens of each of log P(token | the rest of the text).

    original: one token is masked at a time, [CLS] and [SEP] stand around the text and are neither masked nor scored
    (Salazar et al. 2020, Masked Language Model Scoring, section 2). In a word of several pieces the later ones
    give the earlier away, so rare words come out too likely.
    within-word-l2r: the later pieces of the same word are masked too (Kauf and Ivanova 2023, A Better Way to Do Masked
    Language Model Scoring, section 3).

    A text longer than the model sees is scored whole all the same: each token in the stretch around it that fits.
    Texts that have the same tokens are scored once. Rows of about one length run together, and the head sees masked
    places only, a few at a time.
    """

    def __init__(
        self, reader: ModelRunner, texts: Sequence[str], *, method: Method = "original", batch_tokens: int | None = None
    ) -> None:
        if method not in get_args(Method):
            raise SettingsError(f"method is {method!r}; choose original or within-word-l2r")
        batch_tokens = batch_budget(batch_tokens, reader.compute)
        reader.need_head("scoring")
        self._reader, self._texts, self._batch_tokens = reader, texts, batch_tokens
        self._encoded, self._which = _distinct(reader, texts)
        self._copies = MaskedCopies.of(self._encoded, method, reader.max_length - 2, reader.tokenizer.special)
        self._values = np.full(len(self._encoded.ids), np.nan)

    def run(self) -> Iterator[float]:
        """Score, and yield the part that is done, from 0 to 1, after each batch."""
        cost = self._copies.length + 2
        done, total = 0, int(cost.sum())
        for numbers in batches_by_length(cost, self._batch_tokens):
            rows, lengths, columns = self._copies.rows(numbers)
            hidden = encode_padded(self._reader.module, self._reader.compute, rows, lengths)
            states = hidden[torch.arange(len(rows)), torch.from_numpy(columns)]
            self._values[numbers] = _log_probabilities(self._reader, states, self._copies.ids[numbers])
            done += int(cost[numbers].sum())
            yield done / total

    def totals(self) -> NDArray[np.float64]:
        """(texts,) the pseudo-log-likelihood of each text, 0 for one without tokens; once `run` has ended."""
        lengths = np.diff(self._encoded.offsets)
        # Each text is added up by itself, so that texts of equal values have equal sums, to the last bit.
        text = np.repeat(np.arange(len(lengths)), lengths)
        return np.asarray(np.bincount(text, weights=self._values, minlength=len(lengths))[self._which])

    def texts(self) -> list[ScoredText]:
        """Each text with its tokens and words; once `run` has ended."""
        bounds, room = self._encoded.offsets.tolist(), self._reader.max_length - 2
        scored = []
        for text, which in zip(self._texts, self._which.tolist(), strict=True):
            part = slice(bounds[which], bounds[which + 1])
            ids, starts = self._encoded.ids[part], self._encoded.word_starts[part]
            scored.append(
                ScoredText(text, ids, starts, self._values[part], self._reader.tokenizer, windows=len(ids) > room)
            )
        return scored


@torch.inference_mode()
def _log_probabilities(reader: ModelRunner, states: Tensor, wanted: NDArray[np.int64]) -> NDArray[np.float64]:
    """The log-probability of one token at each place. states: (n, hidden); wanted: (n,) ids. Returns (n,)."""
    ids = torch.from_numpy(wanted).to(states.device)[:, None]
    at_once = max(1, _LOGITS // reader.module.config.vocab_size)
    parts = []
    for some, own in zip(torch.split(states, at_once), torch.split(ids, at_once), strict=True):
        with reader.compute.autocast():
            logits = reader.module.predict(some).float()
        parts.append(logits.gather(1, own)[:, 0] - logits.logsumexp(-1))
    found: NDArray[np.float64] = torch.cat(parts).cpu().double().numpy()
    return found


def _distinct(reader: ModelRunner, texts: Sequence[str]) -> tuple[Encoded, NDArray[np.int64]]:
    """The different sequences of tokens among the texts, end to end, and which of them each text is."""
    encoded = reader.tokenizer.encode_flat(texts)
    bounds = encoded.offsets.tolist()
    known: dict[bytes, int] = {}
    which = np.empty(len(texts), dtype=np.int64)
    kept: list[int] = []
    for number, (first, last) in enumerate(pairwise(bounds)):
        spelled = encoded.ids[first:last].tobytes() + encoded.word_starts[first:last].tobytes()
        which[number] = known.setdefault(spelled, len(kept))
        if which[number] == len(kept):
            kept.append(number)
    lengths = np.diff(encoded.offsets)
    new = np.zeros(len(texts), dtype=bool)
    new[kept] = True
    tokens = np.repeat(new, lengths)
    offsets = offsets_of(lengths[new])
    return Encoded(encoded.ids[tokens], encoded.word_starts[tokens], offsets), which


Method = Literal["original", "within-word-l2r"]


@dataclass(frozen=True)
class MaskedCopies:
    """A copy of its text for each token of some texts laid end to end, in which that token is masked.

    ids: (tokens,) int64; first, length: (tokens,) int64, the part of `ids` that each copy shows: the text, or of a text
    that is too long the stretch with its token in the middle; masked: (tokens,) int64, how many tokens are masked,
    from the copy's own on.
    """

    ids: Int64Array
    first: Int64Array
    length: Int64Array
    masked: Int64Array
    special: SpecialIds

    @classmethod
    def of(cls, encoded: Encoded, method: Method, room: int, special: SpecialIds) -> MaskedCopies:
        """Plan the copies. room: most tokens of a text that the model sees at once."""
        begin, size = encoded.offsets[:-1], np.diff(encoded.offsets)
        number = np.arange(len(encoded.ids))
        text_begin, text_size = np.repeat(begin, size), np.repeat(size, size)
        length = np.minimum(text_size, room)
        first = text_begin + np.clip(number - text_begin - room // 2, 0, text_size - length)
        masked = np.ones(len(number), dtype=np.int64)
        if method == "within-word-l2r" and len(number):
            # The rest of the word reaches to the next token that starts one, or to the end of the text.
            starts = encoded.word_starts.copy()
            starts[begin[size > 0]] = True
            masked = np.append(np.flatnonzero(starts), len(number))[np.cumsum(starts)] - number
        return cls(encoded.ids.astype(np.int64), first, length, masked, special)

    def rows(self, numbers: Int64Array) -> tuple[Int64Array, Int64Array, Int64Array]:
        """Some of the copies, padded side by side, special tokens around each.

        numbers: (k,) int64, of their tokens. Returns the input ids (k, longest) int64, the length of each row (k,) and
        the column of each row's own token (k,).
        """
        length = self.length[numbers] + 2
        column = np.arange(int(length.max()))
        place = self.first[numbers, None] + column - 1
        rows = self.ids[np.clip(place, 0, len(self.ids) - 1)]
        own = numbers[:, None]
        rows[(place >= own) & (place < own + self.masked[numbers, None])] = self.special.mask
        rows[:, 0] = self.special.cls
        rows[column >= length[:, None]] = self.special.pad
        rows[np.arange(len(numbers)), length - 1] = self.special.sep
        return rows, length, numbers - self.first[numbers] + 1
