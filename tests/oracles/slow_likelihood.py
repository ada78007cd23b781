"""Pseudo-log-likelihood the slow way: transformers, one mask and one sequence at a time."""

from __future__ import annotations

from typing import Any

import torch


@torch.no_grad()
def slow_likelihood(
    peer: Any, ids: list[int], starts: list[bool], special: Any, whole: bool, room: int | None = None
) -> list[float]:
    """The log-probability of each token of one text.

    peer: a transformers model for masked tokens; ids: the text without special tokens; starts: whether each starts a
    word; whole: hide the later pieces of the word too; room: tokens that the model may see, all if left out.
    """
    found = []
    for place, own in enumerate(ids):
        seen = list(ids)
        seen[place] = special.mask
        after = place + 1
        while whole and after < len(ids) and not starts[after]:
            seen[after] = special.mask
            after += 1
        first = 0
        if room is not None and len(ids) > room:
            first = place - room // 2
            first = 0 if first < 0 else first
            first = len(ids) - room if first + room > len(ids) else first
            seen = seen[first : first + room]
        row = torch.tensor([[special.cls, *seen, special.sep]])
        logits = peer(input_ids=row, attention_mask=torch.ones_like(row)).logits[0, 1 + place - first]
        found.append(float(logits.double().log_softmax(-1)[own]))
    return found
