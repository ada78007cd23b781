"""A model and its tokenizer, ready to read text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maskling.data.labelled.encode_texts import Windows
from maskling.errors import ModelError, SettingsError
from maskling.model.attention import AttentionPattern
from maskling.model.device import Compute
from maskling.model.masked_lm import MaskedLM
from maskling.tokenizer.tokenizer import Tokenizer

# FOLDED DOCS
# [rows] Sequences of any length through a model: padded side by side with others of about their length.


@dataclass(frozen=True)
class ModelRunner:
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


BATCH_TOKENS = 8192
# Fewer are faster on a CPU, whose cache they stay in: 1.1 times base at 8,192.
CPU_BATCH_TOKENS = 2048
# What a batch costs beside its tokens, in tokens: every weight is read once more.
TOLL = 64

Row = NDArray[np.int64]


@dataclass(frozen=True)
class MaskQuery:
    """A place whose prediction is wanted: `position` of sequence `row`."""

    row: int
    position: int


def usual_batch_tokens(compute: Compute) -> int:
    """How many tokens should run together on this device, where nobody says otherwise."""
    return CPU_BATCH_TOKENS if compute.device.type == "cpu" else BATCH_TOKENS


def batch_budget(asked: int | None, compute: Compute) -> int:
    """How many tokens to run together: what was asked for, or what is usual. Raises SettingsError for less than one."""
    usual = usual_batch_tokens(compute)
    if asked is not None and asked < 1:
        raise SettingsError(f"batch_tokens is {asked}; it is a number of tokens, such as {usual:,}")
    return usual if asked is None else asked


def batches_by_length(
    lengths: Sequence[int] | NDArray[np.int64], batch_tokens: int = BATCH_TOKENS, toll: int = TOLL
) -> Iterator[NDArray[np.int64]]:
    """Numbers of sequences to run together, longest first: rows x longest <= batch_tokens, one row at the least.

    A batch ends, too, where its padding would cost more than another batch. toll: that cost, in tokens.
    """
    lengths = np.asarray(lengths, dtype=np.int64)
    order = np.argsort(-lengths, kind="stable")
    ordered = lengths[order].tolist()
    start = padding = 0
    for place, length in enumerate(ordered):
        longest = max(1, ordered[start])
        padding += longest - length
        if place > start and ((place + 1 - start) * longest > batch_tokens or padding > toll):
            yield order[start:place]
            start, padding = place, 0
    if ordered:
        yield order[start:]


@dataclass(frozen=True)
class LaidRows:
    """Sequences side by side, padded behind.

    numbers: (rows,) which they are; real: (rows, longest) bool, False at padding; input_ids, token_type_ids: (rows,
    longest) int64.
    """

    numbers: NDArray[np.int64]
    real: NDArray[np.bool_]
    input_ids: NDArray[np.int64]
    token_type_ids: NDArray[np.int64]


def laid(windows: Windows, pad: int, batch_tokens: int) -> Iterator[LaidRows]:
    """Sequences of about one length, batch by batch. pad: the id of [PAD]."""
    for numbers in batches_by_length(windows.length, batch_tokens):
        some = windows.take(numbers)
        columns = np.arange(some.length.max())
        real = columns < some.length[:, None]
        input_ids = np.full(real.shape, pad, dtype=np.int64)
        input_ids[real] = some.ids
        yield LaidRows(numbers, real, input_ids, ((columns >= some.second[:, None]) & real).astype(np.int64))


def encode(
    module: MaskedLM, compute: Compute, rows: Sequence[Row], pad: int, layer: int | None = None
) -> tuple[Tensor, Tensor]:
    """The hidden states of sequences run together.

    rows: each (length,) token ids; layer: see `encode_padded`. Returns (rows, longest, hidden) float32 and
    (rows, longest) bool, True at tokens.
    """
    lengths = np.array([len(row) for row in rows])
    real = np.arange(lengths.max()) < lengths[:, None]
    input_ids = np.full(real.shape, pad, dtype=np.int64)
    input_ids[real] = np.concatenate(rows)
    hidden = encode_padded(module, compute, input_ids, lengths, layer)
    return hidden, torch.from_numpy(real).to(compute.device)


@torch.inference_mode()
def encode_padded(
    module: MaskedLM,
    compute: Compute,
    input_ids: NDArray[np.int64],
    lengths: NDArray[np.int64],
    layer: int | None = None,
) -> Tensor:
    """The hidden states of sequences that are laid out side by side already.

    input_ids: (rows, longest), anything behind the tokens; lengths: (rows,) tokens of each.
    layer: whose states, counted as transformers counts them: 0 are the embeddings; the last if left out.
    Returns (rows, longest, hidden) float32.
    """
    columns = torch.arange(input_ids.shape[1])
    real = columns < torch.from_numpy(lengths)[:, None]
    visible = AttentionPattern.from_example_ids(real.to(torch.int32) - 1, compute.device)
    ids, positions = torch.from_numpy(input_ids).to(compute.device), columns.expand(real.shape).to(compute.device)
    states: list[Tensor] | None = None if layer is None else []
    with compute.autocast():
        hidden = module(ids, positions, torch.zeros_like(ids), visible, states)
    return (hidden if states is None or layer is None else states[layer]).float()


@torch.inference_mode()
def log_probabilities(
    module: MaskedLM, compute: Compute, rows: Sequence[Row], queries: Sequence[MaskQuery], pad: int
) -> Iterator[tuple[NDArray[np.int64], Tensor]]:
    """What the model expects at each place asked for, a batch of sequences at a time.

    Yields the numbers of some queries, (n,) int64, and (n, vocab) float32 log-probabilities for them: never the
    scores of all queries at once, which would be thousands of times the vocabulary.
    """
    asked: dict[int, list[int]] = {}
    for number, query in enumerate(queries):
        asked.setdefault(query.row, []).append(number)
    for together in batches_by_length([len(row) for row in rows], usual_batch_tokens(compute)):
        numbers = [number for row in together for number in asked.get(int(row), [])]
        if not numbers:
            continue
        hidden, _ = encode(module, compute, [rows[row] for row in together], pad)
        place = {int(row): index for index, row in enumerate(together)}
        at = torch.tensor([[place[queries[n].row], queries[n].position] for n in numbers], device=hidden.device)
        with compute.autocast():
            logits = module.predict(hidden[at[:, 0], at[:, 1]])
        yield np.array(numbers), logits.float().log_softmax(-1)
