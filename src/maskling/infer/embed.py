"""Embed texts: pooled hidden states as vectors, in one process or shared over the ranks of a torchrun."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maskling.data.prefetch import prefetch
from maskling.errors import SettingsError
from maskling.infer.forward import ModelRunner, batches_by_length, check_texts, encode, resolve_batch_tokens
from maskling.model.tasks.config import Pooling
from maskling.train.distributed import Ranks

# Texts that are tokenized and sorted by length together.
CHUNK_TEXTS = 4096
# Bytes per all-reduce.
_BYTES = 64 << 20


@dataclass(frozen=True)
class Pooled:
    """How the states of a text become its vector; see `embed_texts`."""

    pooling: Pooling = "mean"
    normalize: bool = False
    layer: int | None = None


@dataclass(frozen=True)
class Embedded:
    """vectors: (texts, hidden) float32, in the order of the texts; cut: the number of truncated texts."""

    vectors: NDArray[np.float32]
    cut: int


def embed_texts(
    runner: ModelRunner,
    texts: Iterable[str],
    *,
    pooling: Pooling = "mean",
    normalize: bool = False,
    layer: int | None = None,
    batch_tokens: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Embedded:
    """Compute one vector per text: the mean of its last hidden states, [CLS] and [SEP] included, or the state of [CLS].

    normalize: scale vectors to length 1. layer: pool the states after that layer instead of the last; 0 is the
    embeddings, -1 the last layer, -2 the one before it. batch_tokens: tokens per batch; it changes speed and memory,
    and the values only by rounding. on_progress: called after each batch with the texts that are done and their total.
    Raises SettingsError for an unknown pooling, a layer out of range or a batch_tokens below 1.
    """
    texts = check_texts(texts)
    chunks = [texts[first : first + CHUNK_TEXTS] for first in range(0, len(texts), CHUNK_TEXTS)]
    vectors = np.zeros((len(texts), runner.module.config.hidden_size), dtype=np.float32)
    cut = done = 0

    def on_chunk(done_of_chunk: int, _: int) -> None:
        if on_progress is not None:
            on_progress(done + done_of_chunk, len(texts))

    for some in embed_chunks(runner, chunks, Pooled(pooling, normalize, layer), batch_tokens, on_chunk):
        vectors[done : done + len(some.vectors)] = some.vectors
        done += len(some.vectors)
        cut += some.cut
    return Embedded(vectors, cut)


@torch.inference_mode()
def embed_chunks(
    runner: ModelRunner,
    chunks: Iterable[Sequence[str]],
    how: Pooled,
    batch_tokens: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Iterator[Embedded]:
    """Yield what `embed_texts` returns for each list of texts; the next list is tokenized meanwhile.

    on_progress: called after each batch with the texts of the current list that are done and their total.
    """
    if how.pooling not in ("mean", "cls"):
        raise SettingsError(f"pooling is {how.pooling!r}; choose mean or cls")
    batch_tokens = resolve_batch_tokens(batch_tokens, runner.compute)
    layer, layers = how.layer, runner.module.config.num_layers
    if layer is not None and not -layers - 1 <= layer <= layers:
        raise SettingsError(f"layer is {layer}; this model has layers 1 to {layers}, and 0 is its embeddings")
    waiting: deque[Sequence[str]] = deque()

    def steps() -> Iterator[int]:
        for step, texts in enumerate(chunks):
            waiting.append(texts)
            yield step

    for rows, cut in prefetch(lambda _: runner.token_sequences(waiting.popleft()), steps()):
        vectors = np.zeros((len(rows), runner.module.config.hidden_size), dtype=np.float32)
        done = 0
        for together in batches_by_length([len(row) for row in rows], batch_tokens):
            some = [rows[row] for row in together]
            hidden, real = encode(runner.module, runner.compute, some, runner.tokenizer.special.pad, layer)
            pooled = pool(hidden, real, how.pooling)
            if how.normalize:
                pooled = torch.nn.functional.normalize(pooled, dim=-1)
            vectors[together] = pooled.cpu().numpy()
            done += len(some)
            if on_progress is not None:
                on_progress(done, len(rows))
        yield Embedded(vectors, cut)


def pool(hidden: Tensor, real: Tensor, pooling: Pooling) -> Tensor:
    """Pool the states of each row to one vector.

    hidden: (rows, longest, hidden); real: (rows, longest) bool attention mask, True at tokens. Returns (rows, hidden).
    """
    return hidden[:, 0] if pooling == "cls" else (hidden * real[:, :, None]).sum(1) / real.sum(1, keepdim=True)


def embed_shares(
    embed: Callable[[Iterable[Sequence[str]]], Iterator[Embedded]], chunks: Iterable[Sequence[str]], ranks: Ranks
) -> Iterator[tuple[Sequence[str], Embedded]]:
    """Yield each chunk of texts with its vectors; every rank embeds its share of each chunk.

    embed: returns an `Embedded` for each list of texts; chunks: equal on every rank. An all-reduce leaves the vectors
    of the whole chunk on every rank.
    """
    waiting: deque[Sequence[str]] = deque()

    def shares() -> Iterator[Sequence[str]]:
        for chunk in chunks:
            waiting.append(chunk)
            yield chunk[ranks.rank :: ranks.size]

    for own in embed(shares()):
        chunk = waiting.popleft()
        yield chunk, own if ranks.size == 1 else _whole(own, len(chunk), ranks)


def _whole(own: Embedded, texts: int, ranks: Ranks) -> Embedded:
    """All-reduce the vectors of a chunk. texts: its length over all ranks."""
    hidden = own.vectors.shape[1]
    vectors = np.zeros((texts, hidden), dtype=np.float32)
    vectors[ranks.rank :: ranks.size] = own.vectors
    rows = max(1, _BYTES // (4 * hidden))
    for first in range(0, texts, rows):
        # The other ranks have zeros there: the sum leaves each vector unchanged.
        some = torch.from_numpy(vectors[first : first + rows]).to(ranks.device)
        vectors[first : first + rows] = ranks.all_reduce(some).cpu().numpy()
    return Embedded(vectors, int(ranks.all_reduce(torch.tensor([own.cut], device=ranks.device))))
