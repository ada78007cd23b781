"""Losses as sums and counts, against a model of transformers' shape written out in plain torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from maskling.data.assemble import Batch
from maskling.model.build import build_masked_lm
from maskling.model.config import ModernConfig
from maskling.model.masked_lm import MaskedLM
from maskling.objectives.losses import TensorBatch, Term, loss_terms, masked_lm_loss, max_scored_rows, weighted_loss

VOCAB, SEQ, ROWS = 47, 13, 5


def model(pair_head: bool = True) -> MaskedLM:
    config = ModernConfig(
        hidden_size=12, num_layers=1, num_heads=3, intermediate_size=17, vocab_size=VOCAB, pair_head=pair_head,
        initializer_range=0.5,
    )  # fmt: skip
    return build_masked_lm(config, seed=1)


def batch(seed: int = 0, rows: int = ROWS, masked: int = 11) -> Batch:
    """One whole example a row, some places to predict, a pair label for each."""
    draws = np.random.default_rng(seed)
    shape = rows, SEQ
    return Batch(
        input_ids=draws.integers(0, VOCAB, shape).astype(np.int32),
        position_ids=np.broadcast_to(np.arange(SEQ, dtype=np.int32), shape).copy(),
        token_type_ids=np.zeros(shape, np.int32),
        example_ids=np.zeros(shape, np.int32),
        masked_positions=np.sort(draws.choice(rows * SEQ, masked, replace=False)),
        labels=draws.integers(0, VOCAB, masked),
        first_positions=np.arange(rows) * SEQ,
        pair_labels=draws.integers(0, 2, rows),
        num_tokens=rows * SEQ,
    )


def on_cpu(one: Batch) -> TensorBatch:
    return TensorBatch.from_batch(one, torch.device("cpu"))


def test_the_head_at_masked_places_is_the_head_everywhere_and_then_the_masked_places():
    module, one = model(), batch()
    tensors = on_cpu(one)
    found = loss_terms(module, tensors)
    hidden = module(tensors.input_ids, tensors.position_ids, tensors.token_type_ids, tensors.attention_pattern)
    labels = torch.full((ROWS * SEQ,), -100)
    labels[one.masked_positions] = torch.from_numpy(one.labels)
    everywhere = F.cross_entropy(module.predict(hidden).flatten(0, 1), labels, ignore_index=-100, reduction="sum")
    assert found["mlm"].count == 11
    assert float(found["mlm"].sum.detach()) == pytest.approx(float(everywhere.detach()), rel=1e-6)
    pair = F.cross_entropy(module.pair(hidden[:, 0]), torch.from_numpy(one.pair_labels), reduction="sum")
    assert found["pair"].count == ROWS
    assert float(found["pair"].sum.detach()) == pytest.approx(float(pair.detach()), rel=1e-6)


def test_a_batch_without_pairs_has_no_pair_term():
    one = batch()
    alone = Batch(**{**vars(one), "pair_labels": one.pair_labels[:0]})
    assert loss_terms(model(pair_head=False), on_cpu(alone)).keys() == {"mlm"}


def test_logits_in_pieces_give_the_loss_and_the_gradient_of_the_whole():
    one = on_cpu(batch(masked=23))
    losses, grads = [], []
    for logits_bytes in (1 << 20, 4 * VOCAB * 5):
        module = model()
        hidden = module(one.input_ids, one.position_ids, one.token_type_ids, one.attention_pattern)
        term = masked_lm_loss(module, hidden, one, logits_bytes)
        term.sum.backward()
        losses.append(float(term.sum.detach()))
        grads.append({name: p.grad for name, p in module.named_parameters() if p.grad is not None})
        assert term.count == 23
    assert max_scored_rows(model(), 4 * VOCAB * 5) == 5
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    assert grads[0].keys() == grads[1].keys()
    for name, grad in grads[0].items():
        assert torch.allclose(grad, grads[1][name], atol=1e-5), name


def test_micro_batches_of_unequal_counts_add_up_to_the_whole():
    """A mean of means would weigh 3 predictions like 29."""
    parts = [batch(1, rows=2, masked=3), batch(2, rows=3, masked=29)]
    whole = Batch(
        **{
            name: np.concatenate([getattr(part, name) for part in parts])
            for name in ("input_ids", "position_ids", "token_type_ids", "example_ids", "labels", "pair_labels")
        },
        masked_positions=np.concatenate([parts[0].masked_positions, parts[1].masked_positions + 2 * SEQ]),
        first_positions=np.arange(5) * SEQ,
        num_tokens=5 * SEQ,
    )
    counts = {"mlm": 32, "pair": 5}
    results = []
    for batches in ([whole], parts):
        module = model()
        for one in batches:
            weighted_loss(loss_terms(module, on_cpu(one)), counts, {"pair": 0.3}).backward()
        results.append({name: p.grad for name, p in module.named_parameters() if p.grad is not None})
    for name, grad in results[0].items():
        assert torch.allclose(grad, results[1][name], atol=1e-6), name


def test_the_weighted_loss_is_the_sum_of_weighted_means():
    found = {"mlm": Term(torch.tensor(30.0), 10), "pair": Term(torch.tensor(8.0), 4)}
    assert float(weighted_loss(found, {"mlm": 10, "pair": 4}, {"pair": 0.5})) == pytest.approx(3 + 0.5 * 2)
    # Nothing to judge anywhere: no division by nothing.
    assert float(weighted_loss(found, {"mlm": 10, "pair": 0}, {})) == pytest.approx(3)


def test_batches_of_any_number_of_predictions_run_the_head_on_few_different_numbers():
    sizes = {len(on_cpu(batch(masked=masked)).masked_positions) for masked in range(1, ROWS * SEQ)}
    assert sizes == set(range(64, ROWS * SEQ + 63, 64))
