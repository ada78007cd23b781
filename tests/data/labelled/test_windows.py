"""Windows cover a text, in order, with the overlap asked for."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskling.data.labelled.encode_texts import add_special_tokens, join_windows, text_room, window_slices
from maskling.errors import SettingsError
from oracles.tokenizer_recipes import small


@given(length=st.integers(0, 200), room=st.integers(1, 40), share=st.floats(0, 0.99))
def test_every_token_is_in_a_window_and_neighbours_overlap(length, room, share):
    overlap = int(room * share)
    windows = window_slices(length, room, overlap)
    assert windows[0].start == 0
    assert windows[-1].stop == length
    assert all(window.stop - window.start == room for window in windows[:-1])
    assert 0 <= windows[-1].stop - windows[-1].start <= room
    for left, right in pairwise(windows):
        assert left.stop - right.start == overlap
        assert right.stop > left.stop  # each has something new


@given(length=st.integers(0, 200), room=st.integers(1, 40), at_most=st.integers(1, 5))
def test_too_few_windows_stand_apart_from_the_beginning_to_the_end(length, room, at_most):
    windows = window_slices(length, room, 0, at_most)
    assert len(windows) <= at_most
    assert windows[0].start == 0
    if length > room * at_most:
        assert len(windows) == at_most
        assert all(window.stop - window.start == room for window in windows)
        assert windows[-1].stop == (length if at_most > 1 else room)
        assert all(left.stop <= right.start for left, right in pairwise(windows))
    else:
        assert windows == window_slices(length, room, 0)


def test_some_windows_in_another_order():
    parts = [(record, np.arange(size, dtype=np.int32) + 10 * record, size) for record, size in enumerate([3, 1, 4])]
    windows = join_windows(parts)
    some = windows.take(np.array([2, 0]))
    assert some.ids.tolist() == [20, 21, 22, 23, 0, 1, 2]
    assert (some.record.tolist(), some.length.tolist(), some.second.tolist()) == ([2, 0], [4, 3], [4, 3])
    assert windows[1].tolist() == [10]
    assert len(join_windows([])) == 0


def test_the_windows_of_a_record_share_one_by_their_tokens():
    windows = join_windows([(record, np.zeros(size, np.int32), size) for record, size in [(0, 6), (0, 2), (3, 5)]])
    assert windows.shares.tolist() == [0.75, 0.25, 1]
    assert windows.take(np.array([2])).shares.tolist() == [1]


def test_room_is_what_special_tokens_leave():
    tokenizer = small("wordpiece")
    assert (text_room(tokenizer, 16), text_room(tokenizer, 16, 2)) == (14, 13)
    with pytest.raises(SettingsError, match="raise max_length to at least 3"):
        text_room(tokenizer, 2)


def test_special_tokens_stand_around_and_between():
    tokenizer = small("wordpiece")
    cls, sep = tokenizer.special.cls, tokenizer.special.sep
    a, b = np.array([7, 8], np.int32), np.array([9], np.int32)
    ids, second = add_special_tokens(tokenizer, a)
    assert (ids.tolist(), second) == ([cls, 7, 8, sep], 4)
    ids, second = add_special_tokens(tokenizer, a, b)
    assert (ids.tolist(), second) == ([cls, 7, 8, sep, 9, sep], 4)
