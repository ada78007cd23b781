"""A step of labelled text is a function of seed and number, and the same however it is shared out."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskling.data.labelled.batches import LabelledExamples
from maskling.data.labelled.encode_texts import IGNORED, LabelTargets, NoTargets, SpanTargets, WordTargets, join_windows
from maskling.data.packing import NoPacking
from maskling.errors import DataError

SEQ = 17
records = st.lists(st.lists(st.integers(2, SEQ), min_size=1, max_size=4), min_size=1, max_size=13)


def made(lengths, seed=3, packing=None):
    """Windows whose ids say which they are: window w has ids 100 w, 100 w + 1, ...; labels are their numbers."""
    parts, number = [], 0
    for record, sizes in enumerate(lengths):
        for size in sizes:
            parts.append((record, np.arange(size, dtype=np.int32) + 100 * number, size // 2 + 1))
            number += 1
    windows = join_windows(parts)
    targets = LabelTargets(np.arange(number), windows.shares)
    return LabelledExamples(windows, targets, seq_length=SEQ, pad=7, seed=seed, packing=packing)


def seen(batch):
    """What a batch holds, window by window, and that its arrays agree with each other."""
    found = []
    flat = {name: getattr(batch, name).reshape(-1) for name in ("input_ids", "position_ids", "token_type_ids")}
    covered = np.zeros(batch.rows * batch.seq, bool)
    for first, length, record, label, weight in zip(
        batch.first_positions, batch.lengths, batch.records, batch.targets.labels, batch.targets.weights, strict=True
    ):
        some = slice(first, first + length)
        assert not covered[some].any()
        covered[some] = True
        assert flat["position_ids"][some].tolist() == list(range(length))
        assert flat["token_type_ids"][some].tolist() == [int(place >= length // 2 + 1) for place in range(length)]
        assert flat["input_ids"][some].tolist() == [100 * label + place for place in range(length)]
        assert len(set(batch.example_ids.reshape(-1)[some].tolist())) == 1
        assert first // batch.seq == (first + length - 1) // batch.seq
        found.append((int(record), int(label), round(float(weight), 6)))
    assert (flat["input_ids"][~covered] == 7).all()
    assert (batch.example_ids.reshape(-1)[~covered] == -1).all()
    assert (batch.example_ids.reshape(-1)[covered] >= 0).all()
    assert batch.num_tokens == covered.sum()
    return found


@settings(max_examples=15)
@given(lengths=records, batch_size=st.integers(1, 9), micro=st.integers(1, 4), world_size=st.integers(1, 3))
def test_any_division_over_ranks_and_micro_batches_gives_the_same_windows(lengths, batch_size, micro, world_size):
    step = made(lengths).step(2, batch_size)
    whole = Counter(window for batch in step.batches(10_000) for window in seen(batch))
    parts = [step.batches(micro, rank, world_size) for rank in range(world_size)]
    assert Counter(window for rank in parts for batch in rank for window in seen(batch)) == whole
    assert len({len(rank) for rank in parts}) == 1
    assert all(batch.rows <= micro for rank in parts for batch in rank)
    assert step.num_tokens == sum(batch.num_tokens for rank in parts for batch in rank)
    assert step.num_targets == pytest.approx(batch_size, rel=1e-6)


@settings(max_examples=15)
@given(lengths=records, batch_size=st.integers(1, 20))
def test_an_epoch_has_every_record_once_with_all_its_windows(lengths, batch_size):
    examples = made(lengths)
    assert examples.num_records == len(lengths)
    epochs = 2
    counts: Counter[int] = Counter()
    for step in range(len(lengths)):
        for batch in examples.step(step, batch_size * epochs).batches(3):
            counts.update(label for _, label, _ in seen(batch))
    assert set(counts.values()) == {batch_size * epochs}
    assert len(counts) == sum(map(len, lengths))


def test_a_step_is_a_function_of_seed_and_number():
    lengths = [[5]] * 40
    one, other, third = made(lengths), made(lengths), made(lengths, seed=4)
    other.step(0, 8)  # the past of an object does not matter

    def order(examples, step):
        return [window for batch in examples.step(step, 8).batches(9) for window in seen(batch)]

    assert order(one, 7) == order(other, 7)
    assert order(one, 7) != order(third, 7)
    assert order(one, 7) != order(one, 2)  # the same place in another epoch


@settings(max_examples=15)
@given(lengths=records, micro=st.integers(1, 4), world_size=st.integers(1, 3))
def test_everything_once_for_judging(lengths, micro, world_size):
    examples = made(lengths)
    found = [
        window
        for rank in range(world_size)
        for batch in examples.all(micro, rank, world_size)
        for window in seen(batch)
    ]
    assert sorted(label for _, label, _ in found) == list(range(sum(map(len, lengths))))
    again = [window for batch in made(lengths, seed=99).all(micro) for window in seen(batch)]
    assert again == [window for batch in examples.all(micro) for window in seen(batch)]


def test_many_records_are_judged_in_groups_of_rows():
    examples = made([[16]] * 9000)
    batches = list(examples.all(64))
    assert sum(len(batch.records) for batch in batches) == 9000
    assert np.diff(np.concatenate([batch.records for batch in batches])).tolist() == [1] * 8999
    assert min(batch.fill for batch in batches) == pytest.approx(16 / 17)


def test_another_packing_gives_a_row_to_each():
    step = made([[5]] * 8, packing=NoPacking()).step(0, 8)
    assert step.num_rows == 8
    assert step.fill == pytest.approx(5 / 17)


def test_words_and_spans_follow_their_windows():
    # The longest is packed first: windows come in another order than they were made.
    parts = [(record, np.arange(size, dtype=np.int32), size) for record, size in enumerate([4, 5, 6])]
    windows = join_windows(parts)
    words = WordTargets(np.array([2, 0, 1]), np.array([1, 3, 2]), np.array([0, 1, 2]), np.array([5, IGNORED, 6]))
    batches = LabelledExamples(windows, words, seq_length=15, pad=0).all(5)
    (batch,) = list(batches)
    order = batch.records.tolist()
    assert order == [2, 1, 0]
    positions = batch.targets.positions(batch.first_positions)
    expected = {0: [(1, 0, 5), (3, 1, IGNORED)], 1: [], 2: [(2, 2, 6)]}
    flat = [
        (first + place, word, label)
        for first, record in zip(batch.first_positions.tolist(), order, strict=True)
        for place, word, label in expected[record]
    ]
    assert list(zip(positions.tolist(), batch.targets.words, batch.targets.labels, strict=True)) == flat
    assert batch.targets.total == 2
    spans = SpanTargets(np.array([0, 1, 2]), np.array([0, 3, 2]), np.array([1, 0, 1], np.float32))
    (batch,) = list(LabelledExamples(windows, spans, seq_length=15, pad=0).all(5))
    found = zip(batch.records, batch.targets.starts, batch.targets.ends, batch.targets.weights, strict=True)
    assert sorted((int(r), int(s), int(e), float(w)) for r, s, e, w in found) == [
        (0, 0, 0, 1),
        (1, 1, 3, 0),
        (2, 2, 2, 1),
    ]
    (batch,) = list(LabelledExamples(windows, NoTargets(), seq_length=15, pad=0).all(5))
    assert batch.targets.total == 0


def test_no_records_are_refused():
    with pytest.raises(DataError, match="no records"):
        made([])
