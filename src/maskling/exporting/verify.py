"""Compare the logits of a model with those of the same model read back from a folder, on a fixed batch."""

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

# Absolute and relative.
LOGITS_TOLERANCE = 1e-5
# Longer than the local window of ModernBERT's layers, so that both kinds of attention are tested.
PROBE_LENGTH = 160


class Probe(NamedTuple):
    """Encoded fixed batch: two rows of random ids, one with padding.

    hidden: (2, seq, hidden). columns: (n,) int64, some columns without padding, the first among them.
    """

    hidden: Tensor
    pattern: AttentionPattern
    columns: Tensor


@torch.no_grad()
def probe_logits(module: MaskedLM) -> dict[str, Tensor]:
    """Return the logits of a fixed batch, in evaluation mode and fp32; the module's mode is restored.

    Returns CPU tensors: masked-token logits (positions, vocab), and pair logits (2, 2) if there is a pair head.
    """
    with encoded_probe(module) as probe:
        found = {"masked-token": module.predict(probe.hidden[:, probe.columns].flatten(0, 1)).cpu()}
        if module.config.pair_head:
            found["pair"] = module.pair(probe.hidden[:, 0]).cpu()
    return found


@torch.no_grad()
def probe_task_logits(model: TaskModel) -> dict[str, Tensor]:
    """Return the logits of a task model on a fixed batch, under the kind of its head."""
    with encoded_probe(model) as probe:
        seq = probe.hidden.shape[1]
        match model.head_config.kind:
            case "tag":
                logits = model.tag(probe.hidden, torch.cat((probe.columns, probe.columns + seq)))
            case "answer":
                logits = model.answer(probe.hidden)[:, probe.columns]
            case _:
                first = torch.arange(2, device=probe.hidden.device) * seq
                logits = model.classify(probe.hidden, first, probe.pattern)
    return {model.head_config.kind: logits.cpu()}


@contextlib.contextmanager
def encoded_probe(module: MaskedLM | TaskModel) -> Iterator[Probe]:
    """Encode the fixed batch; the module is in evaluation mode within the block, and its mode is restored after it."""
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


def finite_logits(logits: dict[str, Tensor], where: str) -> dict[str, Tensor]:
    """Return the logits of a model that is about to be written. Raises ModelError if they are not finite."""
    for kind, values in logits.items():
        if not bool(values.isfinite().all()):
            raise ModelError(f"{where} was not written: the {kind} logits of this model include NaN or infinity")
    return logits


def check_same_logits(expected: dict[str, Tensor], found: dict[str, Tensor], where: str) -> None:
    """Compare the logits of a model with those of the model read back. Raises ModelError if they differ."""
    for kind, wanted in expected.items():
        if kind not in found:
            raise ModelError(f"{where} was not written: read back, the model lacked its {kind} head")
        difference = float((wanted - found[kind]).abs().max())
        if not torch.allclose(wanted, found[kind], rtol=LOGITS_TOLERANCE, atol=LOGITS_TOLERANCE):
            raise ModelError(
                f"{where} was not written: read back, its {kind} logits differed by {difference:.2g}, more than "
                f"{LOGITS_TOLERANCE:g}; this is a bug in maskling or a disk error, and nothing there was changed"
            )
