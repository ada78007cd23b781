"""Masks filled step by step, each token chosen in view of those before it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maskling.arrays import Int64Array
from maskling.errors import SettingsError
from maskling.infer.reader import Reader
from maskling.infer.repeats import repeating
from maskling.infer.rows import encode_padded, usual_batch_tokens
from maskling.infer.sampling import Sampling
from maskling.randomness import bits, keys, uniforms

Order = Literal["confidence", "left-to-right", "random"]

# Counters of the draws of one text: places are drawn at their positions, tokens of step s above s times this.
_STEP = 1 << 20


@dataclass(frozen=True)
class Unmasking:
    """How masks become words.

    order: which places are filled first: where the drawn token is likeliest (as in the mask-predict decoding of
    Ghazvininejad et al. 2019 and MaskGIT, Chang et al. 2022, but what is filled stays), from the left, or at random.
    steps: how often the model looks at the text; fewer than masks, and several places are filled at once, which do
    not know of each other. no_repeat: no run of so many tokens occurs twice in a text; 0 allows all.
    Raises SettingsError for a value out of range.
    """

    sampling: Sampling
    order: Order = "confidence"
    steps: int | None = None
    no_repeat: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        orders = get_args(Order)
        if self.order not in orders:
            raise SettingsError(f"order is {self.order!r}; choose {', '.join(orders[:-1])} or {orders[-1]}")
        if self.steps is not None and self.steps < 1:
            raise SettingsError(f"steps is {self.steps}; the model looks at the text once or more")
        if self.no_repeat < 0:
            raise SettingsError(f"no_repeat is {self.no_repeat}; it is a number of tokens, 0 allows all repeats")

    def run(
        self, reader: Reader, ids: Int64Array, starts: Sequence[int], ways: Int64Array
    ) -> tuple[Int64Array, NDArray[np.float64]]:
        """Fill the masks of one text in several ways.

        ids: (n,) int64, special tokens around it; ways: (count,) int64, the numbers of the ways; starts: places where
        a word must start. Only ordinary tokens are put in, never special or unused ones.
        Returns (count, n) int64, and (count,) the sum of the log-probabilities of what was put in, each among ordinary
        tokens and given what stood there before it. Way number i is a function of the seed and i.
        """
        special, ordinary = reader.tokenizer.special, reader.tokenizer.ordinary_ids
        device = reader.compute.device
        if device.type == "mps":
            device = torch.device("cpu")  # Apple's GPUs have no float64
        allowed = torch.from_numpy(ordinary).to(device)
        inside = torch.from_numpy(~reader.tokenizer.starts_word[ordinary]).to(device)
        count = len(ways)
        rows = np.tile(ids, (count, 1))
        unfilled = rows == special.mask
        likelihood = np.zeros(count)
        key = keys(self.seed, "generate", 0, ways)
        masks = int(unfilled[0].sum())
        steps = min(self.steps or masks, masks)
        step = 0
        while unfilled.any():
            left = unfilled.sum(1)
            wanted = -(-left // max(1, steps - step))
            row, place = self._candidates(unfilled, wanted, key)
            scores = _scores(reader, rows, row, place).to(device)[:, allowed]
            scores[torch.from_numpy(np.isin(place, starts)).to(scores.device)[:, None] & inside] = -torch.inf
            self._rule_out(scores, rows, unfilled, row, place, ordinary)
            draws = torch.from_numpy(uniforms(key[row], place + _STEP * (step + 1))).to(scores.device)
            drawn = self.sampling.draw(scores, draws)
            log = scores.log_softmax(-1).gather(1, drawn[:, None])[:, 0].cpu().double().numpy()
            tokens = allowed[drawn].cpu().numpy()
            for number in np.argsort(-log, kind="stable") if self.order == "confidence" else range(len(row)):
                which, where = row[number], place[number]
                # Places filled in this same step were drawn without a look at each other.
                first = unfilled[which].sum() == left[which]
                if wanted[which] and (first or tokens[number] not in self._ruled_out(rows, unfilled, which, where)):
                    rows[which, where], unfilled[which, where] = tokens[number], False
                    likelihood[which] += log[number]
                    wanted[which] -= 1
            step += 1
        return rows, likelihood

    def _candidates(
        self, unfilled: NDArray[np.bool_], wanted: Int64Array, key: NDArray[np.uint64]
    ) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Rows and places where a token is drawn: all that are open if the likeliest go first, else the next ones."""
        row, place = np.nonzero(unfilled)
        if self.order == "confidence":
            return row, place
        if self.order == "random":
            by_chance = np.lexsort((bits(key[row], place), row))
            row, place = row[by_chance], place[by_chance]
        rank = np.arange(len(row)) - np.searchsorted(row, row)
        return row[rank < wanted[row]], place[rank < wanted[row]]

    def _rule_out(
        self,
        scores: Tensor,
        rows: Int64Array,
        unfilled: NDArray[np.bool_],
        row: NDArray[np.intp],
        place: NDArray[np.intp],
        ordinary: Int64Array,
    ) -> None:
        """Set the scores of tokens that would repeat a run to -inf, unless that leaves none. scores: (n, ordinary)."""
        for number, (which, where) in enumerate(zip(row, place, strict=True)):
            out = self._ruled_out(rows, unfilled, which, where)
            columns = np.flatnonzero(np.isin(ordinary, out)) if len(out) else out
            if 0 < len(columns) < len(ordinary):
                scores[number, torch.from_numpy(columns).to(scores.device)] = -torch.inf

    def _ruled_out(self, rows: Int64Array, unfilled: NDArray[np.bool_], which: int, where: int) -> Int64Array:
        return repeating(rows[which], unfilled[which], where, self.no_repeat)


@torch.inference_mode()
def _scores(reader: Reader, rows: Int64Array, row: NDArray[np.intp], place: NDArray[np.intp]) -> Tensor:
    """The logits at some places of some rows. Returns (places, vocab) float32; the head runs nowhere else."""
    at_once = max(1, usual_batch_tokens(reader.compute) // rows.shape[1])
    parts = []
    for first in range(0, len(rows), at_once):
        here = (row >= first) & (row < first + at_once)
        some = rows[first : first + at_once]
        hidden = encode_padded(reader.module, reader.compute, some, np.full(len(some), rows.shape[1]))
        with reader.compute.autocast():
            parts.append(reader.module.predict(hidden[row[here] - first, place[here]]).float())
    return torch.cat(parts)
