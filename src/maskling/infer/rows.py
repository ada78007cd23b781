"""Sequences of any length through a model: padded side by side with others of about their length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maskling.model.attention import Visible
from maskling.model.device import Compute
from maskling.model.masked_lm import MaskedLM

BATCH_TOKENS = 8192

Row = NDArray[np.int64]


@dataclass(frozen=True)
class Query:
    """A place whose prediction is wanted: `position` of sequence `row`."""

    row: int
    position: int


def batches(lengths: Sequence[int], batch_tokens: int = BATCH_TOKENS) -> Iterator[NDArray[np.int64]]:
    """Numbers of sequences to run together, longest first: rows x longest <= batch_tokens, one row at the least."""
    order = np.argsort(-np.asarray(lengths, dtype=np.int64), kind="stable")
    start = 0
    while start < len(order):
        rows = max(1, batch_tokens // max(1, lengths[order[start]]))
        yield order[start : start + rows]
        start += rows


@torch.inference_mode()
def encode(module: MaskedLM, compute: Compute, rows: Sequence[Row], pad: int) -> tuple[Tensor, Tensor]:
    """The last hidden states of sequences run together.

    rows: each (length,) token ids. Returns (rows, longest, hidden) float32 and (rows, longest) bool, True at tokens.
    """
    lengths = torch.tensor([len(row) for row in rows])
    columns = torch.arange(int(lengths.max()))
    real = columns < lengths[:, None]
    input_ids = torch.full(real.shape, pad, dtype=torch.int64)
    input_ids[real] = torch.from_numpy(np.concatenate(rows))
    visible = Visible.from_example_ids(real.to(torch.int32) - 1, compute.device)
    input_ids, positions = input_ids.to(compute.device), columns.expand(real.shape).to(compute.device)
    with compute.autocast():
        hidden = module(input_ids, positions, torch.zeros_like(input_ids), visible)
    return hidden.float(), real.to(compute.device)


@torch.inference_mode()
def log_probabilities(
    module: MaskedLM, compute: Compute, rows: Sequence[Row], queries: Sequence[Query], pad: int
) -> Iterator[tuple[NDArray[np.int64], Tensor]]:
    """What the model expects at each place asked for, a batch of sequences at a time.

    Yields the numbers of some queries, (n,) int64, and (n, vocab) float32 log-probabilities for them: never the
    scores of all queries at once, which would be thousands of times the vocabulary.
    """
    asked: dict[int, list[int]] = {}
    for number, query in enumerate(queries):
        asked.setdefault(query.row, []).append(number)
    for together in batches([len(row) for row in rows]):
        numbers = [number for row in together for number in asked.get(int(row), [])]
        if not numbers:
            continue
        hidden, _ = encode(module, compute, [rows[row] for row in together], pad)
        place = {int(row): index for index, row in enumerate(together)}
        at = torch.tensor([[place[queries[n].row], queries[n].position] for n in numbers], device=hidden.device)
        with compute.autocast():
            logits = module.predict(hidden[at[:, 0], at[:, 1]])
        yield np.array(numbers), logits.float().log_softmax(-1)
