"""Steps are functions of seed and number; rows are whole; nothing depends on how the work is shared."""

from __future__ import annotations

import pickle
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskling.data.examples import Examples
from maskling.data.masking import MASKINGS
from maskling.data.masking.corruption import Corruption
from maskling.data.masking.token import TokenMasking
from maskling.data.packing import PACKINGS, BestFitPacking, NoPacking
from maskling.data.pairing import PAIRINGS
from maskling.data.pairing.nsp import NspPairing
from maskling.data.pairing.single import SinglePairing
from maskling.data.shards import in_memory
from maskling.errors import DataError
from oracles.toy_splits import CLS, FIRST_ID, MASK, PAD, SEP, random_documents, split_of, vocabulary_of

SEQ = 37
SPLIT = split_of(random_documents(11, 50), 8)[0]


def examples(pairing=None, masking=None, packing=None, seed=5, split=SPLIT, seq=SEQ, corruption=None):
    return Examples(
        split,
        vocabulary_of(split),
        pairing or SinglePairing(),
        masking or TokenMasking(),
        corruption or Corruption(),
        packing or BestFitPacking(),
        seq,
        seed,
    )


def unpacked(batches):
    """Every example of some batches: what is seen, types, the predictions by place, the pair label."""
    found = []
    for batch in batches:
        wanted = dict(zip(batch.masked_positions.tolist(), batch.labels.tolist(), strict=True))
        labels = dict.fromkeys(batch.first_positions.tolist(), -1)
        labels |= dict(zip(batch.first_positions.tolist(), batch.pair_labels.tolist(), strict=False))
        for first in batch.first_positions.tolist():
            row, column = divmod(first, batch.seq)
            here = np.flatnonzero(batch.example_ids[row] == batch.example_ids[row, column])
            assert here.tolist() == list(range(column, column + len(here)))
            assert batch.position_ids[row, here].tolist() == list(range(len(here)))
            flat = [row * batch.seq + place for place in here.tolist()]
            predictions = tuple((place - first, wanted.pop(place)) for place in flat if place in wanted)
            types = tuple(batch.token_type_ids[row, here].tolist())
            found.append((tuple(batch.input_ids[row, here].tolist()), types, predictions, labels[first]))
        assert not wanted
        padding = batch.example_ids < 0
        assert (batch.input_ids[padding] == PAD).all()
        assert not batch.position_ids[padding].any()
        assert not batch.token_type_ids[padding].any()
        assert batch.num_tokens == (~padding).sum()
    return found


