"""Held-out numbers: against sums done slowly, under any batch size, and again."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import toy_corpus
from maskling.data.assemble import Batch
from maskling.data.examples import Examples
from maskling.data.masking.corruption import Corruption, MaskingVocabulary
from maskling.data.masking.token import TokenMasking
from maskling.data.packing import BestFitPacking
from maskling.data.pairing import PAIRINGS
from maskling.data.shards import open_shards
from maskling.errors import DataError
from maskling.model.attention import AttentionPattern
from maskling.model.build import build_masked_lm
from maskling.model.config import BertConfig
from maskling.model.device import pick_device
from maskling.model.masked_lm import MaskedLM
from maskling.objectives import measure as measuring
from maskling.objectives.measure import measure_masked_lm
from maskling.tokenizer.tokenizer import Tokenizer

CPU = pick_device("cpu", "fp32")


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Examples:
    shards = open_shards(toy_corpus.write(tmp_path_factory.mktemp("toy") / "one", documents=60, validation=0.3))
    vocabulary = MaskingVocabulary.of(Tokenizer.load(shards.tokenizer_folder))
    return Examples(
        shards.split("validation"), vocabulary, PAIRINGS["nsp"](), TokenMasking(), Corruption(), BestFitPacking(), 29, 0
    )


@pytest.fixture(scope="module")
def module() -> MaskedLM:
    config = BertConfig(
        hidden_size=12, num_layers=2, num_heads=2, intermediate_size=20, vocab_size=73, max_positions=29,
        pair_head=True, initializer_range=0.6, dropout=0.3, attention_dropout=0.3,
    )  # fmt: skip
    return build_masked_lm(config, seed=2)


def slowly(module: MaskedLM, batches: list[Batch]) -> dict[str, float]:
    """One example at a time, all numbers kept, as a person would do it."""
    module.eval()
    losses, places, pair_right = [], [], []
    for batch in batches:
        for row in range(batch.rows):
            for example in range(batch.example_ids[row].max() + 1):
                where = np.flatnonzero(batch.example_ids[row] == example)
                ids = torch.from_numpy(batch.input_ids[row, where])[None]
                positions = torch.arange(len(where))[None]
                types = torch.from_numpy(batch.token_type_ids[row, where])[None]
                pattern = AttentionPattern(torch.zeros_like(ids), full=True)
                with torch.no_grad():
                    hidden = module(ids, positions, types, pattern)[0]
                    chances = module.predict(hidden).double().log_softmax(-1).numpy()
                    pair = module.pair(hidden[:1])[0]
                flat = row * batch.seq + where
                for at, label in zip(batch.masked_positions, batch.labels, strict=True):
                    if at in flat:
                        line = chances[int(np.flatnonzero(flat == at)[0])]
                        losses.append(-line[label])
                        places.append(list(np.argsort(-line, kind="stable")).index(label))
                label = batch.pair_labels[list(batch.first_positions).index(flat[0])]
                pair_right.append(int(pair.argmax()) == label)
    return {
        "mlm_loss": math.fsum(losses) / len(losses),
        "top1": sum(place < 1 for place in places) / len(places),
        "top5": sum(place < 5 for place in places) / len(places),
        "pair_accuracy": sum(pair_right) / len(pair_right),
    }


def test_the_numbers_are_those_of_one_example_at_a_time(examples: Examples, module: MaskedLM):
    batches = list(examples.fixed(None, 0.15, 4))
    found = measure_masked_lm(module, batches, CPU)
    for name, expected in slowly(module, batches).items():
        assert getattr(found, name) == pytest.approx(expected, rel=1e-5), name
    assert 0 < found.top1 < found.top5 < 1
    assert found.predictions == sum(len(batch.labels) for batch in batches)
    assert found.pairs == examples.num_examples
    assert found.perplexity == math.exp(found.mlm_loss)


@pytest.mark.parametrize("rows", [1, 3, 7, 100])
def test_any_batch_size_gives_the_same_to_rounding(examples: Examples, module: MaskedLM, rows: int):
    one, other = (measure_masked_lm(module, examples.fixed(None, 0.15, size), CPU) for size in (5, rows))
    assert one.predictions == other.predictions
    assert one.mlm_loss == pytest.approx(other.mlm_loss, rel=1e-6)
    assert (one.top1, one.top5, one.pair_accuracy) == (other.top1, other.top5, other.pair_accuracy)


def test_again_is_equal_to_the_last_digit_and_leaves_the_mode_alone(examples: Examples, module: MaskedLM):
    module.train()
    assert measure_masked_lm(module, examples.fixed(20, 0.15, 4), CPU) == measure_masked_lm(
        module, examples.fixed(20, 0.15, 4), CPU
    )
    assert module.training


def test_predictions_in_pieces_are_the_same(examples: Examples, module: MaskedLM, monkeypatch: pytest.MonkeyPatch):
    whole = measure_masked_lm(module, examples.fixed(20, 0.15, 8), CPU)
    monkeypatch.setattr(measuring, "max_scored_rows", lambda _: 6)
    pieces = measure_masked_lm(module, examples.fixed(20, 0.15, 8), CPU)
    assert pieces.mlm_loss == pytest.approx(whole.mlm_loss, rel=1e-6)
    assert (pieces.top1, pieces.top5) == (whole.top1, whole.top5)


def test_a_model_that_scores_everything_alike_is_not_perfect(examples: Examples):
    module = build_masked_lm(
        BertConfig(hidden_size=4, num_layers=1, num_heads=1, vocab_size=73, max_positions=29), seed=0
    )
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
    batches = [Batch(**{**vars(batch), "pair_labels": batch.pair_labels[:0]}) for batch in examples.fixed(40, 0.15, 8)]
    found = measure_masked_lm(module, batches, CPU)
    assert found.mlm_loss == pytest.approx(math.log(73))
    labels = np.concatenate([batch.labels for batch in batches])
    # Ties stand in the order of ids: only the five special tokens would be hits, and they are never predicted.
    assert found.top5 == np.mean(labels < 5) == 0
    assert found.pair_accuracy is None


def test_scores_that_are_no_numbers_are_no_hits(examples: Examples, module: MaskedLM):
    class Broken(torch.nn.Module):
        config = module.config

        def forward(self, *inputs: object) -> torch.Tensor:
            return module(*inputs)

        def predict(self, hidden: torch.Tensor) -> torch.Tensor:
            return module.predict(hidden) * math.nan

        def pair(self, first: torch.Tensor) -> torch.Tensor:
            return module.pair(first)

    found = measure_masked_lm(Broken(), examples.fixed(20, 0.15, 4), CPU)
    assert math.isnan(found.mlm_loss)
    assert (found.top1, found.top5) == (0, 0)


def test_nothing_to_measure_is_an_error(module: MaskedLM):
    with pytest.raises(DataError, match="nothing to predict"):
        measure_masked_lm(module, [], CPU)
