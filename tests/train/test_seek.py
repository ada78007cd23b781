"""Step one million costs as much as step 0: resuming reads and draws nothing in between."""

from __future__ import annotations

import time

import numpy as np
import pytest

from maskling.data.examples import GROUP_ROWS, Examples
from maskling.data.manifest import ShardArrays
from maskling.data.masking.corruption import Corruption, MaskingVocabulary
from maskling.data.masking.token import TokenMasking
from maskling.data.packing import BestFitPacking
from maskling.data.pairing.single import SinglePairing
from maskling.data.shards import Split

DOCUMENTS, SENTENCES, TOKENS = 200_000, 5, 23


@pytest.fixture(scope="module")
def examples() -> Examples:
    """23 million tokens in 200 thousand documents."""
    count = DOCUMENTS * SENTENCES * TOKENS
    arrays = ShardArrays.of(
        1000,
        tokens=np.arange(count) % 989 + 11,
        word_starts=np.arange(count) % 3 == 0,
        sentences=np.full(DOCUMENTS * SENTENCES, TOKENS),
        documents=np.full(DOCUMENTS, SENTENCES),
    )
    return Examples(
        split=Split([arrays]),
        vocabulary=MaskingVocabulary(1000, 0, 1, 2, 3, np.arange(11, 1000), np.arange(5), 4),
        pairing=SinglePairing(),
        masking=TokenMasking(),
        corruption=Corruption(),
        packing=BestFitPacking(),
        seq_length=128,
        seed=0,
    )


def test_a_seek_to_step_one_million_reads_no_more_than_the_first_step(
    examples: Examples, monkeypatch: pytest.MonkeyPatch
):
    asked: list[int] = []
    places = examples._one_per_row

    def counted(number, seed):
        asked.append(len(number))
        return places(number, seed)

    monkeypatch.setattr(examples, "_one_per_row", counted)
    examples.examples_per_step(256)
    began = time.perf_counter()
    far = examples.step(1_000_000, 256, 0.15)
    took = time.perf_counter() - began
    print(f"a seek to step 1,000,000 of {examples.num_examples:,} examples an epoch: {1000 * took:.0f} ms")
    assert asked[0] <= 2 * GROUP_ROWS  # the group that the step belongs to, and nothing before it
    assert len(asked) == 1
    # It is a step like any other, of text as far into the run as it should be.
    assert far.num_rows in (256, 257)
    assert abs(far.global_index.min() / 1_000_000 / examples.examples_per_step(256) - 1) < 0.01


def test_two_seeks_agree_whatever_came_before(examples: Examples):
    first = examples.step(999_999, 32, 0.15)
    examples.step(3, 32, 0.15)
    again = examples.step(999_999, 32, 0.15)
    assert np.array_equal(first.text.input_ids, again.text.input_ids)
    assert np.array_equal(first.global_index, again.global_index)
