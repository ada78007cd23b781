"""Packed rows of real prose are full, and hold the rate that was asked for."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pytest

from maskling.corpus.sentences import split_sentences
from maskling.data.examples import Examples
from maskling.data.manifest import ShardArrays
from maskling.data.masking.corruption import Corruption, MaskingVocabulary
from maskling.data.masking.word import WordMasking
from maskling.data.packing import BestFitPacking
from maskling.data.pairing import PAIRINGS
from maskling.data.shards import Split
from maskling.tokenizer.tokenizer import Tokenizer

TEXTS = {
    "english": ("english/speeches.jsonl.gz", "vocab/bert-base-uncased-vocab.txt"),
    "chinese": ("chinese/luxun.jsonl.gz", "vocab/bert-base-chinese-vocab.txt"),
}


@pytest.fixture(scope="module", params=TEXTS)
def prose(request, shared_data):
    """Some real documents as tokens, and their vocabulary."""
    text, vocabulary = TEXTS[request.param]
    tokenizer = Tokenizer.load(shared_data / vocabulary)
    with gzip.open(shared_data / text, "rt", encoding="utf-8") as lines:
        documents = [split_sentences(json.loads(line)["text"]) for line in lines]
    encoded = tokenizer.encode_flat([sentence for document in documents for sentence in document])
    sentences, sizes = np.diff(encoded.offsets), [len(document) for document in documents]
    arrays = ShardArrays.of(tokenizer.vocab_size, encoded.ids, encoded.word_starts, sentences, sizes)
    return Split([arrays]), MaskingVocabulary.of(tokenizer)


@pytest.mark.parametrize("pairing", ["single", "nsp"])
@pytest.mark.parametrize("seq", [128, 512])
@pytest.mark.parametrize("batch_size", [32, 256])
def test_packed_rows_are_full(prose, pairing, seq, batch_size):
    split, vocabulary = prose
    source = Examples(
        split, vocabulary, PAIRINGS[pairing](), WordMasking(), Corruption(), BestFitPacking(), seq, seed=3
    )
    steps = [source.step(step, batch_size, 0.15) for step in range(1024 // batch_size)]
    batches = [batch for step in steps for batch in step.batches(16)]
    assert sum(batch.num_tokens for batch in batches) / sum(batch.rows for batch in batches) / seq > 0.97
    assert {step.num_rows for step in steps} <= {batch_size, batch_size + 1}
    ordinary = sum(np.count_nonzero(~vocabulary.is_special[step.text.ids]) for step in steps)
    assert sum(step.num_predictions for step in steps) / ordinary == pytest.approx(0.15, abs=0.001)
