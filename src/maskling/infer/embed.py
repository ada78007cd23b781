"""Texts as vectors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maskling.data.prefetch import prefetch
from maskling.errors import SettingsError
from maskling.infer.forward import ModelRunner, batch_budget, batches_by_length, encode
from maskling.model.tasks.config import Pooling
from maskling.train.distributed import Ranks

# FOLDED DOCS
# [shares] Texts shared out over the ranks of a torchrun, and their vectors brought together again.


# Texts that are tokenized and sorted by length together.
CHUNK_TEXTS = 4096


@dataclass(frozen=True)
class Pooled:
    """How the states of a text become its vector; see `embed_texts`."""

    pooling: Pooling = "mean"
    normalize: bool = False
    layer: int | None = None


@dataclass(frozen=True)
class Embedded:
    """vectors: (texts, hidden) float32, in the order of the texts; cut: how many texts were too long and were cut."""

    vectors: NDArray[np.float32]
    cut: int


def embed_texts(
    reader: ModelRunner,
    texts: Sequence[str],
    *,
    pooling: Pooling = "mean",
    normalize: bool = False,
    layer: int | None = None,
    batch_tokens: int | None = None,
    told: Callable[[int], object] | None = None,
) -> Embedded:
    """One vector a text: the mean of its last hidden states, [CLS] and [SEP] included, or the state of [CLS].

    normalize: vectors of length 1. layer: pool the states after that layer instead of the last; 0 are the embeddings,
    -1 the last layer, -2 the one before it. batch_tokens: texts run together as long as they fill no more tokens; it
    changes speed and memory, and the values only by rounding. told: is called with how many texts are done.
    Raises SettingsError for a pooling, layer or budget that is none.
    """
    chunks = [texts[first : first + CHUNK_TEXTS] for first in range(0, len(texts), CHUNK_TEXTS)]
    vectors = np.zeros((len(texts), reader.module.config.hidden_size), dtype=np.float32)
    cut = done = 0
    for some in embed_chunks(reader, chunks, Pooled(pooling, normalize, layer), batch_tokens, told):
        vectors[done : done + len(some.vectors)] = some.vectors
        done += len(some.vectors)
        cut += some.cut
    return Embedded(vectors, cut)


@torch.inference_mode()
def embed_chunks(
    reader: ModelRunner,
    chunks: Sequence[Sequence[str]],
    how: Pooled,
    batch_tokens: int | None = None,
    told: Callable[[int], object] | None = None,
) -> Iterator[Embedded]:
    """What `embed_texts` makes of each list of texts, one after the other; the next is tokenized meanwhile."""
    if how.pooling not in ("mean", "cls"):
        raise SettingsError(f"pooling is {how.pooling!r}; choose mean or cls")
    batch_tokens = batch_budget(batch_tokens, reader.compute)
    layer, layers = how.layer, reader.module.config.num_layers
    if layer is not None and not -layers - 1 <= layer <= layers:
        raise SettingsError(f"layer is {layer}; this model has layers 1 to {layers}, and 0 are its embeddings")
    done = 0
    tokenized = prefetch(lambda number: reader.sequences(chunks[number]), range(len(chunks)))
    for rows, cut in tokenized:
        vectors = np.zeros((len(rows), reader.module.config.hidden_size), dtype=np.float32)
        for together in batches_by_length([len(row) for row in rows], batch_tokens):
            some = [rows[row] for row in together]
            hidden, real = encode(reader.module, reader.compute, some, reader.tokenizer.special.pad, layer)
            pooled = pool(hidden, real, how.pooling)
            if how.normalize:
                pooled = torch.nn.functional.normalize(pooled, dim=-1)
            vectors[together] = pooled.cpu().numpy()
            done += len(some)
            if told is not None:
                told(done)
        yield Embedded(vectors, cut)


def pool(hidden: Tensor, real: Tensor, pooling: Pooling) -> Tensor:
    """A vector for each row: (rows, hidden). hidden: (rows, longest, hidden); real: (rows, longest), True at tokens."""
    return hidden[:, 0] if pooling == "cls" else (hidden * real[:, :, None]).sum(1) / real.sum(1, keepdim=True)


# What travels at once.
_BYTES = 64 << 20


def embed_shares(
    embed: Callable[[Sequence[Sequence[str]]], Iterator[Embedded]], texts: Sequence[str], ranks: Ranks
) -> Iterator[Embedded]:
    """The vectors of the texts in their order, some thousands at a time; of those every rank embeds its share.

    embed: lists of texts to what became of each list. What comes out is whole on every rank.
    """
    together = CHUNK_TEXTS * ranks.size
    chunks = [texts[first : first + together] for first in range(0, len(texts), together)]
    shares = embed([chunk[ranks.rank :: ranks.size] for chunk in chunks])
    for chunk, own in zip(chunks, shares, strict=True):
        yield own if ranks.size == 1 else _whole(own, len(chunk), ranks)


def _whole(own: Embedded, texts: int, ranks: Ranks) -> Embedded:
    """What all ranks have of so many texts."""
    hidden = own.vectors.shape[1]
    vectors = np.zeros((texts, hidden), dtype=np.float32)
    vectors[ranks.rank :: ranks.size] = own.vectors
    rows = max(1, _BYTES // (4 * hidden))
    for first in range(0, texts, rows):
        # The others have zeros there: a sum brings each vector as it is.
        some = torch.from_numpy(vectors[first : first + rows]).to(ranks.device)
        vectors[first : first + rows] = ranks.all_reduce(some).cpu().numpy()
    return Embedded(vectors, int(ranks.all_reduce(torch.tensor([own.cut], device=ranks.device))))
