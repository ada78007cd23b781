"""Texts shared out over the ranks of a torchrun, and their vectors brought together again."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from maskling.train.world import World

Vectors = NDArray[np.float32]
# What travels at once.
_BYTES = 64 << 20


def embed_shares(
    embed: Callable[[Sequence[str]], Vectors], texts: Sequence[str], world: World
) -> tuple[Vectors, list[str]]:
    """The vector of each text, and what there was to warn of: every rank embeds every so-manieth text.

    embed: texts to vectors, (n, hidden) float32. The vectors, (texts, hidden) float32, are whole on every rank.
    """
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        own = embed(texts[world.rank :: world.size])
    warned = [str(warning.message) for warning in said]
    if world.size == 1:
        return own, warned
    vectors = np.zeros((len(texts), own.shape[1]), dtype=np.float32)
    vectors[world.rank :: world.size] = own
    rows = max(1, _BYTES // (4 * own.shape[1]))
    for first in range(0, len(texts), rows):
        # The others have zeros there: a sum brings each vector as it is.
        some = torch.from_numpy(vectors[first : first + rows]).to(world.device)
        vectors[first : first + rows] = world.sum(some).cpu().numpy()
    return vectors, [text for rank in range(world.size) for text in world.share(warned, rank)]