def assert_equal(one, other):
    assert one.keys() == other.keys()
    assert all(np.array_equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("masking", MASKINGS.values(), ids=MASKINGS)
@pytest.mark.parametrize("pairing", PAIRINGS.values(), ids=PAIRINGS)
@pytest.mark.parametrize("packing", PACKINGS.values(), ids=PACKINGS)
def test_every_example_of_a_step_equals_the_example_of_its_index(pairing, masking, packing):
    source = examples(pairing(), masking(), packing())
    step = source.step(2, 12, 0.2)
    found = unpacked(step.batches(5))
    assert len(found) == len(step.global_index)
    assert sum(len(predictions) for _, _, predictions, _ in found) == step.num_predictions
    assert step.num_pairs == (len(found) if pairing().has_pairs else 0)
    for number, (seen, types, predictions, label) in zip(step.global_index.tolist(), found, strict=True):
        one = source.example(number, 0.2)
        assert seen == tuple(one.input_ids.tolist())
        assert types == tuple(one.token_types.tolist())
        assert predictions == tuple((place, int(one.ids[place])) for place in np.flatnonzero(one.chosen).tolist())
        assert label == one.label
        # Whole and in order: [CLS] text [SEP], the ids of a toy text being consecutive.
        ends = np.flatnonzero(one.ids == SEP)
        assert one.ids[0] == CLS
        assert ends[-1] == len(one.ids) - 1
        for tokens in np.split(one.ids, ends[:-1] + 1):
            text = tokens[tokens >= FIRST_ID]
            assert len(text) == len(tokens) - 1 - (tokens[0] == CLS)
            assert (np.diff(text) == 1).all()


@settings(max_examples=25)
@given(
    step=st.integers(0, 2000),
    batch_size=st.sampled_from([1, 2, 7, 40]),
    micro_rows=st.integers(1, 50),
    world_size=st.integers(1, 5),
    pairing=st.sampled_from(sorted(PAIRINGS)),
    masking=st.sampled_from(sorted(MASKINGS)),
)
def test_any_division_gives_the_same_rows(step, batch_size, micro_rows, world_size, pairing, masking):
    whole = examples(
        PAIRINGS[pairing](dupe_factor=2) if pairing == "bert2018" else PAIRINGS[pairing](), MASKINGS[masking]()
    )
    taken = whole.step(step, batch_size, 0.15)
    one = taken.batches(10**6)
    assert len(one) == 1
    shares = [taken.batches(micro_rows, rank, world_size) for rank in range(world_size)]
    assert len({len(share) for share in shares}) == 1
    divided = [batch for share in shares for batch in share]
    sizes = [batch.rows for batch in divided]
    assert max(sizes) <= micro_rows
    assert max(sizes) - min(sizes) <= 1
    for name in ("input_ids", "position_ids", "token_type_ids", "example_ids", "labels", "pair_labels"):
        assert np.array_equal(np.concatenate([getattr(batch, name) for batch in divided]), getattr(one[0], name))
    assert sum(len(batch.labels) for batch in divided) == taken.num_predictions
    assert sum(batch.num_tokens for batch in divided) == taken.num_tokens
    assert unpacked(divided) == unpacked(one)


def test_a_step_does_not_depend_on_the_steps_before_it():
    straight, seeking = examples(NspPairing()), examples(NspPairing())
    wanted = [straight.step(step, 8, 0.15).batches(8)[0] for step in range(300)]
    for step in (299, 3, 256, 255):
        assert_equal(vars(seeking.step(step, 8, 0.15).batches(8)[0]), vars(wanted[step]))


@pytest.mark.parametrize("masking", MASKINGS.values(), ids=MASKINGS)
def test_steps_masked_together_are_those_masked_one_by_one(masking):
    together = examples(NspPairing(), masking())
    rates = [0.15] * 40 + [0.15, 0.3, 0.3, 0.15, 0.2, 0.25, 0.25] + [0.4] * 20
    for step, rate in [*enumerate(rates), (270, 0.4), (271, 0.4), (3, 0.4)]:
        alone = examples(NspPairing(), masking()).step(step, 5, rate)
        for one, other in zip(together.step(step, 5, rate).batches(3), alone.batches(3), strict=True):
            assert_equal(vars(one), vars(other))


def test_another_process_gets_the_same_steps():
    source = examples(NspPairing())
    copy = pickle.loads(pickle.dumps(source))
    assert_equal(vars(copy.step(7, 4, 0.15).batches(9)[0]), vars(source.step(7, 4, 0.15).batches(9)[0]))


def test_seeds_change_order_and_masks():
    one, other = (examples(seed=seed).step(0, 16, 0.15) for seed in (1, 2))
    assert not np.array_equal(one.text.ids[:200], other.text.ids[:200])


def test_an_epoch_gives_every_example_once_in_an_order_of_its_own_and_with_its_own_masks():
    source = examples()
    epochs = []
    for epoch in range(2):
        step = source.take(epoch * source.num_examples, source.num_examples, 0.15)
        shown = [source.example(number, 0.15) for number in step.global_index.tolist()]
        assert {one.epoch for one in shown} == {epoch}
        assert sorted(one.index for one in shown) == list(range(source.num_examples))
        order = [source.example(number, 0.15).index for number in range(epoch * len(shown), (epoch + 1) * len(shown))]
        epochs.append((order, {one.index: one.chosen.tolist() for one in shown}))
    assert epochs[0][0] != epochs[1][0]
    same = [epochs[0][1][index] == epochs[1][1][index] for index in epochs[0][1]]
    assert np.mean(same) < 0.2


@pytest.mark.parametrize("batch_size", [1, 3, 32, 300, 5000])
@pytest.mark.parametrize("packing", PACKINGS.values(), ids=PACKINGS)
def test_a_step_has_batch_size_rows(batch_size, packing):
    source = examples(packing=packing())
    rows = np.array([source.step(step, batch_size, 0.15).num_rows for step in range(6)])
    assert rows.min() >= batch_size
    assert rows.max() <= max(batch_size + 1, 1.01 * batch_size)


def test_steps_give_all_examples_of_a_group_once():
    source = examples()
    steps = [source.step(step, 512, 0.15) for step in range(4)]
    numbers = np.sort(np.concatenate([step.global_index for step in steps]))
    assert np.array_equal(numbers, np.arange(len(numbers)))
    assert source.examples_per_step(512) == round(len(numbers) / 4)


def test_long_and_short_examples_are_dealt_to_all_steps():
    source = examples()
    lengths = [source.step(step, 64, 0.15).text.length.mean() for step in range(32)]
    assert max(lengths) - min(lengths) < 0.3 * np.mean(lengths)


def test_a_step_may_be_longer_than_the_text():
    split, _ = split_of([[[1, 2, 3]], [[2, 2]]])
    source = examples(split=split)
    step = source.step(3, 4, 0.3)
    assert step.num_rows >= 4
    # Both texts, each in several epochs and with other masks.
    found = Counter(seen for seen, *_ in unpacked(step.batches(2)))
    assert len(found) > 4


def test_one_text_of_one_token_is_enough():
    source = examples(split=split_of([[[1]]])[0])
    step = source.step(0, 2, 0.15)
    assert step.num_predictions == len(step.global_index)


def test_the_rate_is_the_given_one():
    source = examples(corruption=Corruption(mask=1, random=0))
    for rate in (0.15, 0.5):
        step = source.step(0, 256, rate)
        ordinary = (step.text.ids >= FIRST_ID).sum()
        assert abs(step.num_predictions / ordinary - rate) < 0.01
        assert ((step.text.input_ids == MASK) == step.text.chosen).all()


def test_validation_is_the_same_whatever_the_seed_and_the_rows_at_once():
    base = unpacked(examples(NspPairing(), seed=1).fixed(None, 0.15, 9))
    assert base == unpacked(examples(NspPairing(), seed=2).fixed(None, 0.15, 64))
    assert len(base) == examples(NspPairing()).num_examples
    few = list(examples(NspPairing()).fixed(20, 0.15, 4))
    assert sum(len(batch.first_positions) for batch in few) == 20
    assert {seen for seen, *_ in unpacked(few)} <= {seen for seen, *_ in base}


def test_no_packing_pads_one_example_per_row():
    step = examples(packing=NoPacking()).step(0, 10, 0.15)
    assert step.num_rows == len(step.global_index) == 10
    assert step.batches(10)[0].first_positions.tolist() == [row * SEQ for row in range(10)]


def test_an_empty_split_is_refused():
    with pytest.raises(DataError, match="no text"):
        examples(split=in_memory([]))
