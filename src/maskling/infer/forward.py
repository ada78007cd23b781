"""Run a model on token sequences: padding, batching by length, hidden states and masked-token log-probabilities."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maskling.errors import ModelError, SettingsError
from maskling.model.attention import AttentionPattern
from maskling.model.device import Compute
from maskling.model.masked_lm import MaskedLM
from maskling.tokenizer.tokenizer import Tokenizer

if TYPE_CHECKING:
    from maskling.data.labelled.encode_texts import Windows

TokenIds = NDArray[np.int64]

# Tokens per batch.
BATCH_TOKENS = 8192
# Fewer are faster on a CPU, because they stay in its cache: 1.1 times base at 8,192.
CPU_BATCH_TOKENS = 2048
# The fixed cost of a batch, in tokens: every weight is read once more.
BATCH_OVERHEAD = 64

# Called between batches in the thread that runs them: a server lets shorter requests run there, or stops the work of a
# client that has left by raising an exception.
BETWEEN_BATCHES: ContextVar[Callable[[], None] | None] = ContextVar("between_batches", default=None)


def between_batches() -> None:
    """Call the function in `BETWEEN_BATCHES`, if any. Whatever takes longer than a batch calls this now and then."""
    if (call := BETWEEN_BATCHES.get()) is not None:
        call()


@dataclass(frozen=True)
class ModelRunner:
    """A model with its tokenizer and its device: what every function of inference takes.

    max_length: the longest sequence in tokens, [CLS] and [SEP] included. headless: the model's folder had no
    masked-token head, so the head in `module` is random; vectors are valid, predictions of masked tokens are not.
    """

    module: MaskedLM
    tokenizer: Tokenizer
    compute: Compute
    max_length: int
    headless: bool = False

    @property
    def contents(self) -> str:
        """What a folder without a masked-token head holds, for messages."""
        return "an encoder alone"

    def need_head(self, purpose: str) -> None:
        """Raise ModelError if the model has no masked-token head."""
        if self.headless:
            raise ModelError(
                f"this model has no masked-token head, which {purpose} needs: its folder holds {self.contents}; "
                f"use the folder of the masked language model that it was made from"
            )

    def token_sequences(self, texts: Sequence[str]) -> tuple[list[TokenIds], int]:
        """Return [CLS] text [SEP] for each text, truncated to `max_length`, and the number of truncated texts."""
        cls, sep = self.tokenizer.special.cls, self.tokenizer.special.sep
        room = self.max_length - 2
        prefixes = [_prefix(text, room) for text in texts]
        encoded = self._encoded(prefixes)
        # A prefix that gave too few tokens (a word of a thousand letters is one token) is encoded again as a whole.
        short = [
            index
            for index, (text, prefix) in enumerate(zip(texts, prefixes, strict=True))
            if len(prefix) < len(text) and len(encoded[index]) <= room
        ]
        for index, ids in zip(short, self._encoded([texts[index] for index in short]), strict=True):
            encoded[index] = ids
        cut = sum(len(ids) > room for ids in encoded)
        return [np.concatenate([[cls], ids[:room], [sep]]).astype(np.int64) for ids in encoded], cut

    def _encoded(self, texts: Sequence[str]) -> list[TokenIds]:
        return [np.asarray(tokens.ids, dtype=np.int64) for tokens in self.tokenizer.encode_batch(texts)]


def _prefix(text: str, tokens: int) -> str:
    """Return a prefix that should hold the first `tokens` tokens and ends before a space, or the whole text.

    The tokens before white space do not depend on what follows it.
    """
    most = 32 * tokens
    if len(text) <= 2 * most:
        return text
    end = text.rfind(" ", most // 2, most)
    return text if end < 0 else text[:end]


def default_batch_tokens(compute: Compute) -> int:
    """Return the default number of tokens per batch on a device."""
    return CPU_BATCH_TOKENS if compute.device.type == "cpu" else BATCH_TOKENS


def check_texts(texts: object) -> list[str]:
    """Return texts as a list. Raises SettingsError, with the index, for what is not a text, such as None or NaN."""
    if not isinstance(texts, Iterable) or isinstance(texts, bytes):
        raise SettingsError(f"texts is {texts!r}; give a text, or a list of texts")
    found: list[str] = []
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise SettingsError(f"item {index} of the texts is {text!r}, not a text; leave it out, or give '' for it")
        found.append(text)
    return found


def resolve_batch_tokens(batch_tokens: int | None, compute: Compute) -> int:
    """Return `batch_tokens`, or the default of the device if it is None. Raises SettingsError for less than 1."""
    usual = default_batch_tokens(compute)
    if batch_tokens is not None and batch_tokens < 1:
        raise SettingsError(f"batch_tokens is {batch_tokens}; it is a number of tokens, such as {usual:,}")
    return usual if batch_tokens is None else batch_tokens


def batches_by_length(
    lengths: Sequence[int] | NDArray[np.int64], batch_tokens: int = BATCH_TOKENS, overhead: int = BATCH_OVERHEAD
) -> Iterator[NDArray[np.int64]]:
    """Yield the indices of sequences to run together, longest first.

    The padded size of a batch, rows x longest, is at most `batch_tokens`, except that a batch has at least one row. A
    batch also ends where its padding would cost more than another batch. overhead: that cost, in tokens.
    """
    lengths = np.asarray(lengths, dtype=np.int64)
    order = np.argsort(-lengths, kind="stable")
    ordered = lengths[order].tolist()
    start = padding = 0
    for index, length in enumerate(ordered):
        longest = max(1, ordered[start])
        padding += longest - length
        if index > start and ((index + 1 - start) * longest > batch_tokens or padding > overhead):
            between_batches()
            yield order[start:index]
            start, padding = index, 0
    if ordered:
        between_batches()
        yield order[start:]


@dataclass(frozen=True)
class PaddedBatch:
    """A padded batch of sequences.

    indices: (rows,) int64, the index of each sequence; input_ids, token_type_ids: (rows, longest) int64.
    attention_mask: (rows, longest) bool, False at padding.
    """

    indices: NDArray[np.int64]
    attention_mask: NDArray[np.bool_]
    input_ids: NDArray[np.int64]
    token_type_ids: NDArray[np.int64]


def padded_batches(windows: Windows, pad: int, batch_tokens: int) -> Iterator[PaddedBatch]:
    """Collate sequences of similar length into padded batches. pad: the id of [PAD]."""
    for indices in batches_by_length(windows.length, batch_tokens):
        some = windows.take(indices)
        columns = np.arange(some.length.max())
        real = columns < some.length[:, None]
        input_ids = np.full(real.shape, pad, dtype=np.int64)
        input_ids[real] = some.ids
        yield PaddedBatch(indices, real, input_ids, ((columns >= some.second[:, None]) & real).astype(np.int64))


def encode(
    module: MaskedLM, compute: Compute, rows: Sequence[TokenIds], pad: int, layer: int | None = None
) -> tuple[Tensor, Tensor]:
    """Compute the hidden states of sequences, padded to one batch.

    rows: each (length,) token ids; layer: see `encode_padded`. Returns the states (rows, longest, hidden) float32 and
    the attention mask (rows, longest) bool, True at tokens.
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
    """Compute the hidden states of a batch that is already padded.

    input_ids: (rows, longest) int64, any ids after the tokens; lengths: (rows,) int64, tokens per row.
    layer: the layer whose states are returned, counted as in transformers: 0 for the embeddings; default: the last.
    Returns (rows, longest, hidden) float32.
    """
    columns = torch.arange(input_ids.shape[1])
    real = columns < torch.from_numpy(lengths)[:, None]
    pattern = AttentionPattern.from_example_ids(real.to(torch.int32) - 1, compute.device)
    ids, positions = torch.from_numpy(input_ids).to(compute.device), columns.expand(real.shape).to(compute.device)
    states: list[Tensor] | None = None if layer is None else []
    with compute.autocast():
        hidden = module(ids, positions, torch.zeros_like(ids), pattern, states)
    return (hidden if states is None or layer is None else states[layer]).float()


