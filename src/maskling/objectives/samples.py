"""Held-out sentences that a run fills at each evaluation, so that a person sees what the model has learned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from maskling.data.assemble import Batch
from maskling.model.device import Compute
from maskling.model.masked_lm import MaskedLM
from maskling.objectives.losses import TensorBatch, masked_hidden
from maskling.tokenizer.tokenizer import Tokenizer

# Tokens of a sample: enough for a sentence, little enough for a line of a page.
_WINDOW = 32


@dataclass(frozen=True)
class Sample:
    """Beginning of a held-out example. positions: (n,) int64, flat indices in the batch of its tokens.

    pieces: text of each token, as it is shown after those before. masked: which of them the model predicts.
    """

    positions: np.ndarray
    ids: tuple[int, ...]
    pieces: tuple[str, ...]
    masked: tuple[bool, ...]


class Samples:
    """A few samples of one validation batch. Every chosen token is a mask token, unlike in the evaluation itself."""

    def __init__(self, batches: Sequence[Batch], tokenizer: Tokenizer, count: int) -> None:
        self._tokenizer = tokenizer
        self._batch: Batch | None = None
        self.samples: list[Sample] = []
        if not batches or not count:
            return
        batch = batches[0]
        original, inputs = batch.input_ids.reshape(-1).copy(), batch.input_ids.reshape(-1).copy()
        original[batch.masked_positions] = batch.labels
        inputs[batch.masked_positions] = tokenizer.special.mask
        masked = np.zeros(len(original), dtype=bool)
        masked[batch.masked_positions] = True
        self._batch = replace(batch, input_ids=inputs.reshape(batch.input_ids.shape))
        rows = batch.example_ids.reshape(-1)
        for first in batch.first_positions:
            row_end = (first // batch.seq + 1) * batch.seq
            alike = rows[first : min(row_end, first + _WINDOW)] == rows[first]
            positions = first + np.flatnonzero(alike)
            positions = positions[~np.isin(original[positions], tokenizer.special_ids) | masked[positions]]
            if masked[positions].any() and not masked[positions].all():
                ids = tuple(int(id_) for id_ in original[positions])
                pieces = tuple(self._piece(ids[:index], id_) for index, id_ in enumerate(ids))
                self.samples.append(Sample(positions, ids, pieces, tuple(bool(m) for m in masked[positions])))
            if len(self.samples) == count:
                break

    @torch.no_grad()
    def fill(self, model: MaskedLM, compute: Compute) -> list[list[Any]]:
        """Return each sample as a list of texts, and for a masked token [answer, guess, probability of the guess].

        In evaluation mode, which is restored; no random number is drawn and no weight changes.
        """
        if self._batch is None or not self.samples:
            return []
        was_training = model.training
        model.eval()
        try:
            batch = TensorBatch.from_batch(self._batch, compute.device)
            with compute.autocast():
                hidden = model(batch.input_ids, batch.position_ids, batch.token_type_ids, batch.attention_pattern)
                logits = model.predict(masked_hidden(hidden, batch)[: len(self._batch.labels)])
            best = torch.softmax(logits.float(), dim=-1).max(dim=-1)
        finally:
            model.train(was_training)
        guesses = dict(
            zip(
                self._batch.masked_positions.tolist(),
                zip(best.indices.tolist(), best.values.tolist(), strict=True),
                strict=True,
            )
        )
        return [self._filled(sample, guesses) for sample in self.samples]

    def _filled(self, sample: Sample, guesses: dict[int, tuple[int, float]]) -> list[Any]:
        filled: list[Any] = []
        for index, (position, piece) in enumerate(zip(sample.positions.tolist(), sample.pieces, strict=True)):
            if sample.masked[index]:
                id_, probability = guesses[position]
                filled.append([piece, self._piece(sample.ids[:index], id_), round(probability, 4)])
            elif filled and isinstance(filled[-1], str):
                filled[-1] += piece
            else:
                filled.append(piece)
        return filled

    def _piece(self, before: Sequence[int], id_: int) -> str:
        """Return the text that a token adds to those before it."""
        text, longer = self._tokenizer.decode(list(before)), self._tokenizer.decode([*before, id_])
        if longer.startswith(text) and len(longer) > len(text):
            return longer[len(text) :]
        return self._tokenizer.token(id_)
