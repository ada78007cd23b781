"""Who belongs to whom among the sequences of a step, and where the ranks' parts of it begin."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import small_models
from maskling.data.labelled.batches import LabelledExamples
from maskling.data.labelled.records import TextRecord
from maskling.data.labelled.triplets import encode_triplets, positive_pairs, step_positive_pairs

RECORDS = [
    TextRecord("0", "the fox", "a dog", 1.0),
    TextRecord("1", "a gift", "a dog", 2.0),
    TextRecord("2", "paris", "the fox", 3.0, negatives=("a gift",)),
    TextRecord("3", "so lazy"),
]


def test_partners_are_found_in_any_order_and_what_is_the_same_is_no_wrong_answer(tmp_path: Path):
    sides = encode_triplets(RECORDS, small_models.wordpiece(tmp_path), 16)
    assert len(sides.windows) == 9
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(9)
        found = positive_pairs(sides.windows.record[order], sides.targets.take(order))
        record, side = sides.windows.record[order], sides.targets.role[order]
        assert (record[found.anchors] == record[found.positives]).all()
        assert side[found.anchors].tolist() == [0] * 4
        assert side[found.candidates].tolist() == [1] * 4 + [2]
        np.testing.assert_array_equal(found.scores, [1, 2, 3, np.nan])
        # a dog, a dog, the fox, so lazy | a gift
        wanted = np.zeros((4, 5), bool)
        wanted[0, [1, 2]] = True  # the same partner, and itself
        wanted[1, [0, 4]] = True  # the same partner, and itself
        np.testing.assert_array_equal(found.excluded(), wanted)
        np.testing.assert_array_equal(found.excluded(slice(1, 3)), wanted[1:3])


def test_a_text_alone_comes_twice_and_a_long_one_is_cut_once(tmp_path: Path):
    sides = encode_triplets([RECORDS[3], TextRecord("4", "fox " * 20)], small_models.wordpiece(tmp_path), 8)
    assert sides.windows[0].tolist() == sides.windows[1].tolist()
    assert sides.windows.length.tolist() == [4, 4, 8, 8]
    assert sides.cut == 1


def test_ranks_share_out_a_step_and_know_where_their_parts_begin(tmp_path: Path):
    records = [TextRecord(str(n), "fox " * (1 + n % 5), "dog " * (1 + n % 7)) for n in range(11)]
    sides = encode_triplets(records, small_models.wordpiece(tmp_path), 16)
    # More than an epoch in one step: some records are there twice.
    examples = LabelledExamples(sides.windows, sides.targets, seq_length=16, pad=0)
    step = examples.step(0, 17)
    found = step_positive_pairs(step)
    assert (step.windows.record[found.anchors] == step.windows.record[found.positives]).all()
    assert len(found.anchors) == 17
    for world_size in (1, 3, 40):
        first = 0
        for rank in range(world_size):
            assert step.first_sequence(2, rank, world_size) == first
            first += sum(len(batch.lengths) for batch in step.batches(2, rank, world_size))
        assert first == 34