@dataclass(frozen=True)
class MaskQuery:
    """A position to predict: `position` of sequence `row`."""

    row: int
    position: int


@torch.inference_mode()
def log_probabilities(
    module: MaskedLM, compute: Compute, rows: Sequence[TokenIds], queries: Sequence[MaskQuery], pad: int
) -> Iterator[tuple[NDArray[np.int64], Tensor]]:
    """Compute the model's log-probabilities at each queried position, one batch of sequences at a time.

    Yields the indices of some queries, (n,) int64, and their (n, vocab) float32 log-probabilities. The scores of all
    queries are never held at once: they would be thousands of times the vocabulary.
    """
    queries_of_row: dict[int, list[int]] = {}
    for index, query in enumerate(queries):
        queries_of_row.setdefault(query.row, []).append(index)
    for together in batches_by_length([len(row) for row in rows], default_batch_tokens(compute)):
        indices = [index for row in together for index in queries_of_row.get(int(row), [])]
        if not indices:
            continue
        hidden, _ = encode(module, compute, [rows[row] for row in together], pad)
        batch_row = {int(row): index for index, row in enumerate(together)}
        at = torch.tensor([[batch_row[queries[n].row], queries[n].position] for n in indices], device=hidden.device)
        with compute.autocast():
            logits = module.predict(hidden[at[:, 0], at[:, 1]])
        yield np.array(indices), logits.float().log_softmax(-1)
