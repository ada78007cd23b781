"""Whether a model that was written and read back still says the same."""

from __future__ import annotations

import torch
from torch import Tensor

from maskling.errors import ModelError
from maskling.model.attention import Visible
from maskling.model.masked_lm import MaskedLM
from maskling.randomness import stream

TOLERANCE = 1e-5
# Longer than the local window of ModernBERT's layers, so that both kinds of attention are seen.
PROBE_LENGTH = 160


@torch.no_grad()
def answers(module: MaskedLM) -> dict[str, Tensor]:
    """The logits of a fixed batch, in evaluation mode and fp32: two rows of random ids, one with padding.

    The mode that the module was in is put back. Returns CPU tensors: masked-token logits (places, vocab), and pair
    logits (2, 2) where there is a pair head.
    """
    config = module.config
    seq = min(config.max_positions, PROBE_LENGTH)
    draws = stream(0, "export probe").integers(0, config.vocab_size, (2, seq))
    device = next(module.parameters()).device
    ids = torch.from_numpy(draws)
    ids[0, 0], ids[1, 0] = 0, config.vocab_size - 1
    examples = torch.zeros(ids.shape, dtype=torch.int32)
    examples[1, seq - seq // 4 :] = -1
    types = torch.zeros_like(ids)
    types[0, seq // 2 :] = getattr(config, "type_vocab_size", 1) - 1
    positions = torch.arange(seq).expand(ids.shape)
    was_training = module.training
    module.eval()
    try:
        visible = Visible.from_example_ids(examples, device)
        hidden = module(ids.to(device), positions.to(device), types.to(device), visible)
        places = torch.arange(0, seq - seq // 4, max(1, seq // 16), device=device)
        found = {"masked-token": module.predict(hidden[:, places].flatten(0, 1)).cpu()}
        if config.pair_head:
            found["pair"] = module.pair(hidden[:, 0]).cpu()
    finally:
        module.train(was_training)
    return found


def check_same(expected: dict[str, Tensor], found: dict[str, Tensor], where: str) -> None:
    """Compare the answers of a model with those of what was read back. Raises ModelError if they differ."""
    for kind, wanted in expected.items():
        if not bool(wanted.isfinite().all()):
            raise ModelError(f"{where} was not written: the {kind} logits of this model are not all numbers")
        if kind not in found:
            raise ModelError(f"{where} was not written: read back, the model had lost its {kind} head")
        difference = float((wanted - found[kind]).abs().max())
        if not torch.allclose(wanted, found[kind], rtol=TOLERANCE, atol=TOLERANCE):
            raise ModelError(
                f"{where} was not written: read back, its {kind} logits differed by {difference:.2g}, more than "
                f"{TOLERANCE:g}; this is a fault of maskling or of the disk, and what stood there before was kept"
            )
