"""Whether a model that was written and read back still says the same."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from maskling.errors import ModelError
from maskling.model.attention import AttentionPattern
from maskling.model.masked_lm import MaskedLM
from maskling.model.tasks.model import TaskModel
from maskling.randomness import stream

TOLERANCE = 1e-5
# Longer than the local window of ModernBERT's layers, so that both kinds of attention are seen.
PROBE_LENGTH = 160


class Probe(NamedTuple):
    """A fixed batch, encoded: two rows of random ids, one with padding.

    hidden: (2, seq, hidden); places: (n,) int64, columns without padding, the first among them.
    """

    hidden: Tensor
    pattern: AttentionPattern
    places: Tensor


@torch.no_grad()
def answers(module: MaskedLM) -> dict[str, Tensor]:
    """The logits of a fixed batch, in evaluation mode and fp32.

    The mode that the module was in is put back. Returns CPU tensors: masked-token logits (places, vocab), and pair
    logits (2, 2) where there is a pair head.
    """
    with encoded_probe(module) as probe:
        found = {"masked-token": module.predict(probe.hidden[:, probe.places].flatten(0, 1)).cpu()}
        if module.config.pair_head:
            found["pair"] = module.pair(probe.hidden[:, 0]).cpu()
    return found


@torch.no_grad()
def probe_task_logits(model: TaskModel) -> dict[str, Tensor]:
    """The same of a model for a task: one kind of logits, under its name."""
    with encoded_probe(model) as probe:
        seq = probe.hidden.shape[1]
        match model.head_config.kind:
            case "tag":
                logits = model.tag(probe.hidden, torch.cat((probe.places, probe.places + seq)))
            case "answer":
                logits = model.answer(probe.hidden)[:, probe.places]
            case _:
                first = torch.arange(2, device=probe.hidden.device) * seq
                logits = model.classify(probe.hidden, first, probe.pattern)
    return {model.head_config.kind: logits.cpu()}


@contextlib.contextmanager
def encoded_probe(module: MaskedLM | TaskModel) -> Iterator[Probe]:
    """Encode the batch; within the block the module is in evaluation mode, and what it was in comes back."""
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
        pattern = AttentionPattern.from_example_ids(examples, device)
        hidden = module(ids.to(device), positions.to(device), types.to(device), pattern)
        yield Probe(hidden, pattern, torch.arange(0, seq - seq // 4, max(1, seq // 16), device=device))
    finally:
        module.train(was_training)


def check_same_logits(expected: dict[str, Tensor], found: dict[str, Tensor], where: str) -> None:
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
