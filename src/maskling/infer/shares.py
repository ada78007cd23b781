"""Texts shared out over the ranks of a torchrun, and their vectors brought together again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch

from maskling.infer.embed import CHUNK_TEXTS, Embedded
from maskling.train.world import World

# What travels at once.
_BYTES = 64 << 20


def embed_shares(
    embed: Callable[[Sequence[Sequence[str]]], Iterator[Embedded]], texts: Sequence[str], world: World
) -> Iterator[Embedded]:
    """The vectors of the texts in their order, some thousands at a time; of those every rank embeds its share.

    embed: lists of texts to what became of each list. What comes out is whole on every rank.
    """
    together = CHUNK_TEXTS * world.size
    chunks = [texts[first : first + together] for first in range(0, len(texts), together)]
    shares = embed([chunk[world.rank :: world.size] for chunk in chunks])
    for chunk, own in zip(chunks, shares, strict=True):
        yield own if world.size == 1 else _whole(own, len(chunk), world)


def _whole(own: Embedded, texts: int, world: World) -> Embedded:
    """What all ranks have of so many texts."""
    hidden = own.vectors.shape[1]
    vectors = np.zeros((texts, hidden), dtype=np.float32)
    vectors[world.rank :: world.size] = own.vectors
    rows = max(1, _BYTES // (4 * hidden))
    for first in range(0, texts, rows):
        # The others have zeros there: a sum brings each vector as it is.
        some = torch.from_numpy(vectors[first : first + rows]).to(world.device)
        vectors[first : first + rows] = world.sum(some).cpu().numpy()
    return Embedded(vectors, int(world.sum(torch.tensor([own.cut], device=world.device))))
