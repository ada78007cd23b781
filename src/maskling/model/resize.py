"""Add tokens to a model's vocabulary, or positions for longer texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from maskling.errors import ModelError
from maskling.model.build import build_without_init
from maskling.model.config import BertConfig
from maskling.model.masked_lm import MaskedLM


@torch.no_grad()
def add_tokens(
    module: MaskedLM, first: int, pieces: Sequence[Sequence[int]], shares: Sequence[float | None]
) -> MaskedLM:
    """Return a copy of the model with rows for new tokens, from id `first` on. Everything else is unchanged.

    pieces: the token ids that spelled each new word before. shares: the fraction of the occurrences of its first piece
    that were this word, None if unknown.

    The embedding of a word, which is also its row of the output matrix, is the mean of its pieces' embeddings (Hewitt
    2021, "Initializing new word embeddings": a mean of old rows cannot get a higher logit than all of them, as random
    rows can). Its output bias is that of its first piece plus the logarithm of its share, since this fraction of the
    predictions of the first piece should be this word. Without a share it is the least of its pieces' biases, as a word
    is rarer than any of its pieces.

    Unused rows after the tokenizer's last id are filled first. A table that had unused rows keeps its size a multiple
    of the same power of two, and its new unused rows repeat the last old one.
    """
    config = module.config
    last = first + len(pieces)
    size = _padded(config.vocab_size, last) if config.vocab_size > first else last
    state = dict(module.state_dict())
    word, bias = state["word.weight"], state["decoder_bias"]
    more = max(0, size - len(word))
    new_word = torch.cat([word, word[-1:].expand(more, -1)])
    new_bias = torch.cat([bias, bias[-1:].expand(more)])
    for row, (ids, share) in enumerate(zip(pieces, shares, strict=True), start=first):
        old = torch.tensor(ids, device=word.device)
        new_word[row] = word[old].mean(0)
        new_bias[row] = bias[old].min() if share is None else bias[old[0]] + torch.tensor(share).log()
    changed = {"word.weight": new_word, "decoder_bias": new_bias}
    return _rebuilt(module, {"vocab_size": len(new_word)}, changed)


@torch.no_grad()
def resize_vocabulary(module: MaskedLM, vocab_size: int) -> MaskedLM:
    """Return a copy of the model with rows for `vocab_size` tokens; those of the old tokens are unchanged.

    Each new embedding, which is also the new row of the output matrix, is the mean of the old ones, and each new output
    bias the mean of the old: what `resize_token_embeddings` of transformers does by default (mean_resizing), without
    its noise of a billionth. Raises ModelError if the model has as many rows already.
    """
    old = module.config.vocab_size
    if vocab_size <= old:
        raise ModelError(f"the model has {old:,} rows in its vocabulary already, and {vocab_size:,} are asked for")
    state = module.state_dict()
    changed = {}
    for name in ("word.weight", "decoder_bias"):
        table = state[name]
        mean = table.float().mean(0, keepdim=True).to(table.dtype)
        changed[name] = torch.cat([table, mean.expand(vocab_size - old, *table.shape[1:])])
    return _rebuilt(module, {"vocab_size": vocab_size}, changed)


@torch.no_grad()
def add_positions(module: MaskedLM, positions: int, rope_theta: float | None = None) -> MaskedLM:
    """Return a copy of the model for texts of up to `positions` tokens. Its outputs for shorter texts do not change.

    BERT's table of positions is repeated from its start as often as needed, as Longformer did with RoBERTa's (Beltagy
    et al. 2020, section 5): each copy keeps what attention has learned about neighbours, except where two copies meet.
    Stretching the table instead would change every position. ModernBERT has no table; only its maximum length changes.

    rope_theta: ModernBERT only, a new base of the rotary positions of the global layers, such as 160000 for a model
    trained at 10000 that is to read 8,192 tokens (Warner et al. 2024, section 2.1.2). It changes outputs until the
    model is trained further. Raises ModelError for fewer positions than the model has, and for a base with BERT.
    """
    config = module.config
    if positions <= config.max_positions:
        raise ModelError(
            f"the model already has {config.max_positions:,} positions; ask for more than that, not {positions:,}"
        )
    changes: dict[str, Any] = {"max_positions": positions}
    if not isinstance(config, BertConfig):
        changes |= {} if rope_theta is None else {"global_rope_theta": rope_theta}
        return _rebuilt(module, changes, {})
    if rope_theta is not None:
        raise ModelError("rope_theta is for ModernBERT only; this model has a table of positions: leave it out")
    old = module.state_dict()["position.weight"]
    front, table = old[: config.position_offset], old[config.position_offset :]
    copies = table.repeat(-(-positions // len(table)), 1)[:positions]
    return _rebuilt(module, changes, {"position.weight": torch.cat([front, copies])})


def _rebuilt(module: MaskedLM, changes: dict[str, Any], weights: dict[str, Tensor]) -> MaskedLM:
    resized = build_without_init(type(module.config).model_validate(module.config.model_dump() | changes))
    resized.load_state_dict(dict(module.state_dict()) | weights)
    return resized.to(next(module.parameters()).device).train(module.training)


def _padded(size: int, least: int) -> int:
    """Return the smallest size of at least `least` that is a multiple of the same power of two (up to 64) as `size`."""
    unit = min(64, size & -size)
    return max(size, -(-least // unit) * unit)
